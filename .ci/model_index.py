"""Write scenarios/models/index.json: the totals of every catalogue model, for `costsim models`.

Run it when a model of the catalogue is added, or a total changes: `python .ci/model_index.py`.
A test holds the file to what the models give.
"""

from __future__ import annotations

import json
from pathlib import Path

from costsim.architectures import load_model, model_names
from costsim.cli.models import entry_of

TARGET = Path(__file__).parents[1] / "scenarios" / "models" / "index.json"


def main() -> None:
    """Write the file, a line a model."""
    lines = [
        f"{json.dumps(name)}: {json.dumps(entry_of(load_model(name)), ensure_ascii=False)}"
        for name in model_names()
    ]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
