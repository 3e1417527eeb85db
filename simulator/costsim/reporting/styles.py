"""The style sheets and the script of `reports/style`, as they travel inside each report."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache

from costsim import resources


@cache
def style(name: str) -> str:
    """Return a style sheet without comments and idle white space."""
    text = (resources.data_folder("reports") / "style" / name).read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r" ?([{};]) ?", r"\1", " ".join(text.split())).strip()


@cache
def script(name: str) -> tuple[str, str]:
    """Return a script of our own, and the hash by which a page's policy lets it run."""
    text = (resources.data_folder("reports") / "style" / name).read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/\n?", "", text, flags=re.DOTALL)
    digest = hashlib.sha256(text.encode()).digest()
    return text, f"sha256-{base64.b64encode(digest).decode()}"
