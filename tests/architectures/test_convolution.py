"""Convolutions, maps and small nets against live PyTorch; laws of shares; the separable saving."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import sympy
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from architectures.eager_reference import Meter
from costsim.architectures import Architecture
from costsim.architectures.activations import kept_bytes
from costsim.architectures.operators import Convolution
from costsim.architectures.operators.convolution import strided
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Net
from costsim.architectures.workload import Execution, Shard, Workload
from costsim.errors import SpecError

EAGER = Execution(style="eager", attention="unfused", low_precision=False, device="cpu")
LAYERS = {1: (nn.Conv1d, nn.ConvTranspose1d), 2: (nn.Conv2d, nn.ConvTranspose2d)} | {
    3: (nn.Conv3d, nn.ConvTranspose3d)
}


def _flops(works: tuple[Any, ...]) -> int:
    return sum(work.flops for work in works)


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    """Any convolution with at least one position left."""
    dimensions = draw(st.sampled_from([1, 2, 3]))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    small = st.integers(1, 3)

    def each(values: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(values) for _ in range(dimensions))

    found = Convolution(
        name="c",
        source="x",
        batch=draw(st.integers(1, 3)),
        sizes=each(st.integers(1, 9)),
        inputs=groups * draw(small),
        outputs=groups * draw(small),
        kernel=each(small),
        stride=each(small),
        padded=tuple(2 * padding for padding in each(st.integers(0, 2))),
        dilation=each(st.integers(1, 2)),
        groups=groups,
        bias=draw(st.booleans()),
        transposed=draw(st.booleans()),
        leaf=draw(st.booleans()),
    )
    assume(min(found.output_sizes) > 0)
    return found


def _module(operator: Convolution) -> nn.Module:
    plain, transposed = LAYERS[len(operator.sizes)]
    return (transposed if operator.transposed else plain)(
        operator.inputs,
        operator.outputs,
        operator.kernel,
        operator.stride,
        tuple(padded // 2 for padded in operator.padded),
        dilation=operator.dilation,
        groups=operator.groups,
        bias=operator.bias,
    )


@given(convolutions())
def test_convolution_is_pytorchs(operator: Convolution) -> None:
    module = _module(operator).to("meta")
    x = torch.empty(
        operator.batch,
        operator.inputs,
        *operator.sizes,
        device="meta",
        requires_grad=not operator.leaf,
    )
    with FlopCounterMode(display=False) as forward:
        y = module(x)
    assert tuple(y.shape[2:]) == operator.output_sizes
    assert sum(w.elements for w in operator.weights()) == sum(
        p.numel() for p in module.parameters()
    )
    assert [s for w in operator.weights() for s in w.tensors] == [
        tuple(p.shape) for p in module.parameters()
    ]
    assert _flops(operator.work("forward", EAGER)) == forward.get_total_flops()
    with FlopCounterMode(display=False) as backward:
        y.sum().backward()
    if operator.groups == 1:  # the counter takes the weight's gradient as if there were no groups
        assert _flops(operator.work("backward", EAGER)) == backward.get_total_flops()
    else:
        passes = 1 if operator.leaf else 2
        assert _flops(operator.work("backward", EAGER)) == passes * forward.get_total_flops()


@given(convolutions())
def test_multiply_adds_are_those_of_a_brute_force_count(operator: Convolution) -> None:
    # every input value at the window's place that lies in the padded map, for every output value
    positions = operator.output_sizes if not operator.transposed else operator.sizes
    windows = math.prod(positions) * math.prod(operator.kernel)
    channels = operator.outputs * (operator.inputs // operator.groups)
    assert _flops(operator.work("forward", EAGER)) == 2 * operator.batch * windows * channels


@given(convolutions(), st.integers(2, 4), st.sampled_from(["column", "row", "channels"]))
def test_shares_of_a_convolution_add_up(drawn: Convolution, tp: int, split: Any) -> None:
    groups = tp * drawn.groups if split == "channels" else 1
    operator = Convolution(
        name="c",
        source="x",
        batch=drawn.batch,
        sizes=drawn.sizes,
        inputs=tp * drawn.inputs,
        outputs=tp * drawn.outputs,
        kernel=drawn.kernel,
        stride=drawn.stride,
        padded=drawn.padded,
        dilation=drawn.dilation,
        groups=groups,
        transposed=drawn.transposed,
        split=split,
    )
    part = operator.shard(Shard(tp))
    assert tp * part.weights()[0].elements == operator.weights()[0].elements
    for direction in ("forward", "backward"):
        assert tp * _flops(part.work(direction, EAGER)) == _flops(operator.work(direction, EAGER))
    assert part.output_sizes == operator.output_sizes
    sides = {"column": "entry", "row": "exit"}
    assert [c.side for c in operator.collectives()] == ([sides[split]] if split in sides else [])


def test_an_undivided_convolution_is_the_same_on_every_device() -> None:
    operator = _square(outputs=8)
    assert operator.shard(Shard(4)) == operator


def _square(**changes: Any) -> Convolution:
    values: dict[str, Any] = {
        "name": "c",
        "source": "x",
        "batch": 1,
        "sizes": (8, 8),
        "inputs": 4,
        "outputs": 4,
        "kernel": (3, 3),
        "stride": (1, 1),
        "padded": (2, 2),
        "dilation": (1, 1),
    }
    return Convolution(**(values | changes))


def test_dimensions_may_be_columns_or_symbols() -> None:
    batch = np.array([1.0, 2.0, 64.0])
    columns = _square(batch=batch).work("backward", EAGER)
    single = _square(batch=1).work("backward", EAGER)
    np.testing.assert_array_equal(_flops(columns), batch * _flops(single))
    b, n, c = sympy.symbols("b n c", positive=True, integer=True)
    symbolic = _square(batch=b, outputs=n, inputs=c).work("forward", EAGER)
    assert sympy.expand(_flops(symbolic) - 2 * b * 64 * 9 * n * c) == 0


def test_depthwise_separable_convolutions_save_as_mobilenet_says() -> None:
    """1/N + 1/k² of the operations of a k×k convolution with N outputs (Howard et al. 2017)."""
    k, n, m, side = sympy.symbols("k N M F", positive=True, integer=True)
    shape = {"sizes": (side, side), "stride": (1, 1), "dilation": (1, 1)}
    window = {"kernel": (k, k), "padded": (k - 1, k - 1)}  # the map keeps its size
    one = {"kernel": (1, 1), "padded": (0, 0)}
    whole = _square(**shape, **window, inputs=m, outputs=n)
    depthwise = _square(**shape, **window, inputs=m, outputs=m, groups=m)
    pointwise = _square(**shape, **one, inputs=m, outputs=n)
    separable = _flops(depthwise.work("forward", EAGER)) + _flops(pointwise.work("forward", EAGER))
    ratio = sympy.simplify(separable / _flops(whole.work("forward", EAGER)))
    assert sympy.simplify(ratio - (1 / n + 1 / k**2)) == 0
    # and so do the weights
    weights = [op.weights()[0].elements for op in (depthwise, pointwise, whole)]
    assert sympy.simplify((weights[0] + weights[1]) / weights[2] - ratio) == 0


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2))
def test_pooling_has_pytorchs_sizes(size: int, kernel: int, stride: int, padding: int) -> None:
    assume(padding <= kernel // 2 and size + 2 * padding >= kernel)
    for ceil in (False, True):
        net = Net(1, 1, (size,))
        net.pool("max", kernel, stride, padding, ceil=ceil)
        found = F.max_pool1d(torch.zeros(1, 1, size), kernel, stride, padding, ceil_mode=ceil)
        assert net.x.sizes == (found.shape[-1],)
    assert strided(size, kernel, stride, 2 * padding) >= 1


def test_an_image_that_is_too_small_is_an_error() -> None:
    net = Net(1, 3, (4, 4))
    with pytest.raises(SpecError, match="too small"):
        net.pool("max", 5)


# Small nets, in PyTorch and described


class Bottleneck(nn.Module):
    """1×1, grouped 3×3 with squeeze-and-excitation, 1×1, and a projected shortcut."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int, groups: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return F.relu(self.branch(x) + shortcut, inplace=True)


