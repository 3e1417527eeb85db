"""What passes through a model in one go, and how a framework runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from costsim.algebra import Number, exact_div, where


@dataclass(frozen=True, slots=True)
class Workload:
    """One pass: `tokens` new positions in each of `batch` sequences, attending to `context`.

    A full forward pass has `context` None (= `tokens`); generating one token has `tokens` 1 and
    `context` the cache's length plus one; a context-parallel rank has `tokens` = s/cp, `context` s.
    `source_tokens` is the length of what an encoder-decoder reads, where it is not as long as what
    it writes. `generates` says that all that came before is cached: keys, values and states of the
    earlier positions, and what a decoder made of an encoder's output. `images` counts the images
    (or clips, or sounds) that are seen beside all texts together. `image` is the size of an image,
    a side or each of its dimensions, where it is not the one that a vision model is made for.
    """

    batch: Number = 1
    tokens: Number = 2048
    context: Number | None = None
    source_tokens: Number | None = None
    generates: bool = False
    images: Number = 0
    image: Number | tuple[Number, ...] | None = None

    @classmethod
    def generation(cls, batch: Number, past: Number) -> Workload:
        """Return the generation of one token in each of `batch` sequences of `past` tokens."""
        return cls(batch, 1, past + 1, source_tokens=past, generates=True)

    @property
    def kv_tokens(self) -> Number:
        return self.tokens if self.context is None else self.context

    @property
    def rows(self) -> Number:
        """Positions that a token-wise operator works on."""
        return self.batch * self.tokens


@dataclass(frozen=True, slots=True)
class Execution:
    """How the operators are run, which decides what autograd keeps for the backward pass.

    `fused` kernels (Megatron-LM, Transformer Engine, FlashAttention) keep inputs and small
    statistics; `eager` PyTorch keeps what every elementary operation asks for (see
    `operators.eager`). Attention is `flash` (no score matrix), `unfused` (scores, softmax and
    dropout in memory), or PyTorch's own `sdpa`, which is `flash` but for windows, whose mask makes
    it `masked`, and for dropout on a CPU.
    """

    style: Literal["fused", "eager"] = "fused"
    attention: Literal["flash", "unfused", "sdpa", "masked"] = "flash"
    autocast: bool = False  # fp32 weights, cast for each product (eager style only)
    low_precision: bool = True  # computes in 2 bytes: norms and softmax are kept in fp32 by eager
    dropout: bool = False
    transposes: bool = False  # convolutions turn maps from channels first to last and back (eager)
    latent: Literal["expanded", "absorbed"] = "expanded"  # attention over compressed keys (MLA)
    device: Literal["gpu", "cpu"] = "gpu"  # on CPU dropout masks are no bytes but floats
    experts: Literal["grouped", "loop"] = "grouped"  # one grouped product, or one after another
    # Statistics of the batch (training), kept ones (a pass), or weights that include them (none).
    batch_norm: Literal["batch", "running", "folded"] = "batch"

    @property
    def casts(self) -> bool:
        """Whether products take copies of their inputs and weights in a shorter format."""
        return self.autocast and self.low_precision


FUSED = Execution()
REFERENCE = Execution(style="eager", attention="unfused")
"""As the reference code of Hugging Face transformers runs in PyTorch, operation by operation."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One device's share of the work inside a layer.

    Tensor parallelism (`tp`) divides heads, feed-forward columns and the vocabulary; sequence
    parallelism (`sp`, true or false) divides by the same group the positions of what lies between
    those. Expert parallelism (`ep`) divides the experts, `etp` the inside of each. Context
    parallelism has divided the positions already: a rank's workload has `tokens` = s/cp. For
    attention either keys and values come in `cp` pieces, or ranks exchange positions for heads,
    which are divided by `cp_heads` more. `imbalance` is the load of the rank whose experts are most
    in demand, over the mean: the device is that one, since all others wait for it.
    """

    tp: Number = 1
    sp: Number = False
    ep: Number = 1
    etp: Number = 1
    cp: Number = 1
    cp_heads: Number = 1
    imbalance: Number = 1

    def rows(self, rows: Number) -> Number:
        """Positions that a device holds between the tensor-parallel regions."""
        return where(self.sp, exact_div(rows, self.tp), rows)
