"""Traced modules against PyTorch itself: FlopCounterMode, parameters, and what autograd keeps."""

from __future__ import annotations

import copy
import sys
from functools import cache

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count  # noqa: E402

import costsim  # noqa: E402
from architectures import traced_modules as modules  # noqa: E402
from costsim.architectures.architecture import backward_flops, forward_flops  # noqa: E402
from costsim.architectures.workload import Shard, Workload  # noqa: E402
from costsim.errors import CostsimError, SpecError  # noqa: E402


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


@cache
def traced(case: str):
    """Return a module, its inputs, and the model traced from them."""
    make, inputs = CASES[case]
    module, given = make(), inputs()
    return module, given, costsim.from_torch(module, *given)


def by_group(gradient, read, weight, _b, _s, _p, _d, transposed, _o, groups, wanted, **_):
    """FLOPs of a convolution's gradients: each as many as forward, grouped or not."""
    once = conv_flop_count(read, weight, gradient, transposed=transposed)
    return once * (bool(wanted[0]) + bool(wanted[1]))


def counted(module, inputs, *, backward: bool = False) -> int:
    """Return what FlopCounterMode counts where no kernel hides what it computes."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    custom = {torch.ops.aten.convolution_backward: by_group}
    counter = FlopCounterMode(display=False, custom_mapping=custom)
    with sdpa_kernel(SDPBackend.MATH), plain_kernels(), counter:
        outputs = module(*inputs)
        if backward:
            outputs.sum().backward()
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

    with plain_kernels(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(*inputs)
    return sum(storage.nbytes() for storage in kept.values())


class plain_kernels:
    """PyTorch without the CPU's kernel of a whole recurrent network, whose FLOPs it hides."""

    def __enter__(self):
        torch.backends.mkldnn.enabled = False

    def __exit__(self, *_):
        torch.backends.mkldnn.enabled = True


@pytest.mark.parametrize("case", CASES)
class TestAgainstPyTorch:
    def test_flops_are_those_of_the_counter(self, case):
        module, given, model = traced(case)
        batch = len(given[0])
        assert model.forward_flops(batch) == counted(module, given)
        assert model.training_flops(batch) == counted(module, given, backward=True)

    def test_parameters_are_those_of_the_module(self, case):
        module, _, model = traced(case)
        assert model.parameters == sum(parameter.numel() for parameter in module.parameters())

    def test_kept_activations_are_those_of_autograd(self, case):
        module, given, model = traced(case)
        assert model.activation_bytes(len(given[0]), dtype="fp32") == kept_bytes(module, given)

    def test_other_batches_are_those_of_the_counter(self, case):
        module, given, model = traced(case)
        module = copy.deepcopy(module).eval()  # batch norm refuses to train on one sample
        column = np.array([1.0, 6.0])
        blocks = model.blocks(Workload(column, _length(model)))
        totals = np.broadcast_to(forward_flops(blocks) + backward_flops(blocks), column.shape)
        for batch, total in zip(column, totals, strict=True):
            other = tuple(x[:1].repeat(int(batch), *(1,) * (x.dim() - 1)) for x in given)
            assert total == counted(module, other, backward=True)

    def test_no_parallelism_divides_an_operator(self, case):
        _, _, model = traced(case)
        for block in model.blocks():
            for operator in block.operators:
                assert operator.shard(Shard(tp=2, ep=2)) == operator


def _length(model) -> int:
    return model.description.usual_workload.tokens


class TestLengths:
    def test_other_lengths_are_those_of_the_counter(self):
        module, _, model = traced("gpt2")
        for length in (1, 7, 32):
            expected = counted(module, (tokens(3, length),), backward=True)
            assert model.training_flops(3, length) == expected

    def test_columns_of_lengths(self):
        module, _, model = traced("gpt2")
        lengths = np.array([8.0, 24.0, 60.0])
        totals = forward_flops(model.blocks(Workload(2.0, lengths)))
        expected = [counted(module, (tokens(2, int(length)),)) for length in lengths]
        assert totals.tolist() == expected

    def test_the_formula_is_of_batch_and_sequence(self):
        module, _, model = traced("gpt2")
        expression = model.formula("forward_flops")
        assert {str(symbol) for symbol in expression.free_symbols} == {"b", "s"}
        values = {symbol: {"b": 3, "s": 17}[str(symbol)] for symbol in expression.free_symbols}
        assert expression.subs(values) == counted(module, (tokens(3, 17),))

    def test_a_named_dimension_counts_tokens(self):
        module = modules.Conformer()
        model = costsim.from_torch(module, torch.randn(2, 11, 24), sequence_dims=1)
        expected = counted(module, (torch.randn(4, 30, 24),), backward=True)
        assert model.training_flops(4, 30) == expected

    def test_a_loop_over_many_tokens_is_not_followed_to_the_end(self, monkeypatch):
        module = modules.Mamba()
        monkeypatch.setattr("costsim.architectures.tracing.module.MAX_OPERATIONS", 3_500)
        model = costsim.from_torch(module, torch.randn(1, 120, 16), sequence_dims=1)
        assert model.training_flops(1, 120) == counted(
            module, (torch.randn(1, 120, 16),), backward=True
        )

    def test_samples_without_tokens_are_one_whatever_the_sequence(self):
        _, _, model = traced("vit")
        assert model.forward_flops(1, 2048) == model.forward_flops(1, 1) == model.forward_flops(1)

    def test_recurrent_networks_may_be_batched_second(self):
        module = nn.LSTM(8, 12)
        model = costsim.from_torch(module, torch.randn(5, 3, 8), batch_dims=1, sequence_dims=0)
        with plain_kernels(), FlopCounterMode(display=False) as counter:
            module(torch.randn(9, 2, 8))
        assert model.forward_flops(2, 9) == counter.get_total_flops()


