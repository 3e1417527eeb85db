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
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, AutoConfig

from costsim.architectures.huggingface.config import NEUTRAL, WITHOUT_EFFECT

CAPS = ("attn_logit_softcapping", "final_logit_softcapping")  # of no work, but of memory
DERIVED = ("layer_types", "mlp_layer_types", "indexer_types")  # from the number of layers


def defaults(model_type: str) -> dict[str, Any]:
    """Return the plain defaults of a model type's config, without keys that change no cost."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(CONFIG_MAPPING[model_type]):
        plain = isinstance(field.default, bool | int | float | str) or field.default is None
        idle = field.name in WITHOUT_EFFECT or field.name in NEUTRAL
        idle = idle and field.name not in CAPS
        if plain and not idle and not field.name.endswith(("_token_id", "_eps", "_std")):
            found[field.name] = field.default
    return found


def parts(model_type: str) -> dict[str, Any]:
    """Return the configs of a model type's parts where it leaves them out.

    Each is its model type, and the values that are not that type's own defaults.
    """
    config = CONFIG_MAPPING[model_type]
    found: dict[str, Any] = {}
    try:
        whole = config()
    except Exception as error:  # a release whose own defaults do not pass its own validators
        print(f"{model_type} has no defaults of parts: {error}", file=sys.stderr)
        return found
    for name in config.sub_configs:
        part = getattr(whole, name, None)
        own = getattr(part, "model_type", "")
        if own not in CONFIG_MAPPING:
            continue
        base = {field.name: field.default for field in dataclasses.fields(CONFIG_MAPPING[own])}
        derived, values = CONFIG_MAPPING[own]().to_dict(), part.to_dict()
        changed = {
            key: value
            for key, value in values.items()
            if derived.get(key) != value or base.get(key, value) is None
        }
        idle = {*WITHOUT_EFFECT, *NEUTRAL, *DERIVED} - {"model_type"}
        kept = {key: changed[key] for key in changed if key not in idle and plain(changed[key])}
        found[name] = {"model_type": own, **kept}
    return found


def fixed(model_type: str) -> dict[str, str]:
    """Return the model types of parts that follow from the whole's, whatever they are named."""
    kinds = CONFIG_MAPPING[model_type].sub_configs
    return {key: kind.model_type for key, kind in kinds.items() if kind is not AutoConfig}


def aliases(model_type: str) -> dict[str, str]:
    """Return other names of a model type's keys, each with the key."""
    found = CONFIG_MAPPING[model_type].attribute_map
    idle = WITHOUT_EFFECT | NEUTRAL.keys()
    return {name: key for name, key in found.items() if name != key and key not in idle}


def plain(value: Any) -> bool:
    """Return whether a value is one number or word, or a list of them."""
    items = value if isinstance(value, list) else [value]
    return all(isinstance(item, bool | int | float | str) for item in items)


def main(path: Path) -> None:
    """Rewrite the table at `path` for the model types that it has, and those named after it."""
    known = json.loads(path.read_text())["model_types"] if path.exists() else {}
    types = sorted({*known, *sys.argv[2:]})
    lines = [f"    {json.dumps(name)}: {json.dumps(defaults(name))}" for name in types]
    version = json.dumps(transformers.__version__)
    composed = [
        f"    {json.dumps(name)}: {json.dumps(found)}" for name in types if (found := parts(name))
    ]
    settled = [
        f"    {json.dumps(name)}: {json.dumps(found)}" for name in types if (found := fixed(name))
    ]
    called = [
        f"    {json.dumps(name)}: {json.dumps(found)}" for name in types if (found := aliases(name))
    ]
    separator = ",\n"
    tables = {"model_types": lines, "parts": composed, "fixed_parts": settled, "aliases": called}
    written = (f'  "{name}": {{\n{separator.join(rows)}\n  }}' for name, rows in tables.items())
    path.write_text(f'{{\n  "transformers": {version},\n{separator.join(written)}\n}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
