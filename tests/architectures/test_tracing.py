"""Traced modules against PyTorch itself: FlopCounterMode, parameters, and what autograd keeps."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from architectures import traced_modules as modules  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count  # noqa: E402

import costsim  # noqa: E402
from costsim.architectures.architecture import backward_flops, forward_flops  # noqa: E402
from costsim.architectures.workload import Workload  # noqa: E402
from costsim.errors import SpecError  # noqa: E402


def tokens(batch: int, length: int):
    return torch.randint(0, 50, (batch, length))


CASES = {
    "resnet": (lambda: modules.ResNet((1, 2, 1), 8, 10), lambda: (torch.randn(2, 3, 32, 32),)),
    "vit": (modules.VisionTransformer, lambda: (torch.randn(2, 3, 32, 32),)),
    "gpt2": (modules.Decoder, lambda: (tokens(2, 12),)),
    "gpt2 sdpa": (lambda: modules.Decoder(eager=False), lambda: (tokens(3, 32),)),
    "experts": (modules.Mixture, lambda: (torch.randn(2, 8, 16),)),
    "lstm": (modules.Recurrent, lambda: (torch.randn(2, 9, 16),)),
    "gru": (lambda: modules.Recurrent(nn.GRU), lambda: (torch.randn(2, 9, 16),)),
    "unet": (modules.UNet, lambda: (torch.randn(2, 3, 16, 16),)),
    "mamba": (modules.Mamba, lambda: (torch.randn(2, 6, 16),)),
    "convolutions": (modules.Generator, lambda: (torch.randn(2, 6, 8, 8),)),
    "conformer": (modules.Conformer, lambda: (torch.randn(2, 11, 24),)),
    "autoencoder": (modules.Autoencoder, lambda: (torch.randn(4, 40),)),
    "embedding bags": (modules.Bags, lambda: (tokens(4, 6),)),
    "shared layer": (modules.Shared, lambda: (torch.randn(2, 5, 16),)),
    "contrast": (modules.Contrast, lambda: (torch.randn(3, 12), torch.randn(3, 10))),
    "torch encoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2),
        lambda: (torch.randn(2, 7, 32),),
    ),
    "torch transformer": (
        lambda: nn.Transformer(16, 2, 2, 2, 32, batch_first=True),
        lambda: (torch.randn(2, 7, 16), torch.randn(2, 5, 16)),
    ),
}


def grouped_backward(gradient, read, weight, _b, _s, _p, _d, transposed, _o, groups, mask, **_):
    """FLOPs of a convolution's gradients, of its weight's by group: each as many as forward."""
    once = conv_flop_count(read, weight, gradient, transposed=transposed)
    return once * (bool(mask[0]) + bool(mask[1]))


def counted(module, inputs, *, backward: bool) -> int:
    """Return what FlopCounterMode counts, convolutions' gradients put right."""
    custom = {torch.ops.aten.convolution_backward: grouped_backward}
    with FlopCounterMode(display=False, custom_mapping=custom) as counter:
        # What a fused kernel computes on a CPU the counter does not know: see plain_kernels.
        outputs = module(*inputs)
        if backward:
            (outputs if torch.is_tensor(outputs) else outputs[0]).sum().backward()
    return counter.get_total_flops()


def kept_bytes(module, inputs) -> int:
    """Return the bytes of the storages that autograd keeps, without those of parameters."""
    kept = {}
    parameters = {p.untyped_storage().data_ptr() for p in module.parameters()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(*inputs)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.fixture
def plain_kernels():
    """PyTorch without the CPU's kernels of a whole recurrent network, whose FLOPs it hides."""
    with torch.backends.mkldnn.flags(enabled=False):
        yield


@pytest.fixture
def math_attention():
    """Attention as its products, which the counter sees, in place of the CPU's fused kernel."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        yield


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("plain_kernels")
class TestAgainstPyTorch:
    def test_flops_are_those_of_the_counter(self, case, math_attention):
        make, inputs = CASES[case]
        module, given = make(), inputs()
        batch, length = given[0].shape[:2]
        model = costsim.from_torch(module, *given)
        assert model.forward_flops(batch, length) == counted(module, given, backward=False)
        assert model.training_flops(batch, length) == counted(module, given, backward=True)

    def test_parameters_are_those_of_the_module(self, case):
        make, inputs = CASES[case]
        module = make()
        model = costsim.from_torch(module, *inputs())
        assert model.parameters == sum(parameter.numel() for parameter in module.parameters())

    def test_kept_activations_are_those_of_autograd(self, case):
        make, inputs = CASES[case]
        module, given = make(), inputs()
        batch, length = given[0].shape[:2]
        model = costsim.from_torch(module, *given)
        assert model.activation_bytes(batch, length, "fp32") == kept_bytes(module, given)

    def test_other_batches_are_those_of_the_counter(self, case, math_attention):
        make, inputs = CASES[case]
        module, given = make(), inputs()
        length = given[0].shape[1]
        model = costsim.from_torch(module, *given)
        column = np.array([1.0, 2.0, 5.0, 8.0])
        blocks = model.blocks(Workload(column, length))
        totals = forward_flops(blocks) + backward_flops(blocks)
        for batch, total in zip(column, np.broadcast_to(totals, column.shape), strict=True):
            count = int(batch)
            other = tuple(x[:1].repeat(count, *(1,) * (x.dim() - 1)) for x in given)
            expected = counted(module.eval(), other, backward=True)
            assert total == expected
            assert model.training_flops(count, length) == expected