class TestBlocks:
    def test_equal_layers_are_one_block(self):
        _, _, model = traced("gpt2")
        layers = [block for block in model.blocks() if block.part == "layer"]
        assert [(block.name, block.count) for block in layers] == [("layers.0 … 2", 3)]
        assert model.depth == 3

    def test_the_head_comes_after_and_the_embedding_before(self):
        _, _, model = traced("gpt2")
        parts = {block.name: block.part for block in model.blocks()}
        assert parts["tokens"] == parts["positions"] == "stem"
        assert parts["norm"] == parts["head"] == "head"

    def test_tables_are_told_from_factors(self):
        _, _, model = traced("gpt2")
        assert model.embedding_parameters == 50 * 32 + 64 * 32
        (head,) = (w for block in model.blocks() for w in block.weights() if w.tied_to)
        assert head.tied_to == "tokens.weight"
        assert head.stored_elements == 0

    def test_roles_say_what_has_parameters(self):
        _, _, model = traced("gpt2")
        layer = next(block for block in model.blocks() if block.part == "layer")
        roles = {operator.name: operator.role for operator in layer.operators}
        assert roles["attention.qkv"] == roles["up"] == "matrix"
        assert roles["attention.products"] == "attention"
        assert roles["norm1"] == "other"

    def test_the_parts_add_up(self):
        for case in CASES:
            _, given, model = traced(case)
            blocks = model.blocks(Workload(len(given[0]), _length(model)))
            total = sum(block.count * block.flops() for block in blocks)
            assert total == model.forward_flops(len(given[0]))

    def test_what_did_not_run_is_held_all_the_same(self):
        class Towers(nn.Module):
            def __init__(self):
                super().__init__()
                self.vision = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
                self.text = nn.Linear(8, 8)

            def forward(self, x):
                return self.text(x)

        model = costsim.from_torch(Towers(), torch.randn(2, 8))
        assert model.parameters == 4 * 72
        assert model.forward_flops(2) == 2 * 2 * 64


