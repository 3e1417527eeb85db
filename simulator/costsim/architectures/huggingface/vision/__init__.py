"""Readers of models of images: classifiers, their backbones, and towers beside a text."""

from __future__ import annotations

from functools import wraps

from costsim.architectures.architecture import Description
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.vision import (
    convolutional,
    mobile,
    pyramids,
    towers,
    transformers,
    windows,
)
from costsim.architectures.workload import Workload
from costsim.errors import SpecError


def _built(reader: Reader) -> Reader:
    """Return `reader`, which also tells where its values make no net."""

    @wraps(reader)
    def read(config: Config) -> Description:
        net = reader(config)
        if config.problems or any(part.problems for part in config.parts.values()):
            return net
        try:
            net.blocks(Workload(1, 1))
        except SpecError as error:
            config.problem("image_size", f"does not fit the net: {error}")
        except (ArithmeticError, ValueError, IndexError) as error:
            config.problem("model_type", f"and the other values make no net: {error}")
        return net

    return read


READERS: dict[str, Reader] = {
    model_type: _built(reader)
    for family in (transformers, towers, windows, convolutional, mobile, pyramids)
    for model_type, reader in family.READERS.items()
}
