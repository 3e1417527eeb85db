"""Results of `vllm bench serve` as rows of inference runs.

What ran (device, model, layout, formats) is what the command stated with `--metadata`, under the
names of the columns of a runs file; `costsim plan … -o deploy/` writes such a command. A result
that names no device or model is refused, not guessed.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from typing import Any, cast

from costsim.errors import Location, Problem, SpecError
from costsim.validation.formats import FORMATS

_MEASURED = {
    "ttft_ms": "mean_ttft_ms",
    "tpot_ms": "mean_tpot_ms",
    "output_tokens_per_s": "output_throughput",
    "total_tokens_per_s": "total_token_throughput",
    "requests_per_s": "request_throughput",
    "itl_mean_ms": "mean_itl_ms",
    "e2e_mean_ms": "mean_e2el_ms",
    **{
        f"{ours}_p{p}_ms": f"p{p}_{theirs}_ms"
        for ours, theirs in (("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl"), ("e2e", "e2el"))
        for p in (50, 90, 95, 99)
    },
}
"""Columns of a runs file and what the benchmark calls them."""
_NEEDED = ("accelerator_id", "config")


def is_bench(text: str) -> bool:
    """Return whether a text looks like a result of the benchmark: JSON, one object or several."""
    return text.lstrip()[:1] in ("{", "[")


def bench_csv(text: str, file: str) -> str:
    """Return results of the benchmark as the CSV of a runs file.

    Raises:
        SpecError: if it is no such result, or does not say what ran.
    """
    rows = [_row(result, index, file) for index, result in enumerate(_results(text, file), 1)]
    known = FORMATS["inference"]
    used = {name for row in rows for name in row} | set(known.required)
    columns = [name for name in known.columns if name in used]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _results(text: str, file: str) -> list[dict[str, Any]]:
    """Return the results of a file: one, a list, or one a line (`--append-result`)."""
    try:
        loaded: Any = json.loads(text)
    except json.JSONDecodeError as error:
        try:
            loaded = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            where = Location(file, error.lineno, error.colno)
            raise SpecError(f"not JSON: {error.msg}", location=where) from None
    except (RecursionError, ValueError):
        raise SpecError("not JSON: nested too deep", location=Location(file)) from None
    results = cast("list[Any]", loaded if isinstance(loaded, list) else [loaded])
    if not results or not all(isinstance(one, dict) and "mean_ttft_ms" in one for one in results):
        raise SpecError(
            "no result of a benchmark: `mean_ttft_ms` is missing",
            location=Location(file),
            hint="`vllm bench serve … --save-result` writes one",
        )
    return results


def _row(result: Mapping[str, Any], index: int, file: str) -> dict[str, str]:
    missing = [name for name in _NEEDED if not result.get(name)]
    if missing:
        hint = "run it with `--metadata accelerator_id=… config=… tp=… framework=vllm`"
        listed = " and ".join(f"`{name}`" for name in missing)
        problem = Problem(f"result {index} does not say {listed}", Location(file), hint)
        raise SpecError([problem])
    columns = FORMATS["inference"].columns
    row = {name: _cell(value) for name, value in result.items() if name in columns}
    row |= {ours: _cell(result.get(theirs)) for ours, theirs in _MEASURED.items()}
    done = float(result.get("completed") or 0)
    if done > 0:
        for ours, theirs in (
            ("input_tokens", "total_input_tokens"),
            ("output_tokens", "total_output_tokens"),
        ):
            row[ours] = f"{float(result.get(theirs) or 0) / done:.6g}"
    users, rate = result.get("max_concurrency"), _rate(result.get("request_rate"))
    row["id"] = f"{result.get('label') or 'bench'}-{result.get('date') or index}"
    row["num_prompts"] = _cell(result.get("num_prompts"))
    row["concurrency"] = _cell(users)
    row["request_rate"] = "" if rate is None else f"{rate:.6g}"
    row["load"] = "open-loop" if rate is not None else "closed-loop" if users else "burst"
    row["source"] = "vllm bench serve"
    return {name: value for name, value in row.items() if value}


def _rate(value: Any) -> float | None:
    """Return a stated rate; None for `inf`, all at once."""
    try:
        rate = float(value)
    except (TypeError, ValueError):
        return None
    return rate if math.isfinite(rate) else None


def _cell(value: Any) -> str:
    return "" if value is None or isinstance(value, list | dict) else str(value).strip()
