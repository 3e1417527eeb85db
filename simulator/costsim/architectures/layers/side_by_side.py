"""Mixers side by side (Falcon-H1): the same input, outputs added."""

from __future__ import annotations

from dataclasses import dataclass

from costsim.algebra import Number
from costsim.architectures.layers.layer import Mixer
from costsim.architectures.operators import Elementwise, Operator
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """The sum of what several mixers make of one input."""

    mixers: tuple[Mixer, ...]

    def operators(
        self, workload: Workload, hidden: Number, source: str
    ) -> tuple[tuple[Operator, ...], str]:
        """Return the operators that turn `source` into the sum, and its name."""
        found: list[Operator] = []
        for mixer in self.mixers:
            found.extend(mixer.operators(workload, hidden, source)[0])
        name = "mixer.sum"
        read = len(self.mixers) * hidden
        found.append(Elementwise(name=name, rows=workload.rows, read=read, written=hidden))
        return tuple(found), name

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what each mixer keeps."""
        return tuple(tensor for mixer in self.mixers for tensor in mixer.cache(batch, tokens))
