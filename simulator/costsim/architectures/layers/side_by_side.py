"""Mixers side by side (Falcon-H1): the same input, outputs added."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.layer import Mixer
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.tensors import CacheTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """The sum of what several mixers make of one input."""

    mixers: tuple[Mixer, ...]

    def build(self, x: Tensor) -> Tensor:
        """Record the mixers and the sum of what they give."""
        first, *others = (mixer.build(x).within("mixer") for mixer in self.mixers)
        return first.elementwise("sum", *others, keeps=())

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what each mixer keeps."""
        return tuple(tensor for mixer in self.mixers for tensor in mixer.cache(batch, tokens))
