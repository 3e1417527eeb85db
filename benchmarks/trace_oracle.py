"""Score traced reference implementations against figures measured with PyTorch.

Every row of lm_oracle.csv is built by transformers from its config.json with fake tensors and
traced: parameters, active parameters, forward FLOPs at both shapes, forward and backward FLOPs.

    python benchmarks/trace_oracle.py [--all] [--kind KIND]… [--name PART] [--seconds 120]

Without `--all`, only the rows whose model type costsim does not read natively are traced. Needs
transformers (5.23.0, with torch 2.13.0, is what the figures were measured with), and the data at
$COSTSIM_SHARED or beside the checkout.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import re
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from costsim.architectures.huggingface import READERS

csv.field_size_limit(10**9)


def shared() -> Path:
    beside = Path(__file__).resolve().parents[2] / "shared"
    return Path(os.environ.get("COSTSIM_SHARED", beside)) / "validation" / "oracle"


def shape(text: str) -> tuple[int, int | None]:
    """Return batch and tokens of a shape such as b1_s2048, b1_enc2048_dec512, b8_3x224x224."""
    tokens = re.search(r"_(?:dec|s)(\d+)", text)
    found = re.match(r"b(\d+)", text)
    assert found
    return int(found[1]), int(tokens[1]) if tokens else None


def compare(row: dict[str, str]) -> dict[str, Any]:
    """Return, for each figure of a row, None where it is equal, or what was found instead."""
    from costsim.architectures.tracing.reference import reference

    config = json.loads((shared() / "lm_configs" / row["name"] / "config.json").read_text())
    model = reference(config, name=row["name"], source="")
    found: dict[str, Any] = {}

    def check(field: str, figure: Any) -> None:
        expected = row[field]
        if not expected:
            return
        try:
            value = figure()
        except Exception as error:
            found[field] = f"{type(error).__name__}: {error}".partition("\nhint")[0]
            return
        wanted = int(float(expected))
        found[field] = None if value == wanted else f"{value:,} for {wanted:,}"

    if row["fwd1_shape"] and row["status"] == "ok":
        first = shape(row["fwd1_shape"])
        check("fwd1_flops", lambda: model.forward_flops(*first))
        check("fwdbwd1_flops_convfix", lambda: model.training_flops(*first))
        if row["fwd2_shape"]:
            check("fwd2_flops", lambda: model.forward_flops(*shape(row["fwd2_shape"])))
        check("active_params", lambda: model.active_parameters)
    check("total_params", lambda: model.parameters)
    return found


def _work(row: dict[str, str], pipe: Any) -> None:
    warnings.simplefilter("ignore")
    try:
        pipe.send(compare(row))
    except Exception as error:
        pipe.send({"load": f"{type(error).__name__}: {error}"})


def limited(row: dict[str, str], seconds: float) -> dict[str, Any]:
    """Compare in a process of its own, ended after `seconds`."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_work, args=(row, there))
    process.start()
    found = here.recv() if here.poll(seconds) else {"load": f"not done after {seconds:.0f} s"}
    process.kill()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="rows with a native reader too")
    parser.add_argument("--kind", action="append")
    parser.add_argument("--name", default="")
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    import torch
    import transformers
    import transformers.models

    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    with (shared() / "lm_oracle.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if options.name in row["name"]]
    rows = [row for row in rows if not options.kind or row["kind"] in options.kind]
    if not options.all:
        rows = [row for row in rows if row["model_type"] not in READERS]
    fields: Counter[str] = Counter()
    equal: Counter[str] = Counter()
    exact = 0
    for row in rows:
        start = time.monotonic()
        found = limited(row, options.seconds)
        fields.update(found.keys())
        equal.update(field for field, problem in found.items() if problem is None)
        wrong = {field: problem for field, problem in found.items() if problem is not None}
        exact += not wrong
        took = f"{time.monotonic() - start:.1f} s"
        print(f"{row['name']} ({row['kind']}, {took}): {'exact' if not wrong else ''}", flush=True)
        for field, problem in wrong.items():
            print(f"    {field}: {str(problem)[:300]}", flush=True)
    for field, many in sorted(fields.items()):
        print(f"{field}: {equal[field]} of {many} equal")
    print(f"rows: {exact} of {len(rows)} exact in all fields ({exact / max(len(rows), 1):.1%})")


if __name__ == "__main__":
    main()
