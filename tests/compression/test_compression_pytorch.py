"""PyTorch compresses small models for real; costsim counts the same bytes, parameters and FLOPs."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from compression_models import Perceptron  # noqa: E402
from compression_modules import Decoder, adapt, slice_linear  # noqa: E402
from costsim.architectures import Architecture, from_torch  # noqa: E402
from costsim.architectures.decoder import decoder  # noqa: E402
from costsim.compression.compressing import compress  # noqa: E402
from costsim.compression.effects import figures  # noqa: E402
from costsim.compression.formats import plain  # noqa: E402
from costsim.compression.sparsity import Pattern, Unstructured  # noqa: E402

WIDTHS = (256, 512, 384, 10)


def perceptron(widths: tuple[int, ...] = WIDTHS) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths)))


def described(parallel: bool = False, **sizes: int) -> Architecture:
    return Architecture(
        "decoder",
        decoder(
            layers=sizes.get("layers", 3),
            hidden=64,
            heads=sizes.get("heads", 4),
            kv_heads=sizes.get("kv_heads", 2),
            head_dim=16,
            feed_forward=sizes.get("width", 96),
            vocabulary=300,
            gated=True,
            activation="silu",
            bias=False,
            norm="rms",
            positions="rotary",
            tied=False,
            parallel=parallel,
        ),
    )


def file_size(module: nn.Module) -> int:
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    return buffer.getbuffer().nbytes


def counted(module: nn.Module, *, batch: int = 2, tokens: int = 24, backward: bool = False) -> int:
    ids = torch.randint(0, 300, (batch, tokens))
    with FlopCounterMode(display=False) as counter:
        output = module(ids)
        if backward:
            output.sum().backward()
    return counter.get_total_flops()


@pytest.mark.filterwarnings("ignore")
def test_dynamic_int8_file() -> None:
    widths = (512, 2048, 2048, 10)
    module = perceptron(widths)
    quantized = torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8)
    ours = compress(Architecture("mlp", Perceptron(widths)), "int8-dynamic", "fp32").after
    assert figures(ours, "fp32").file_bytes == pytest.approx(file_size(quantized), rel=0.005)


@pytest.mark.parametrize("group", [32, 64, 128])
def test_hand_packed_int4_groups(group: int) -> None:
    packed: dict[str, torch.Tensor] = {}
    for name, parameter in perceptron().state_dict().items():
        if parameter.dim() < 2:
            packed[name] = parameter.to(torch.bfloat16)
            continue
        rows, columns = parameter.shape
        padded = nn.functional.pad(parameter, (0, -columns % group)).view(rows, -1, group)
        scale = padded.abs().amax(2, keepdim=True).clamp(min=1e-8) / 7
        q = (padded / scale).round().clamp(-8, 7).to(torch.int8).view(-1) & 0xF
        packed[f"{name}.q"] = q[0::2] | (q[1::2] << 4)
        packed[f"{name}.scale"] = scale.half().view(rows, -1)
    payload = sum(t.numel() * t.element_size() for t in packed.values())
    ours = compress(Architecture("mlp", Perceptron(WIDTHS)), f"int4-g{group}").after
    assert figures(ours).weights_bytes == payload


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.77, 0.99])
def test_pruned_weights_that_stay(ratio: float) -> None:
    module = perceptron()
    for layer in module:
        prune.l1_unstructured(layer, "weight", amount=ratio)
    kept = sum(int(layer.weight_mask.sum()) + layer.bias.numel() for layer in module)
    recipe = f"prune-unstructured:ratio={ratio}"
    ours = compress(Architecture("mlp", Perceptron(WIDTHS)), recipe, "fp32").after
    assert figures(ours, "fp32").nonzero_parameters == kept
    csr = sum(
        part.numel() * part.element_size()
        for layer in module
        for part in _csr(layer.weight.detach())
    )
    shapes = [tuple(layer.weight.shape) for layer in module]
    form = Unstructured(plain("fp32"), ratio, "csr")
    assert sum(form.disk_bytes(shape) for shape in shapes) == csr


def _csr(weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    sparse = weight.to_sparse_csr()
    crow, column = sparse.crow_indices().int(), sparse.col_indices().int()
    return crow, column, sparse.values()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
def test_two_of_four_compressed_bytes(dtype: torch.dtype) -> None:
    from torch.sparse._semi_structured_conversions import (
        sparse_semi_structured_from_dense_cutlass,
    )

    rows, columns = 128, 256
    dense = torch.tensor([0, 1, 0, 2]).repeat(rows, columns // 4).to(dtype)
    values, meta = sparse_semi_structured_from_dense_cutlass(dense)
    form = Pattern(plain("bf16" if dtype == torch.bfloat16 else "int8"))
    assert form.value_bytes((rows, columns)) == values.numel() * values.element_size()
    assert form.index_bytes((rows, columns)) == meta.numel() * meta.element_size()


def test_described_decoder_is_the_module() -> None:
    module, model = Decoder(), described()
    assert model.parameters == sum(p.numel() for p in module.parameters())
    assert model.forward_flops(2, 24) == counted(module)
    assert model.training_flops(2, 24) == counted(module, backward=True)


def test_sliced_heads_and_neurons() -> None:
    module = Decoder()
    for layer in module.layers:
        attention, mlp = layer.attention, layer.mlp
        rows, keys = torch.arange(2 * 16), torch.arange(16)  # 2 of 4 heads share 1 of 2 keys
        slice_linear(attention.q_proj, rows, None)
        slice_linear(attention.k_proj, keys, None)
        slice_linear(attention.v_proj, keys, None)
        slice_linear(attention.o_proj, None, rows)
        attention.heads, attention.kv_heads = 2, 1
        strongest = mlp.down_proj.weight.norm(dim=0).topk(24).indices
        slice_linear(mlp.gate_proj, strongest, None)
        slice_linear(mlp.up_proj, strongest, None)
        slice_linear(mlp.down_proj, None, strongest)
    ours = compress(described(), "prune-heads,prune-neurons:ratio=0.75").after
    assert ours.parameters == sum(p.numel() for p in module.parameters())
    assert ours.forward_flops(2, 24) == counted(module)


def test_dropped_layers() -> None:
    module = Decoder(layers=4)
    module.layers = module.layers[::2]
    ours = compress(described(layers=4), "prune-layers").after
    assert ours.parameters == sum(p.numel() for p in module.parameters())
    assert ours.forward_flops(2, 24) == counted(module)


def test_shared_layers() -> None:
    module = Decoder(layers=5)
    for index in range(5):
        module.layers[index] = module.layers[index // 2 * 2]
    ours = compress(described(layers=5), "share-layers").after
    assert ours.parameters == sum(p.numel() for p in module.parameters())
    assert ours.forward_flops(2, 24) == counted(module)


@pytest.mark.parametrize("parallel", [False, True], ids=["in turn", "parallel"])
@pytest.mark.parametrize(
    "targets",
    [
        ("q_proj", "v_proj"),
        ("k_proj",),
        ("v_proj",),
        ("q_proj", "k_proj"),
        ("o_proj",),
        ("gate_proj",),
        ("down_proj", "up_proj"),
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    ],
    ids="+".join,
)
def test_adapters_written_by_hand(targets: tuple[str, ...], parallel: bool) -> None:
    """What is trained, and the FLOPs of a step, in which nothing below the first adapter counts."""
    module = adapt(Decoder(parallel=parallel), 8, set(targets))
    recipe = f"lora:rank=8:targets={'+'.join(targets)}"
    found = figures(compress(described(parallel), recipe).after, "fp32", 2, 24)
    trained = [p for p in module.parameters() if p.requires_grad]
    assert found.trainable_parameters == sum(p.numel() for p in trained)
    assert found.parameters == sum(p.numel() for p in module.parameters())
    assert found.forward_flops == counted(module)
    assert found.training_flops == counted(module, backward=True)


def test_dora_has_a_magnitude_for_each_output() -> None:
    lora = figures(compress(described(), "lora:rank=8").after)
    dora = figures(compress(described(), "dora:rank=8").after)
    outputs = 3 * (4 * 16 + 2 * 16)
    assert dora.trainable_parameters == lora.trainable_parameters + outputs


def test_distillation_step() -> None:
    teacher, student = Decoder(), Decoder(layers=1, width=40)
    ids = torch.randint(0, 300, (2, 24))
    with FlopCounterMode(display=False) as counter:
        with torch.no_grad():
            taught = teacher(ids).softmax(-1)
        loss = nn.functional.kl_div(student(ids).log_softmax(-1), taught, reduction="batchmean")
        loss.backward()
    recipe = {
        "name": "student",
        "steps": [
            {"kind": "prune", "unit": "layers", "ratio": 0.67},
            {"kind": "prune", "unit": "neurons", "ratio": 1 - 40 / 96},
            {"kind": "distill", "training_tokens": "48 tokens"},
        ],
    }
    (run,) = compress(described(), [recipe]).making
    assert run.model.parameters == sum(p.numel() for p in student.parameters())
    assert run.flops(24) == counter.get_total_flops()


def test_low_rank_factors() -> None:
    module = Decoder()
    for layer in module.layers:
        for parent in (layer.attention, layer.mlp):
            for name, child in list(parent.named_children()):
                thin = nn.Linear(child.in_features, 8, bias=False)
                setattr(
                    parent, name, nn.Sequential(thin, nn.Linear(8, child.out_features, bias=False))
                )
    ours = compress(described(), "low-rank:rank=8").after
    assert ours.parameters == sum(p.numel() for p in module.parameters())
    assert ours.forward_flops(2, 24) == counted(module)
    assert ours.training_flops(2, 24) == counted(module, backward=True)


def test_separable_convolutions() -> None:
    ordinary = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, stride=2))
    separable = nn.Sequential(
        ordinary[0],
        nn.Conv2d(16, 16, 3, stride=2, groups=16, bias=False),
        nn.Conv2d(16, 32, 1),
    )
    x = torch.randn(2, 3, 20, 20)
    with FlopCounterMode(display=False) as counter:
        separable(x)
    from costsim.architectures.block import Block
    from costsim.architectures.operators import Convolution
    from costsim.architectures.tensors import Activation
    from costsim.compression.replacing import Separate

    def convolution(sides: int, inputs: int, outputs: int, stride: int, padded: int, leaf: bool):
        pair = lambda size: (size, size)  # noqa: E731
        return Convolution(
            name=f"conv{outputs}",
            source="x",
            batch=2,
            sizes=pair(sides),
            inputs=inputs,
            outputs=outputs,
            kernel=pair(3),
            stride=pair(stride),
            padded=pair(padded),
            dilation=pair(1),
            bias=True,
            leaf=leaf,
        )

    block = Block(
        "net",
        (convolution(20, 3, 16, 1, 2, True), convolution(20, 16, 32, 2, 0, False)),
        Activation("x", 1),
    )
    (found,) = Separate().blocks((block,))
    assert sum(w.elements for w in found.weights()) == sum(
        p.numel() for p in separable.parameters()
    )
    assert found.flops() == counter.get_total_flops()


def test_traced_modules_are_quantized_too() -> None:
    model = from_torch(perceptron(), torch.randn(4, WIDTHS[0]))
    ours = compress(model, "int8-weight-only", "fp32").after
    by_hand = compress(Architecture("mlp", Perceptron(WIDTHS)), "int8-weight-only", "fp32").after
    assert figures(ours, "fp32", 4, 1).weights_bytes == figures(by_hand, "fp32", 4).weights_bytes
