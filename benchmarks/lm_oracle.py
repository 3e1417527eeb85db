"""How many figures of the language-model oracle are met exactly, from config.json alone.

Reads the shared validation data (COSTSIM_SHARED, or `../shared` of the checkout) and prints, for
each kind of model and for real models apart, how many rows are exact in every field, and every
field that is not. `.venv/bin/python benchmarks/lm_oracle.py [--misses]`.
"""

from __future__ import annotations

import csv
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from costsim.architectures import Architecture, load_model
from costsim.errors import CostsimError

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("COSTSIM_SHARED", ROOT.parent / "shared"))
ORACLE = SHARED / "validation" / "oracle"
Row = dict[str, str]


def number(text: str) -> int | None:
    return int(float(text)) if text else None


def shape_of(text: str) -> tuple[int, int] | None:
    """Return (batch, sequence) of a shape such as b1_s2048 or b1_enc2048_dec2048."""
    found = re.fullmatch(r"b(\d+)_s(\d+)", text) or re.fullmatch(r"b(\d+)_enc(\d+)_dec\2", text)
    return (int(found[1]), int(found[2])) if found else None


def fields(model: Architecture, row: Row) -> Iterator[tuple[str, int, int]]:
    """Yield (field, ours, theirs) of everything that the row states."""

    def stated(name: str) -> int | None:
        return number(row.get(name, ""))

    def pair(field: str, ours: int, theirs: int | None) -> Iterator[tuple[str, int, int]]:
        if theirs is not None:
            yield field, ours, theirs

    yield from pair("parameters", model.parameters, stated("total_params"))
    yield from pair("active parameters", model.active_parameters, stated("active_params"))
    for name in ("fwd1", "fwd2"):
        shape = shape_of(row[f"{name}_shape"])
        if shape and row[f"{name}_flops"]:
            yield from pair(f"{name} FLOPs", model.forward_flops(*shape), stated(f"{name}_flops"))
            if name == "fwd1":
                theirs = stated("fwdbwd1_flops_convfix") or stated("fwdbwd1_flops")
                yield from pair("forward and backward", model.training_flops(*shape), theirs)
    for index in (1, 2, 3):
        past = stated(f"decode{index}_past")
        if past is not None:
            theirs = stated(f"decode{index}_flops")
            yield from pair(f"decode after {past}", model.decode_flops(1, past), theirs)
    reads_another = "enc" in row["fwd1_shape"]
    for entry in filter(None, row["cache_at"].split(";")):
        tokens, sizes = entry.split("=")
        if reads_another and int(tokens) % 2:
            continue  # one token was added to the decoder alone: no shape of a whole pass
        yield from pair(
            f"cache after {tokens}",
            model.cache_bytes(1, int(tokens)),
            number(sizes.split("/")[1]),
        )


def main() -> None:
    csv.field_size_limit(1_000_000)
    with (ORACLE / "lm_oracle.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] in ("ok", "params_only")]
    exact: Counter[str] = Counter()
    read: Counter[str] = Counter()
    total: Counter[str] = Counter()
    compared = missed = 0
    misses: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        group = "real" if row["source"] == "real" else row["kind"]
        total[group] += 1
        problems: list[str] = []
        for spelling in ("lm_configs", "lm_configs_short"):
            folder = ORACLE / spelling / row["name"]
            if not folder.is_dir():
                continue
            try:
                model = load_model(folder)
                for field, ours, theirs in fields(model, row):
                    compared += 1
                    if ours != theirs:
                        missed += 1
                        problems.append(
                            f"{field}: {ours} against {theirs} ({ours / max(theirs, 1) - 1:+.2%})"
                        )
            except CostsimError as error:
                problems.append(f"not read: {str(error.problems[0].message)[:100]}")
                break
            except Exception as error:
                problems.append(f"FAULT {type(error).__name__}: {error}")
                break
        else:
            read[group] += 1
        if problems:
            misses[group].append(f"{row['name']} ({row['model_type']}): " + "; ".join(problems[:4]))
        else:
            exact[group] += 1
    print(f"{compared:,} fields compared, {missed:,} differ ({missed / max(compared, 1):.2%})\n")
    print("| rows | in all | read | exact in every field |\n|---|---|---|---|")
    for group in sorted(total):
        print(f"| {group} | {total[group]} | {read[group]} | {exact[group]} |")
    if "--misses" in sys.argv:
        for group in sorted(misses):
            print(f"\n{group}")
            for line in misses[group]:
                print(f"  {line}")


if __name__ == "__main__":
    main()
