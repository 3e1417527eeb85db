"""Kinds of measured rows: one module and one line here each."""

from __future__ import annotations

from typing import Any

from costsim.validation.kind import Kind
from costsim.validation.kinds.cache import CACHE
from costsim.validation.kinds.copies import COPIES
from costsim.validation.kinds.language import LANGUAGE
from costsim.validation.kinds.media import MEDIA
from costsim.validation.kinds.memory import MEMORY
from costsim.validation.kinds.serving import SERVING
from costsim.validation.kinds.totals import TOTALS

KINDS: tuple[Kind[Any, Any], ...] = (COPIES, LANGUAGE, SERVING, TOTALS, MEMORY, MEDIA, CACHE)
"""The first that takes a row of its format has it."""
