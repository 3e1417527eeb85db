"""Inputs spoilt on purpose: trees of values, command lines and bytes, a few places of each."""

from __future__ import annotations

import contextlib
import io
import json
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from costsim.cli import main

HOSTILE: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 3, 0.5, 1e-300, 1e300, 10**9, 2**63, math.nan, math.inf, "", " ",
    "zzqx", "x" * 3_000, "\x1b[31mred", "=1+1", "1 B tokens", "5 $/h", "٣", "../../etc/passwd",
    "llama-3-8b", "bf16", [], [[]], {}, {"zzqx": 1}, ["zzqx", 1], [1, 1],
)  # fmt: skip
"""Values that somewhere in costsim are wrong, and elsewhere right."""

_MOST_CPU_S = 20.0


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to all that is in a tree of mappings and lists."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    found: list[tuple[Any, ...]] = []
    for step, below in inner:
        found += [(*path, step), *places(below, (*path, step))]
    return found


@st.composite
def spoilt(draw: st.DrawFn, tree: Any) -> Any:
    """Draw `tree` with one to three places replaced, deleted, misspelt or given more."""
    made = deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        paths = places(made)
        if not paths:
            break
        *above, step = draw(st.sampled_from(paths))
        holder = made
        for one in above:
            holder = holder[one]
        how = draw(st.sampled_from(["replace"] * 5 + ["delete", "misspell", "add", "repeat"]))
        if how == "replace":
            holder[step] = deepcopy(draw(st.sampled_from(HOSTILE)))
        elif how == "delete":
            del holder[step]
        elif how == "misspell" and isinstance(holder, dict):
            holder[f"{step}s"] = holder.pop(step)
        elif how == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["zzqx", "", "name", 3]))] = 1
        else:
            holder[step] = [holder[step], holder[step]]
    return made


@st.composite
def arguments(draw: st.DrawFn, options: Mapping[str, Sequence[str]], most: int = 4) -> list[str]:
    """Draw a few options, each with a value that it takes or a hostile one."""
    found: list[str] = []
    for name in draw(st.lists(st.sampled_from(sorted(options)), max_size=most)):
        found.append(name)
        if options[name]:
            hostile = ["", "-1", "0", "nan", "1e400", "9" * 30, "zzqx", "x" * 3_000, "[", "\x1b["]
            found.append(draw(st.sampled_from([*options[name], *options[name], *hostile])))
    return found


@st.composite
def bent(draw: st.DrawFn, raw: bytes) -> bytes:
    """Draw bytes with a few of them changed, cut away or doubled."""
    made = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(made) - 1, 0)))
        how = draw(st.sampled_from(["flip", "ones", "cut", "insert", "huge"]))
        if how == "flip":
            made[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif how == "ones":
            made[at : at + 8] = b"\xff" * 8
        elif how == "cut":
            del made[at:]
        elif how == "insert":
            made[at:at] = draw(st.binary(max_size=9))
        else:
            made[at : at + 8] = (2 ** draw(st.integers(20, 63))).to_bytes(8, "little")
    return bytes(made)


def finite(value: Any) -> bool:
    """Say whether every number of a JSON value is finite."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def answered(command: Sequence[str]) -> int:
    """Run a command that must end in an answer or in clear errors, and return its exit code."""
    out, err = io.StringIO(), io.StringIO()
    start = time.process_time()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        code = main(list(command))
    said = err.getvalue()
    assert time.process_time() - start < _MOST_CPU_S
    assert "fault of costsim" not in said, said[:2_000]
    assert "Traceback" not in said
    assert "\x1b" not in said + out.getvalue()
    assert code in (0, 1, 2, 3, 4)
    if not out.getvalue():
        assert code in (1, 2, 3), said
        assert "error: " in said
    elif "json" in command:
        assert finite(json.loads(out.getvalue()))
    return code
