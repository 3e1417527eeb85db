"""Multi-token prediction: what a published config says of it, and what becomes of that."""

from __future__ import annotations

from costsim.architectures.architecture import Description
from costsim.architectures.huggingface.config import Config
from costsim.architectures.multimodal import Multimodal
from costsim.architectures.prediction import Predictions, predictions
from costsim.architectures.transformer import Transformer
from costsim.architectures.workload import Workload

_MODULES = (
    "num_nextn_predict_layers",
    "num_mtp_modules",
    "num_mtp_layers",
    "mtp_num_hidden_layers",
    "mtp_num_layers",
)
"""Keys that count modules, by the names that they have in published files."""


def tell_of_predictions(config: Config, description: Description) -> None:
    """Note modules that a config counts and the class it names does not build."""
    for part in (config, *config.parts.values()):
        part.ignore(*_MODULES)
        counted = {key: part.values[key] for key in _MODULES if part.values.get(key)}
        if not counted:
            continue
        key, value = next(iter(counted.items()))
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            part.problem(key, "must be a whole number")
            continue
        text = description
        if isinstance(description, Multimodal):
            if any(isinstance(part, Predictions) for part in description.parts):
                return
            text = description.text
        size = ""
        if isinstance(text, Transformer) and text.layers:
            held = predictions(text, value).blocks(Workload(1, 1))
            total = sum(b.count * weight.stored_elements for b in held for weight in b.weights())
            size = f", about {int(total):,} parameters,"
        config.note(
            f"{key} {value}: modules that predict further tokens{size} "
            "are not part of the class that the config names, and not counted"
        )
        return