class TestModule:
    def test_it_is_left_as_it_was(self):
        module = modules.ResNet((1, 1), 8, 10)
        before = copy.deepcopy(module.state_dict())
        torch.manual_seed(1)
        costsim.from_torch(module, torch.randn(2, 3, 16, 16))
        drawn = torch.rand(3)
        torch.manual_seed(1)
        torch.randn(2, 3, 16, 16)
        assert torch.equal(torch.rand(3), drawn)
        assert module.training
        assert all(parameter.grad is None for parameter in module.parameters())
        assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())

    def test_it_may_have_no_storage(self):
        with torch.device("meta"):
            module = modules.Decoder(layers=2, width=4096, heads=32, vocabulary=128_000)
            ids = torch.zeros(1, 64, dtype=torch.long)
        model = costsim.from_torch(module, ids)
        small = costsim.from_torch(modules.Decoder(2, 4096 // 64, 4), tokens(1, 64))
        assert model.parameters == sum(parameter.numel() for parameter in module.parameters())
        assert model.forward_flops(1) > small.forward_flops(1)

    def test_low_precision_keeps_what_it_keeps(self):
        module, ids = modules.Decoder().bfloat16(), tokens(2, 12)
        model = costsim.from_torch(module, ids)
        assert model.activation_bytes(2, dtype="bf16") == kept_bytes(module, (ids,))

    def test_frozen_weights_have_no_gradient(self):
        module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).requires_grad_(False)
        model = costsim.from_torch(module, torch.randn(2, 8))
        assert model.training_flops(2) == model.forward_flops(2)
        assert any("no parameter is trained" in note for note in model.notes)

    def test_keyword_inputs(self):
        module = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
        x, y = torch.randn(2, 7, 16), torch.randn(2, 5, 16)
        named = costsim.from_torch(module, src=x, tgt=y, name="mine")
        assert named.name == "mine"
        assert named.forward_flops(2) == costsim.from_torch(module, x, y).forward_flops(2)

    def test_what_depends_on_values_is_run_and_said_so(self):
        module, x = modules.RoutedMixture(), torch.randn(24, 16)
        model = costsim.from_torch(module, x)
        assert model.training_flops(24) == counted(module, (x,), backward=True)
        assert model.activation_bytes(24, dtype="fp32") == kept_bytes(module, (x,))
        assert any("depends on values" in note for note in model.notes)
        with pytest.raises(SpecError, match="depends on the values"):
            model.forward_flops(12)


class TestPlanning:
    def test_a_traced_model_is_estimated_like_any_other(self):
        from costsim.training.strategy import Strategy

        model = costsim.from_torch(
            modules.Decoder(4, 256, 4, 1000, 512), torch.zeros(1, 128, dtype=torch.long)
        )
        system = costsim.load_hardware("nvidia-h100-sxm5-80gb", count=8)
        one = costsim.estimate_training(
            model, system, Strategy(dp=8, micro_batch=2), global_batch=32, sequence=128
        )
        two = costsim.estimate_training(
            model, system, Strategy(dp=4, pp=2, micro_batch=2), global_batch=32, sequence=128
        )
        assert one.step_time_s > 0
        assert 0 < two.memory_bytes_per_device < one.memory_bytes_per_device

    def test_time_is_never_below_the_roofline(self):
        from costsim.architectures.workload import FUSED
        from costsim.hardware.blocks import Formats, block_times
        from costsim.hardware.kernels import load_kernel_model

        device = load_kernel_model(
            costsim.load_hardware("nvidia-h100-sxm5-80gb", count=1).accelerator
        )
        for case in ("resnet", "gpt2", "gpt2 sdpa", "lstm", "unet", "experts"):
            _, _, model = traced(case)
            batches = np.array([1.0, 64.0])
            blocks = model.blocks(Workload(batches, _length(model)))
            counts = np.array([block.count for block in blocks])
            times = block_times(device, blocks, 2, FUSED, Formats("bf16", "bf16", 2.0))
            seconds = np.einsum("dbr,b->r", times.total_s, counts)
            flops = forward_flops(blocks) + backward_flops(blocks)
            assert (seconds >= flops / device.peak_flops_per_s("bf16")).all()
            assert seconds[1] > seconds[0]


class TestErrors:
    def test_inputs_that_a_module_does_not_take(self):
        with pytest.raises(SpecError, match="cannot be traced at batch 2 in `0`: RuntimeError"):
            costsim.from_torch(nn.Sequential(nn.Linear(8, 8)), torch.randn(2, 9))

    def test_values_without_storage(self):
        with torch.device("meta"):
            module, x = modules.RoutedMixture(), torch.randn(24, 16)
        with pytest.raises(SpecError, match="DynamicOutputShape"):
            costsim.from_torch(module, x)

    def test_no_module(self):
        with pytest.raises(SpecError, match="a PyTorch module is needed, not a int"):
            costsim.from_torch(3)  # type: ignore[arg-type]

    def test_a_dimension_that_is_not_there(self):
        with pytest.raises(SpecError, match="names dimension 4 of input 0"):
            costsim.from_torch(nn.Linear(8, 8), torch.randn(2, 8), batch_dims=[4])

    def test_a_dimension_of_both(self):
        with pytest.raises(SpecError, match="either samples or tokens"):
            costsim.from_torch(nn.Linear(8, 8), torch.randn(2, 8), sequence_dims=0)

    def test_no_batch(self):
        model = costsim.from_torch(nn.Linear(8, 8), torch.randn(2, 8), batch_dims=None)
        assert model.forward_flops() == 2 * 2 * 64
        with pytest.raises(SpecError, match="no input of this module has a batch"):
            model.forward_flops(2)

    def test_generating(self):
        _, _, model = traced("gpt2")
        with pytest.raises(SpecError, match="knows no cache"):
            model.decode_flops(1, 10)

    def test_a_module_that_changes_with_its_inputs_has_no_formula(self):
        class Fickle(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(9))

            def forward(self, x):
                for layer in list(self.layers)[: len(x)]:
                    x = layer(x)
                return x

        model = costsim.from_torch(Fickle(), torch.randn(2, 4))
        assert model.forward_flops(3) == 3 * 3 * 32
        with pytest.raises(SpecError, match="has no formula"):
            model.blocks(Workload(np.array([2.0, 3.0]), 1))

    def test_without_pytorch_the_error_names_the_extra(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "costsim.architectures.tracing.module")
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(CostsimError) as caught:
            costsim.from_torch(nn.Linear(8, 8), torch.randn(2, 8))
        assert "costsim[torch]" in str(caught.value)
