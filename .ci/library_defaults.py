"""Write what Hugging Face transformers takes for keys that a config.json leaves out.

Needs `transformers` (whose version is recorded), which costsim itself does not:

    python .ci/library_defaults.py simulator/costsim/architectures/huggingface/defaults.json
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from costsim.architectures.huggingface.config import NEUTRAL, WITHOUT_EFFECT


def defaults(model_type: str) -> dict[str, Any]:
    """Return the plain defaults of a model type's config, without keys that change no cost."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(CONFIG_MAPPING[model_type]):
        plain = isinstance(field.default, bool | int | float | str) or field.default is None
        idle = field.name in WITHOUT_EFFECT or field.name in NEUTRAL
        if plain and not idle and not field.name.endswith(("_token_id", "_eps", "_std")):
            found[field.name] = field.default
    return found


def main(path: Path) -> None:
    """Rewrite the table at `path` for the model types that it has, and those named after it."""
    known = json.loads(path.read_text())["model_types"] if path.exists() else {}
    types = sorted({*known, *sys.argv[2:]})
    lines = [f"    {json.dumps(name)}: {json.dumps(defaults(name))}" for name in types]
    version = json.dumps(transformers.__version__)
    table = ",\n".join(lines)
    path.write_text(f'{{\n  "transformers": {version},\n  "model_types": {{\n{table}\n  }}\n}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
