"""Published configs beside a runs file, which rows name in their column `config`."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from costsim.architectures.architecture import Architecture
from costsim.architectures.catalog import load_model
from costsim.errors import SpecError
from costsim.paths import exists, is_file
from costsim.validation.runs import Run


def config_of(run: Run, folder: Path | None) -> Architecture | None:
    """Return the model whose config a row names; None where it names none.

    Raises:
        SpecError: if there is no such file, or it describes no model that is supported.
    """
    name, _ = run.text.get("config", ""), run.text.get("model")  # the config is of that model
    return described_model(name, folder or Path())[0] if name else None


@lru_cache(maxsize=64)
def described_model(name: str, folder: Path) -> tuple[Architecture, str]:
    """Return the model of a config's path or a name, and by what method its config is quantized.

    Raises:
        SpecError: if there is no such file, or it describes no model that is supported.
        UnknownNameError: if no catalog model has the name.
    """
    path = folder / name
    if path.suffix == ".json" and not is_file(path):
        raise SpecError(f"no such config beside the runs file: `{name[:60]}`")
    model = load_model(str(path) if exists(path) else name)
    if path.suffix != ".json":
        return model, ""
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return model, str(config.get("quantization_config", {}).get("quant_method", ""))
