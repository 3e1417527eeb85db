"""Safetensors: the header of a file, and the index of a release in several files.

Only names, types and shapes are read, never the tensors; a header that promises more than the file
holds, or than any release needs, is refused before it is read.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

from costsim.architectures.files.described import MAX_HEADER_BYTES, fail

BITS: Mapping[str, int] = {
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "F32": 32,
    "I32": 32,
    "U32": 32,
    "C64": 64,
    "F16": 16,
    "BF16": 16,
    "I16": 16,
    "U16": 16,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "I8": 8,
    "U8": 8,
    "BOOL": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of its elements."""
        return prod(self.shape)


def read_header(path: Path) -> dict[str, Stored]:
    """Return the tensors of a safetensors file by name.

    Raises:
        SpecError: if the file is truncated or its header malformed.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_LENGTH.size)
            if len(start) < _LENGTH.size:
                raise fail(path, "is no safetensors file: it ends before its header begins")
            (length,) = _LENGTH.unpack(start)
            if length > size - _LENGTH.size:
                raise fail(path, f"is truncated: a header of {length:,} bytes in {size:,} of file")
            if length > MAX_HEADER_BYTES:
                raise fail(path, f"has a header of {length:,} bytes; releases need a few million")
            raw = file.read(length)
    except OSError as error:
        raise fail(path, f"cannot be read: {error.strerror}") from None
    try:
        values: Any = json.loads(raw)
    except (ValueError, RecursionError):
        raise fail(path, "is no safetensors file: its header is not JSON") from None
    found: dict[str, Stored] = {}
    entries = cast("dict[str, Any]", values) if isinstance(values, dict) else {}
    for name, entry in entries.items():
        if name != "__metadata__":
            found[name] = _tensor(path, name, entry, size - _LENGTH.size - length)
    if not found:
        raise fail(path, "holds no tensors")
    return found


def _tensor(path: Path, name: str, entry: Any, room: int) -> Stored:
    fields = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
    dtype, shape, place = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    whole = isinstance(shape, list) and all(
        type(side) is int and 0 <= side < 2**48 for side in cast("list[Any]", shape)
    )
    ends = cast("list[Any]", place) if isinstance(place, list) else []
    if (
        not whole
        or not isinstance(dtype, str)
        or dtype not in BITS
        or len(ends) != 2
        or any(type(end) is not int for end in ends)
    ):
        raise fail(path, f"the header's entry of `{name[:60]}` is malformed")
    made = Stored(dtype, tuple(cast("list[int]", shape)))
    if not 0 <= ends[0] <= ends[1] <= room:
        raise fail(path, f"is truncated: `{name[:60]}` ends at {ends[1]:,} of {room:,} bytes")
    if ends[1] - ends[0] != -(-made.elements * BITS[made.dtype] // 8):
        raise fail(path, f"`{name[:60]}` takes other bytes than its type and shape say")
    return made


def summary(tensors: Mapping[str, Stored]) -> str:
    """Return what tensors there are, by their types."""
    elements: Counter[str] = Counter()
    for tensor in tensors.values():
        elements[tensor.dtype] += tensor.elements
    each = ", ".join(f"{count:,} of {dtype}" for dtype, count in sorted(elements.items()))
    stored = sum(count * BITS[dtype] // 8 for dtype, count in elements.items())
    return f"{len(tensors):,} tensors, elements {each}, {stored / 1e9:.3f} GB"


def index_summary(values: Mapping[str, Any]) -> str:
    """Return what an index says of its files."""
    names, metadata = (
        cast("dict[str, Any]", held) if isinstance(held := values.get(key), dict) else {}
        for key in ("weight_map", "metadata")
    )
    total = metadata.get("total_size")
    size = f", {total / 1e9:.3f} GB" if isinstance(total, int | float) and total < 1e18 else ""
    return f"{len(names):,} tensors in {len({str(n) for n in names.values()}):,} files{size}"
