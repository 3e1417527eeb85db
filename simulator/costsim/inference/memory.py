"""What a device of a replica holds: weights, what is left for the cache, what a request takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from costsim.architectures.architecture import Architecture
from costsim.architectures.operators import Experts, Linear
from costsim.architectures.workload import Workload
from costsim.hardware.decode import CACHE_BYTES
from costsim.hardware.kernels import FORMATS
from costsim.hardware.systems import System
from costsim.inference.engines import Engine
from costsim.inference.layout import Array, Layouts, Quantization

_HALF, _SINGLE = 2.0, 4.0  # bytes of an element of activations, and of logits


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """The arithmetic by which an engine sizes its cache at start-up, on one device.

    vLLM and SGLang take a share of the whole memory, of which the cache gets what weights, other
    allocations and the activations of the largest step leave: total · ratio - weights - other -
    activations. TensorRT-LLM gives the cache a share of what is free. Captured graphs lie outside.
    """

    total_bytes: float
    memory_ratio: float
    weights_bytes: float
    other_bytes: float
    activation_bytes: float
    memory_of: Literal["total", "free"] = "total"

    @property
    def cache_bytes(self) -> float:
        """Bytes left for the cache; below zero where the model does not fit."""
        held = self.weights_bytes + self.other_bytes + self.activation_bytes
        if self.memory_of == "free":
            return (self.total_bytes - held) * self.memory_ratio
        return self.total_bytes * self.memory_ratio - held

    @property
    def fits(self) -> bool:
        """Whether anything is left for a cache."""
        return self.cache_bytes > 0

    def blocks(self, block_bytes: float) -> int:
        """Return how many whole blocks the cache has."""
        return max(0, math.floor(self.cache_bytes / block_bytes))


def cache_budget(
    system: System,
    model: Architecture,
    layouts: Layouts,
    quantization: Quantization,
    engine: Engine,
) -> Array:
    """Return bytes that `engine` gives the cache on a device of each layout; negative = no fit."""
    total = np.full(len(layouts), system.accelerator.memory_usable_bytes)
    held = weight_bytes(model, layouts, quantization) + engine.other_bytes
    held = held + activation_bytes(model, layouts, engine)
    if engine.memory_of == "free":
        return (total - held) * engine.memory_ratio
    return total * engine.memory_ratio - held


def activation_bytes(model: Architecture, layouts: Layouts, engine: Engine) -> Array:
    """Return bytes of activations alive at once in the largest step that `engine` allows.

    Of its tokens the residual stream, its norm, and the widest of a layer: what enters and leaves a
    product, or what left one beside what enters the next (a network's products up are still there
    when its activation has been written); of its requests the logits in fp32, as they are profiled
    before the cache is sized.
    """
    shard = layouts.shard()
    tokens = np.ceil(engine.max_batched_tokens / layouts.cp)
    widest, logits = np.zeros(len(layouts)), np.zeros(len(layouts))
    blocks = model.blocks(Workload(1.0, 1.0))
    hidden = float(blocks[-1].source.elements)
    for block in blocks:
        left: Array | float = 0.0
        for op in block.shard(shard).operators:
            if isinstance(op, Experts):
                both = float(op.top_k) * (op.hidden + op.ups * op.width)
                widest = np.maximum(widest, both * op.experts / op.chosen_from)
            elif isinstance(op, Linear) and op.use == "head":
                logits = np.maximum(logits, op.outputs)
            elif isinstance(op, Linear):
                held = np.maximum(op.outputs, left) + op.inputs
                widest, left = np.maximum(widest, held), op.outputs
    requests = min(engine.max_sequences, engine.max_batched_tokens)
    return _HALF * tokens * (2.0 * hidden + widest) + _SINGLE * requests * logits


def weight_bytes(model: Architecture, layouts: Layouts, quantization: Quantization) -> Array:
    """Return bytes of weights on one device of each layout; stages are taken as equal."""
    shard = layouts.shard()
    wide = FORMATS[quantization.other].weight_bytes
    total = np.zeros(len(layouts))
    for block in model.blocks(Workload(1.0, 1.0)):
        for operator in block.shard(shard).operators:
            narrow = quantization.weight_bytes(operator)
            for weight in operator.stored_weights():
                each = narrow if weight.matrix and not weight.lookup else wide
                total += float(block.count) * weight.stored_bytes(each)
    return total / layouts.pp


def cache_bytes(
    model: Architecture, layouts: Layouts, quantization: Quantization, tokens: Array
) -> Array:
    """Return bytes that a request of `tokens` positions keeps on one device of its attention rank.

    Layer by layer: heads of keys and values divide over tp ranks as far as there are any, a latent
    is held by all, recurrent state divides over any number. Positions divide over cp ranks.
    """
    element = CACHE_BYTES[quantization.cache]
    total = np.zeros(np.broadcast_shapes(np.shape(tokens), (len(layouts),)))
    for tensor, count in model.description.cache(1.0, np.asarray(tokens, dtype=np.float64)):
        each = 4.0 if tensor.storage == "float32" else element
        if tensor.bits is not None:
            each = tensor.bits / 8
        total = total + count * tensor.elements * each * tensor.share(layouts.tp)
    return total / (layouts.pp * layouts.cp)


@dataclass(frozen=True, slots=True)
class KvCache:
    """What a replica's cache holds, in the figures that vLLM logs when it starts.

    Attributes:
        bytes_per_device: that the engine gives it.
        request_tokens: of the longest request that the engine is told to allow.
        concurrency: such requests that an attention rank holds at once.
        tokens: of them: "GPU KV cache size"; of a model whose layers look back only so far, more
            than each of its layers keeps.
        longest_tokens: of a single request that fits, and that the model has positions for.
    """

    bytes_per_device: float
    request_tokens: int
    concurrency: float
    longest_tokens: int

    @property
    def tokens(self) -> int:
        """Tokens that the cache holds, as vLLM counts them."""
        return int(self.concurrency * self.request_tokens)

    @property
    def logged(self) -> tuple[str, str]:
        """The two lines that vLLM writes."""
        return (
            f"GPU KV cache size: {self.tokens:,} tokens",
            f"Maximum concurrency for {self.request_tokens:,} tokens per request: "
            f"{self.concurrency:.2f}x",
        )

    def to_dict(self) -> dict[str, float]:
        """Return the figures as plain values, keys with their units."""
        return {
            "bytes_per_device": self.bytes_per_device,
            "tokens": self.tokens,
            "request_tokens": self.request_tokens,
            "maximum_concurrency": self.concurrency,
            "longest_context_tokens": self.longest_tokens,
        }


def kv_cache(
    system: System,
    model: Architecture,
    layouts: Layouts,
    quantization: Quantization,
    engine: Engine,
    request_tokens: int,
) -> KvCache:
    """Return what the cache of one layout holds, for requests of at most `request_tokens`."""
    budget = float(cache_budget(system, model, layouts, quantization, engine)[0])
    block = engine.block_tokens

    def needed(tokens: float) -> float:
        whole = np.array(math.ceil(tokens / block) * block, dtype=np.float64)
        return float(cache_bytes(model, layouts, quantization, whole)[0])

    each = needed(request_tokens)
    concurrency = max(budget, 0.0) / each if each > 0 else 0.0
    low, high = 0, 2**40
    if model.context_limit is not None:
        high = int(model.context_limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if needed(middle) <= budget else (low, middle - 1)
    return KvCache(max(budget, 0.0), request_tokens, concurrency, low)


def request_slots(
    system: System,
    model: Architecture,
    layouts: Layouts,
    quantization: Quantization,
    engine: Engine,
    tokens: Array,
) -> Array:
    """Return how many requests of `tokens` positions a replica holds at once; 0 = no fit.

    The cache is whole blocks; the engine's own limit counts on each attention rank.
    """
    blocks = np.ceil(tokens / engine.block_tokens)
    each = cache_bytes(model, layouts, quantization, blocks * engine.block_tokens)
    budget = cache_budget(system, model, layouts, quantization, engine)
    room = np.maximum(budget, 0.0) / np.maximum(each, 1.0)
    return np.minimum(room, engine.max_sequences) * layouts.attention_dp
