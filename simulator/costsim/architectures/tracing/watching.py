"""What a language model of transformers does, seen at its modules and its attention interface.

The class is built without storage and run on tensors without storage: once over whole sequences,
once with a token more after what it keeps. Every module that computes is noted with the tensors
that it reads and makes, and every call of the attention interface with heads, widths and windows.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

ATTENTION = "costsim"
"""What this attention is called in the library's table of implementations."""

Kind: TypeAlias = Literal["linear", "norm", "embedding", "dropout", "other", "inner"]


class NotUnderstoodError(Exception):
    """What a model does that no layer here does."""


@dataclass(frozen=True)
class Ran:
    """A module that ran: where it stands, the first tensor it read, the first it made."""

    path: str
    module: nn.Module
    kind: Kind
    reads: Tensor | None
    makes: Tensor | None


@dataclass(frozen=True)
class Attended:
    """A call of the attention interface, by the module that made it."""

    path: str
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    window: int | None
    sinks: bool
    capped: bool
    causal: bool
    dropout: bool


Event: TypeAlias = Ran | Attended


@dataclass
class Watched:
    """One model as it was seen: events in order, and what it counted at each length."""

    module: Any
    events: list[Event] = field(default_factory=list[Event])
    forward_flops: dict[int, int] = field(default_factory=dict[int, int])
    decode_flops: dict[int, int] = field(default_factory=dict[int, int])
    cached_values: dict[int, int] = field(default_factory=dict[int, int])


_PATHS: dict[int, str] = {}
_SEEN: list[Event] = []


def register() -> None:
    """Enter the attention that is watched into the library's table."""
    modeling: Any = import_module("transformers.modeling_utils")
    modeling.ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _attend)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **options: Any
) -> tuple[Tensor, None]:
    """Attend as the eager implementation does, to all positions, and note what was asked."""
    heads, kv_heads = query.shape[1], key.shape[1]
    window = options.get("sliding_window")
    called = Attended(
        path=_PATHS.get(id(module), ""),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=query.shape[-1],
        value_dim=value.shape[-1],
        window=window if isinstance(window, int) and window > 0 else None,
        sinks=options.get("s_aux") is not None or getattr(module, "sinks", None) is not None,
        capped=bool(options.get("softcap")),
        causal=bool(getattr(module, "is_causal", True)),
        dropout=any(rate(getattr(module, name, None)) > 0 for name in _DROPOUTS),
    )
    _SEEN.append(called)
    key = key.repeat_interleave(heads // kv_heads, 1)
    value = value.repeat_interleave(heads // kv_heads, 1)
    scores = (query @ key.transpose(2, 3)).softmax(-1)
    return (scores @ value).transpose(1, 2).contiguous(), None


_DROPOUTS = ("attention_dropout", "attn_dropout", "dropout")


def rate(found: Any) -> float:
    """Return the rate of dropout that an attribute of a module says, if it says any."""
    said = found.p if isinstance(found, nn.Dropout) else found
    return float(said) if isinstance(said, int | float) else 0.0


def watch(module: Any, lengths: tuple[int, ...]) -> Watched:
    """Run a causal model over sequences of `lengths`, and a token after each."""
    found = Watched(module)
    for length in lengths:
        ids = torch.zeros(1, length, dtype=torch.long, device="meta")
        with _noting(found, first=length == lengths[0]), FlopCounterMode(display=False) as whole:
            output = module(input_ids=ids, use_cache=True)
        found.forward_flops[length] = whole.get_total_flops()
        kept = output.get("past_key_values", output.get("cache"))
        if kept is None or not all(hasattr(layer, "keys") for layer in kept.layers):
            raise NotUnderstoodError("it does not keep keys and values of every layer")
        found.cached_values[length] = sum(
            tensor.numel()
            for layer in kept.layers
            for tensor in (layer.keys, layer.values)
            if tensor is not None
        )
        with FlopCounterMode(display=False) as one:
            module(input_ids=ids[:, :1], use_cache=True, **{_cache_name(module): kept})
        found.decode_flops[length] = one.get_total_flops()
    return found


def _cache_name(module: Any) -> str:
    """Return what a version of the library calls the cache that it is given."""
    taken = inspect.signature(module.forward).parameters
    return "past_key_values" if "past_key_values" in taken else "cache"


@contextmanager
def _noting(found: Watched, *, first: bool) -> Generator[None]:
    """Collect the events of the first pass; others are counted only."""
    if not first:
        yield
        return
    entered: list[Any] = []
    _SEEN.clear()
    _PATHS.clear()

    def begin(path: str) -> Any:
        def note(_: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
            entered.append(_first((*inputs, *options.values())))

        return note

    def end(path: str) -> Any:
        def note(module: nn.Module, _: Any, output: Any) -> None:
            made = _first(output if isinstance(output, tuple | list) else (output,))
            _SEEN.append(Ran(path, module, _kind(module), entered.pop(), made))

        return note

    handles: list[Any] = []
    for path, module in found.module.named_modules():
        _PATHS[id(module)] = path
        handles.append(module.register_forward_pre_hook(begin(path), with_kwargs=True))
        handles.append(module.register_forward_hook(end(path)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    found.events.extend(_SEEN)
    _SEEN.clear()
    _PATHS.clear()


def _first(values: Any) -> Tensor | None:
    return next((one for one in values if isinstance(one, Tensor)), None)


def _kind(module: nn.Module) -> Kind:
    name = type(module).__name__
    if isinstance(module, nn.Linear) or name == "Conv1D":
        return "linear"
    if isinstance(module, nn.Embedding):
        return "embedding"
    if "norm" in name.lower() and not any(True for _ in module.children()):
        return "norm"
    if isinstance(module, nn.Dropout):
        return "dropout" if module.p > 0 else "inner"
    own = any(True for _ in module.parameters(recurse=False))
    return "other" if own else "inner"


def widths(module: Any) -> tuple[int, int, bool]:
    """Return inputs, outputs and whether there is a bias, of a matrix."""
    shape = tuple(module.weight.shape)
    outputs, inputs = shape if isinstance(module, nn.Linear) else shape[::-1]
    return int(inputs), int(outputs), module.bias is not None


class _Wide(TorchDispatchMode):
    """Sees whether weights of a norm are multiplied with before the cast back."""

    found = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        tensors = [one for one in args if isinstance(one, Tensor)]
        if "mul" in str(func) and len(tensors) == 2:
            sizes = {one.dim() for one in tensors}
            self.found |= 1 in sizes and cast(Tensor, made).dtype == torch.float32
        return made


def multiplies_in_float32(norm: Any, width: int) -> bool:
    """Return whether a norm of bf16 values multiplies with its weights in fp32."""
    given = norm.weight.dtype
    norm.to(torch.bfloat16)
    try:
        with _Wide() as seen, torch.no_grad():
            norm(torch.zeros(1, 2, width, dtype=torch.bfloat16, device="meta"))
        return seen.found
    finally:
        norm.to(given)
