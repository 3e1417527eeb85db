"""The style sheets of `reports/style`, made small enough to travel inside each report."""

from __future__ import annotations

import re
from functools import cache

from costsim import resources


@cache
def style(name: str) -> str:
    """Return a style sheet without comments and idle white space."""
    text = (resources.data_folder("reports") / "style" / name).read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r" ?([{};]) ?", r"\1", " ".join(text.split())).strip()
