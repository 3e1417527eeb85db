"""Runs a module without weights or compute: a copy of fake tensors, forward and backward."""

from __future__ import annotations

import copy
import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensor, FakeTensorMode
from torch.utils import _pytree as pytree

from costsim.architectures.tracing.recorder import Recorder


def fake_copy(module: nn.Module) -> tuple[nn.Module, FakeTensorMode]:
    """Return a copy of `module` whose tensors have no storage, and the mode in which they work.

    Tensors on the `meta` device, where some operations are not what they are elsewhere, are taken
    to the CPU. A module that is fake already is returned as it is.
    """
    tensors = [*module.parameters(), *module.buffers()]
    for tensor in tensors:
        if isinstance(tensor, FakeTensor):
            return module, tensor.fake_mode
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    memo: dict[int, Any] = {}
    with mode:
        for tensor in tensors:
            made = torch.empty_strided(
                tensor.size(), tensor.stride(), dtype=tensor.dtype, device=_device(tensor)
            )
            if isinstance(tensor, nn.Parameter):
                made = nn.Parameter(made, requires_grad=tensor.requires_grad)
            memo[id(tensor)] = made
    with FakeCopyMode(mode):
        return copy.deepcopy(module, memo), mode


def fake_inputs(mode: FakeTensorMode, values: Any) -> Any:
    """Return nested inputs with every tensor replaced by one without storage."""

    def fake(tensor: Tensor) -> Tensor:
        if isinstance(tensor, FakeTensor):
            return tensor
        if tensor.device.type != "meta":
            return mode.from_tensor(tensor)
        with mode:
            made = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype)
        return made.requires_grad_(tensor.requires_grad)

    return cast(Any, pytree).tree_map_only(Tensor, fake, values)


def record(
    recorder: Recorder, module: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> None:
    """Run a module forward and, from the sum of its result, backward."""
    with _plain_kernels(), torch.enable_grad():
        with recorder, recorder.following():
            outputs = module(*arguments, **keywords)
        results = [value for value in _results(outputs) if value.requires_grad]
        if results:
            total: Any = torch.stack([value.sum().real.float() for value in results]).sum()
            recorder.direction = "backward"
            try:
                with recorder:
                    total.backward()
            finally:
                module.zero_grad(set_to_none=True)


@contextmanager
def _plain_kernels() -> Generator[None]:
    """Keep PyTorch from kernels that hide what they compute (whole RNNs, encoder layers)."""
    backends: Any = torch.backends
    # PyTorch logs what fails in fake mode before it raises it.
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    log.setLevel(logging.CRITICAL)
    fast, mkldnn = backends.mha.get_fastpath_enabled(), backends.mkldnn.enabled
    backends.mha.set_fastpath_enabled(False)
    backends.mkldnn.enabled = False
    try:
        yield
    finally:
        backends.mkldnn.enabled = mkldnn
        backends.mha.set_fastpath_enabled(fast)
        log.setLevel(level)


def _results(outputs: Any) -> list[Tensor]:
    """Return what a module is trained on: its loss or logits where it names them, else all."""
    for name in ("loss", "logits"):
        value = cast(Any, outputs).get(name) if isinstance(outputs, Mapping) else None
        if isinstance(value, Tensor):
            return [value]
    leaves: list[Any] = cast(Any, pytree).tree_leaves(outputs)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _device(tensor: Tensor) -> torch.device | str:
    return "cpu" if tensor.device.type == "meta" else tensor.device
