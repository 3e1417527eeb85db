"""Read published configuration files and compare parameters with what their classes have.

    python benchmarks/wild_configs.py ../shared/validation/wild_configs [WORD…]

`cases.csv` of the folder names each file, the class and its parameters (empty where there is
nothing to compare with). A WORD keeps the rows that contain it.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path

from costsim import load_model
from costsim.errors import CostsimError


def status(file: Path, expected: str) -> tuple[str, str]:
    """Return how a file is read, in a word, and what there is to say of it."""
    try:
        read = load_model(file).parameters
    except CostsimError as error:
        return "error", str(error).partition("\n")[0][:150]
    if not expected:
        return "count", f"{read:,}"
    if read == int(expected):
        return "exact", f"{read:,}"
    return "wrong", f"{read:,} of {int(expected):,} ({read - int(expected):+,})"


def main(folder: Path, words: list[str]) -> None:
    """Print a line for each file, and how many there are of each status."""
    found: Counter[str] = Counter()
    with (folder / "cases.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        if not row["file"] or row["name"].startswith("format/"):
            continue
        if words and not any(word in row["name"] for word in words):
            continue
        file = folder / row["file"].replace(".hf_quant_config", "")
        word, said = status(file, row["expected_params"])
        found[word] += 1
        print(f"{word:6} {row['name']}: {row['architecture']} {said}")
    print(", ".join(f"{count} {word}" for word, count in sorted(found.items())))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
