"""How one replica of a model is divided over devices, and in which formats it is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from costsim.architectures.operators import Experts, Operator
from costsim.architectures.workload import Shard
from costsim.hardware.blocks import Formats
from costsim.hardware.kernels import FORMATS

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Degrees of parallelism of one replica.

    Attributes:
        tp: ranks that share the heads and the dense networks of a layer.
        pp: stages that the layers are divided into.
        attention_dp: groups of tp ranks that attend to requests of their own.
        ep: ranks that share the experts of a layer.
        moe_tp: ranks that share the inside of an expert; ep · moe_tp = tp · attention_dp.
        cp: ranks that divide the positions of a prompt and of the cache; weights are held by all.
    """

    tp: int = 1
    pp: int = 1
    attention_dp: int = 1
    ep: int = 1
    moe_tp: int = 1
    cp: int = 1

    @property
    def devices(self) -> int:
        """Devices of a replica."""
        return self.tp * self.pp * self.attention_dp * self.cp

    def __str__(self) -> str:
        parts = [f"tp{self.tp}"]
        if self.pp > 1:
            parts.append(f"pp{self.pp}")
        if self.attention_dp > 1:
            parts.append(f"dp{self.attention_dp}")
        if self.ep > 1:
            parts.append(f"ep{self.ep}")
        if self.cp > 1:
            parts.append(f"cp{self.cp}")
        return "-".join(parts)


@dataclass(frozen=True, slots=True)
class Layouts:
    """Columns of layouts; the same fields as `Layout`, each an array."""

    tp: Array
    pp: Array
    attention_dp: Array
    ep: Array
    moe_tp: Array
    cp: Array

    @classmethod
    def of(cls, layouts: list[Layout] | tuple[Layout, ...]) -> Layouts:
        """Return the columns of `layouts`."""
        names = ("tp", "pp", "attention_dp", "ep", "moe_tp", "cp")
        return cls(*(np.array([float(getattr(one, name)) for one in layouts]) for name in names))

    def __len__(self) -> int:
        return len(self.tp)

    @property
    def devices(self) -> Array:
        """Devices of each replica."""
        return self.tp * self.pp * self.attention_dp * self.cp

    def take(self, rows: NDArray[np.intp]) -> Layouts:
        """Return the layouts of `rows`, repeated as they are."""
        return Layouts(
            self.tp[rows],
            self.pp[rows],
            self.attention_dp[rows],
            self.ep[rows],
            self.moe_tp[rows],
            self.cp[rows],
        )

    def shard(self) -> Shard:
        """Return a device's share of a layer."""
        return Shard(tp=self.tp, ep=self.ep, etp=self.moe_tp)


@dataclass(frozen=True, slots=True)
class Quantization:
    """Number formats, keys of `costsim.hardware.kernels.FORMATS`.

    Attributes:
        dense: of the layers' matrices.
        experts: of routed experts.
        cache: of keys and values: "bf16", "fp16" or "fp8".
        other: of embedding, head, router and activations.
    """

    dense: str = "bf16"
    experts: str = "bf16"
    cache: str = "bf16"
    other: str = "bf16"

    def format_of(self, operator: Operator) -> str:
        """Return the format of the products of `operator`."""
        if isinstance(operator, Experts):
            return self.experts
        return self.dense if operator.role == "matrix" else self.other

    def weight_bytes(self, operator: Operator) -> float:
        """Return bytes of an element of the weight matrices of `operator`."""
        return FORMATS[self.format_of(operator)].weight_bytes


@dataclass(frozen=True, slots=True)
class ServedFormats(Formats):
    """Formats of `block_times`, decided operator by operator."""

    quantization: Quantization = Quantization()

    @classmethod
    def from_quantization(cls, quantization: Quantization) -> ServedFormats:
        """Return the formats that `quantization` gives operators; activations are 16 bits."""
        return cls(quantization.dense, quantization.other, 2.0, quantization)

    def of(self, operator: Operator) -> str:
        """Return the format that the products of `operator` run in."""
        return self.quantization.format_of(operator)
