"""A training stack: four independent choices that decide what a step of training holds.

States, layers, loss and memory manager. Each is a fact of a framework's code or of its default
configuration, read there and written in hardware_specs/stacks/ with its source; none is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

Lifetime: TypeAlias = Literal["persistent", "step", "tensor"]
"""How long gradients live: all the time (a buffer); from the backward pass to the update; one
tensor at a time (each is applied and freed as it is made: optimizer in backward)."""

Update: TypeAlias = Literal["fused", "foreach", "loop"]
"""How tensors are updated: in place; all at once, with one more copy of what is updated; one after
the other, with two copies of the largest."""

Layers: TypeAlias = Literal["eager", "compiled", "fused"]
"""Whether every operation of a layer is one of its own, compiled (inductor), or hand-fused
(Transformer Engine, Liger)."""

Loss: TypeAlias = Literal[
    "eager", "compiled", "chunked", "checkpointed", "fused_linear", "tiled", "vocab_parallel"
]
"""How logits become a loss: as written; one compiled kernel; in chunks whose logits are all kept;
in chunks made again in the backward pass, as sequence tiles are; head and loss in one, gradients
made forward (Liger, cut cross-entropy, torchtitan's chunks); tile by tile, made again backward with
gradients summed in fp32 (TRL); divided by vocabulary (Megatron)."""

Units: TypeAlias = Literal["fsdp", "deepspeed", "whole"]
"""What a sharded model gathers: a layer and the one prefetched; as many parameters as stay live
and the buckets; everything at once."""

Buckets: TypeAlias = Literal["none", "copies", "views"]
"""Whether replicas reduce gradients through buckets of their size, beside them or in their place
(DistributedDataParallel; `gradient_as_bucket_view`)."""

Meter: TypeAlias = Literal["allocated", "reserved", "total"]
"""Of tensors, of what the caching allocator holds, of the device as nvidia-smi shows it."""

Dtype: TypeAlias = Literal["fp32", "bf16", "none"]

WIDTHS = {"fp32": 4, "bf16": 2, "none": 0}
"""Bytes of an element; 0 of what is not kept."""

CHOICES: dict[str, tuple[str, ...]] = {
    "gradient_life": get_args(Lifetime),
    "update": get_args(Update),
    "layers": get_args(Layers),
    "loss": get_args(Loss),
    "units": get_args(Units),
    "buckets": get_args(Buckets),
    "attention": ("flash", "sdpa", "masked", "unfused"),
    "experts": ("grouped", "loop"),
    "weights": ("fp32", "bf16"),
    "gathered": ("fp32", "bf16"),
    "gradients": ("fp32", "bf16"),
    "reduced": ("fp32", "bf16"),
    "flat_gradients": get_args(Dtype),
    "master": get_args(Dtype),
    "moments": ("fp32", "bf16"),
    "adapters": ("fp32", "bf16"),
    "kbit": ("fp32", "none"),
    "prints": get_args(Meter),
}
"""Words that each choice may be."""

RANGES: dict[str, tuple[float, float]] = {
    "loss_chunks": (1, 65_536),
    "recompute_layers": (1, 1_000),
    "zero": (0, 3),
    "update_bytes": (0, 1_000),
    "bucket_elements": (0, 1e13),
    "sub_group_elements": (0, 1e13),
    "live_elements": (0, 1e13),
    "context_bytes": (0, 1e12),
    "reserve_ratio": (0, 10),
    "kept_ratio": (0, 1),
}
"""Least and largest value of each choice that is a number."""

SWITCHES = ("autocast", "adapter_autocast", "dropout", "reshard")
"""Choices that are true or false."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What software keeps while it trains in 16 bits; training in fp32 keeps all of it in fp32.

    Attributes:
        profile: time constants of its kind (hardware_specs/calibration/software.yaml).
        weights: format of parameters between steps.
        gathered: format of a weight where it is gathered or copied whole for computing.
        gradients: format of accumulated gradients; `reduced` of those on the wire.
        master: the optimizer's own copy of the weights.
        moments: of the optimizer.
        autocast: whether products cast fp32 weights one operation at a time.
        attention: the kernel: `flash`; `sdpa`, which repeats keys and values where a window needs a
            mask; `masked` of batches that are padded; `unfused`, through memory.
        dropout: whether models that have it drop; `experts` whether they are one grouped product or
            follow one another.
        adapters: format of low-rank adapters, their gradients and moments.
        adapter_autocast: whether adapters in fp32 compute in 16 bits.
        adapter_targets: projections that get an adapter where none are named.
        kbit: format that what stays unpacked beside a base packed by bitsandbytes is cast to.
        loss_chunks: of the losses that go chunk by chunk.
        units: what sharded parameters are gathered in; `reshard` whether they are given back after
            the forward pass.
        buckets: that replicas which share nothing reduce gradients through.
        zero: stage where nothing is stated.
        recompute: mode where nothing is stated; `recompute_adapters` of adapters, where it differs.
        recompute_layers: that whole-layer recomputation makes again together (Megatron's
            recompute_num_layers): their first input alone is kept.
        update_bytes: that an update holds for each element of the largest tensor, where they are
            not what `update` or the optimizer say.
        flat_gradients: bytes of an element of the flat copy of its gradients that the update of a
            sharded optimizer makes.
        sub_group_elements: of those that ZeRO-3 joins and updates at a time.
        bucket_elements: of the buffers through which gradients are reduced; `live_elements` of
            parameters that stay gathered.
        context_bytes: of the driver, kernels and communicators, outside the allocator.
        reserve_ratio: of allocated bytes, that the allocator holds and nobody uses.
        prints: the meter of the memory that it logs.
        kept_ratio: of the blocks of parts that are gone at the worst moment, that its allocator
            keeps and cannot use again.
        known: whether the framework is one of the catalog's; estimates of others are wider.
    """

    id: str
    name: str
    release: str
    source: str
    profile: str
    weights: Dtype = "bf16"
    gathered: Dtype = "bf16"
    gradients: Dtype = "bf16"
    reduced: Dtype = "bf16"
    master: Dtype = "none"
    moments: Dtype = "fp32"
    gradient_life: Lifetime = "step"
    update: Update = "fused"
    autocast: bool = False
    adapters: Dtype = "fp32"
    adapter_autocast: bool = False
    adapter_targets: tuple[str, ...] = ("q_proj", "v_proj")
    kbit: Dtype = "none"
    layers: Layers = "eager"
    attention: Literal["flash", "sdpa", "masked", "unfused"] = "flash"
    dropout: bool = False
    experts: Literal["grouped", "loop"] = "grouped"
    loss: Loss = "eager"
    loss_chunks: int = 8
    units: Units = "whole"
    reshard: bool = True
    buckets: Buckets = "none"
    zero: int = 0
    recompute: str = "none"
    recompute_adapters: str = ""
    recompute_layers: int = 1
    update_bytes: float = 0.0
    flat_gradients: Dtype = "none"
    bucket_elements: float = 0.0
    sub_group_elements: float = 0.0
    live_elements: float = 0.0
    context_bytes: float = 0.0
    reserve_ratio: float = 0.0
    kept_ratio: float = 0.0
    prints: Meter = "allocated"
    known: bool = True


_BITSANDBYTES = ("nf4", "fp4", "int8")


def beside_adapters(stack: Stack, base: Dtype, storage: str | None) -> Stack:
    """Return `stack` as it trains adapters: the base stays in the format that it is loaded in.

    PEFT's `prepare_model_for_kbit_training` casts to fp32 what bitsandbytes leaves unpacked: norms,
    embedding, head, and with them the residual stream.
    """
    upcast = (storage or "").startswith(_BITSANDBYTES) and stack.kbit == "fp32"
    loaded: Dtype = "fp32" if upcast else base
    autocast = upcast or (stack.autocast and loaded == "fp32")
    return replace(stack, weights=loaded, gradients=loaded, moments=loaded, autocast=autocast)


def recompute_of(stack: Stack, *, adapters: bool) -> str:
    """Return the mode of recomputation where nothing is stated."""
    return stack.recompute_adapters if adapters and stack.recompute_adapters else stack.recompute


def adapter_reads(stack: Stack) -> Literal["float32", "compute"] | None:
    """Return the format of the copy that an adapter makes of its input; None where it makes none.

    Adapters in fp32 beside a 16-bit base read a copy in fp32, under autocast one in 16 bits.
    """
    if stack.adapters != "fp32" or stack.weights == "fp32":
        return None
    return "compute" if stack.adapter_autocast else "float32"