def residual_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        Bottleneck(8, 4, 12, 1, 2),
        Bottleneck(12, 4, 12, 1, 2),
        Bottleneck(12, 8, 20, 2, 4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(20, 5),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualNet(ImageNet):
    def build(self, net: Net) -> None:
        def stem() -> None:
            net.convolution_norm(8, 7, 2)
            net.pool("max", 3, 2, 1)

        def block(inner: int, outputs: int, stride: int, groups: int) -> None:
            def branch() -> None:
                net.convolution_norm(inner)
                net.convolution_norm(inner, 3, stride, groups=groups)
                net.convolution_norm(outputs, function=None)

            projects = stride != 1 or net.x.channels != outputs
            shortcut = partial(net.convolution_norm, outputs, 1, stride, function=None)
            net.residual(branch, shortcut if projects else None)
            net.activation("relu")

        def head() -> None:
            net.mean()
            net.flatten()
            net.classify(5)

        net.block("stem", stem, part="stem")
        net.block("first", partial(block, 4, 12, 1, 2))
        net.block("second", partial(block, 4, 12, 1, 2))
        net.block("third", partial(block, 8, 20, 2, 4))
        net.block("head", head, part="head")


class Excited(nn.Module):
    """An inverted residual with squeeze-and-excitation, of smooth functions."""

    def __init__(self, width: int, inner: int, squeezed: int) -> None:
        super().__init__()
        self.widen = nn.Sequential(nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner))
        self.depthwise = nn.Sequential(
            nn.Conv2d(inner, inner, 5, 1, 2, groups=inner, bias=False), nn.BatchNorm2d(inner)
        )
        self.squeeze, self.excite = nn.Conv2d(inner, squeezed, 1), nn.Conv2d(squeezed, inner, 1)
        self.narrow = nn.Sequential(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.depthwise(F.silu(self.widen(x))))
        gate = torch.sigmoid(self.excite(F.silu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        return x + self.narrow(gate * y)


def excited_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=False),
        nn.BatchNorm2d(6),
        nn.SiLU(),
        Excited(6, 24, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcitedNet(ImageNet):
    def build(self, net: Net) -> None:
        def branch() -> None:
            net.convolution_norm(24, function="silu", split="column")
            net.depthwise(5)
            net.channel_norm()
            net.activation("silu")
            net.squeeze_excite(2, "silu")
            net.convolution_norm(6, function=None, split="row")

        def head() -> None:
            net.mean()
            net.flatten()
            net.classify(4)

        stem = partial(net.convolution_norm, 6, 3, 2, function="silu")
        net.block("stem", stem, part="stem")
        net.block("inverted", partial(net.residual, branch))
        net.block("head", head, part="head")


NETS: dict[str, tuple[Callable[[], nn.Module], ImageNet]] = {
    "residual": (residual_net, ResidualNet(image=(32, 40), classes=5)),
    "excited": (excited_net, ExcitedNet(image=(20, 20), classes=4)),
}


@pytest.mark.parametrize("name", NETS)
def test_a_small_net_is_pytorchs(name: str) -> None:
    make, described = NETS[name]
    module, model = make(), Architecture(name, described)
    x = torch.randn(3, 3, *described.image)
    with FlopCounterMode(display=False) as forward:
        module(x)
    assert model.parameters == sum(p.numel() for p in module.parameters())
    assert model.forward_flops(3) == forward.get_total_flops()
    assert model.forward_flops(1, image=64) == Architecture(
        name, type(described)(image=(64, 64))
    ).forward_flops(1)


@pytest.mark.parametrize("name", NETS)
def test_a_small_net_keeps_what_autograd_does(name: str) -> None:
    make, described = NETS[name]
    module, model = make().train(), Architecture(name, described)
    x, labels = torch.randn(3, 3, *described.image), torch.randint(4, (3,))
    outside = [*module.parameters(), *module.buffers()]  # type: ignore[list-item]
    with Meter(outside) as meter:
        F.cross_entropy(module(x), labels)
    ours = kept_bytes(model, Workload(3), EAGER, "fp32")
    # Factors of squeeze-and-excitation and pooled vectors are few, and told to the percent.
    assert ours == pytest.approx(meter.total_bytes, rel=0.0 if name == "residual" else 0.01)


@given(st.integers(1, 5), st.sampled_from([2, 3, 4]))
def test_devices_share_an_inverted_residual(batch: int, tp: int) -> None:
    whole = NETS["excited"][1].blocks(Workload(batch))[1]
    part = whole.shard(Shard(tp))
    divided = {"convolution", "convolution.2", "convolution.5"}
    for before, after in zip(whole.operators, part.operators, strict=True):
        if before.name in divided:
            assert tp * _flops(after.work("forward", EAGER)) == _flops(
                before.work("forward", EAGER)
            )
    assert whole.collectives()


@pytest.mark.parametrize("norm", ["batch", "running", "folded"])
def test_batch_norms_cost_a_pass_or_nothing(norm: Any) -> None:
    blocks = NETS["residual"][1].blocks(Workload(2))
    moved = sum(
        work.elements
        for block in blocks
        for operator in block.operators
        if operator.name.startswith("batch_norm")
        for work in operator.work("forward", Execution(batch_norm=norm))
    )
    elements = sum(
        operator.elements  # type: ignore[attr-defined]
        for block in blocks
        for operator in block.operators
        if operator.name.startswith("batch_norm")
    )
    assert moved == {"batch": 3, "running": 2, "folded": 0}[norm] * elements
