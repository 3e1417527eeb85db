"""A report as JSON: the records as they are, raw numbers, sorted keys, equal bytes for equal input.

This is the generic report, for tools that show reports; what a plan is in JSON, planning defines.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields, is_dataclass
from typing import cast

from costsim.reporting.model import Block, Report, Tree, TreeLine
from costsim.reporting.registry import Rendered, RenderOptions

SCHEMA_VERSION = 1


def render(report: Report, options: RenderOptions) -> Rendered:
    """Return the report as one JSON document that ends in a newline."""
    document = {"schema_version": SCHEMA_VERSION, "report": _plain(report)}
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return Rendered(text.encode("utf-8", "replace").decode("utf-8") + "\n")


def _plain(value: object) -> object:
    """Return a record as JSON knows it; NaN and infinities, which it does not know, are null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("tuple[object, ...]", value)]
    if is_dataclass(value):
        plain = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        if isinstance(value, Block):
            plain["block"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(value).__name__).lower()
        if isinstance(value, Tree):
            plain["total"] = value.root.total
        if isinstance(value, TreeLine) and value.children:
            plain["amount"] = value.total
        return plain
    return value
