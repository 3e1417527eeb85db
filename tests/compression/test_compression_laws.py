"""Laws of compression: what may never happen, whatever the model and the recipe."""

from __future__ import annotations

from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression_models import Perceptron
from costsim.architectures import Architecture
from costsim.architectures.decoder import decoder
from costsim.architectures.operators import Attention
from costsim.compression.compressing import compress
from costsim.compression.effects import figures
from costsim.compression.formats import FORMATS, format_named, plain
from costsim.compression.making import Making
from costsim.compression.sparsity import Pattern, Unstructured
from costsim.errors import CostsimError, SpecError

FORMAT = st.sampled_from([*FORMATS, "int4-g32", "int2-g64", "int8-g128-zero"])
SHAPE = st.tuples(st.integers(1, 600), st.integers(1, 600))
WIDE = st.tuples(st.integers(16, 600), st.integers(128, 600))


def model(layers: int = 4, heads: int = 8, kv_heads: int = 4, width: int = 192) -> Architecture:
    described = decoder(
        layers=layers,
        hidden=128,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=16,
        feed_forward=width,
        vocabulary=512,
        gated=True,
        bias=False,
        norm="rms",
        positions="rotary",
        tied=False,
    )
    return Architecture("small", described)


@given(FORMAT, SHAPE)
def test_nothing_takes_less_than_its_information(name: str, shape: tuple[int, int]) -> None:
    form = format_named(name)
    assert form.stored_bytes(shape) >= ceil(shape[0] * shape[1] * form.bits / 8)
    assert form.stored_bytes(shape) == form.element_bytes(shape) + form.scale_bytes(shape)


@given(SHAPE, st.floats(0.01, 0.99), st.sampled_from(["bitmap", "csr", "coo"]))
def test_a_mask_takes_at_least_its_entropy(
    shape: tuple[int, int], ratio: float, layout: str
) -> None:
    form = Unstructured(plain("bf16"), ratio, layout)  # type: ignore[arg-type]
    elements, kept = shape[0] * shape[1], form.kept(shape)
    share = kept / elements
    entropy = 0.0
    if 0 < share < 1:
        entropy = -(share * log2(share) + (1 - share) * log2(1 - share)) * elements
    # Of n places k are chosen: log2 of n over k is within log2(n + 1) of the entropy.
    least = kept * 16 + entropy - log2(elements + 1)
    assert form.disk_bytes(shape) * 8 >= least


@given(SHAPE, st.sampled_from([(2, 4), (1, 4), (4, 8), (1, 2)]))
def test_a_pattern_takes_at_least_values_and_places(
    shape: tuple[int, int], pattern: tuple[int, int]
) -> None:
    from math import comb

    form = Pattern(plain("fp16"), *pattern)
    runs = shape[0] * ceil(shape[1] / pattern[1])
    places = runs * log2(comb(pattern[1], pattern[0]))
    assert form.disk_bytes(shape) * 8 >= runs * pattern[0] * 16 + places - 1e-9


@given(FORMAT.filter(lambda name: format_named(name).bits <= 8), WIDE)
def test_quantization_never_holds_more_than_sixteen_bits_did(
    name: str, shape: tuple[int, int]
) -> None:
    assert format_named(name).stored_bytes(shape) <= plain("bf16").stored_bytes(shape)


@given(
    st.sampled_from(
        [
            *("awq-int4", "fp8", "int8", "nf4-double", "2:4", "2:4,fp8", "prune-heads"),
            *("prune-neurons", "prune-layers", "prune-width", "share-layers", "low-rank:rank=8"),
            *("prune-neurons,awq-int4", "prune-layers,2:4,int8", "prune-unstructured", "kv-int4"),
        ]
    ),
    st.sampled_from(["bf16", "fp32"]),
)
def test_compression_never_increases_what_is_held(recipes: str, dtype: str) -> None:
    found = compress(model(), recipes, dtype)
    before, after = figures(found.before, dtype, 1, 64), figures(found.after, dtype, 1, 64)
    assert after.weights_bytes <= before.weights_bytes
    assert after.disk_bytes <= before.disk_bytes
    assert after.cache_bytes <= before.cache_bytes
    assert after.parameters <= before.parameters
    assert after.nonzero_parameters <= before.nonzero_parameters
    assert after.forward_flops <= before.forward_flops
    assert sum(after.parts.values()) == after.weights_bytes == sum(after.contents.values())
    assert sum(after.flops_by_format.values()) == after.forward_flops


@given(
    st.lists(st.integers(1, 300), min_size=2, max_size=4),
    st.sampled_from(["int8-g128", "int4-g64", "awq-int4", "nvfp4", "nf4", "int8", "2:4,fp8"]),
    st.sampled_from(["bf16", "fp32"]),
)
def test_no_matrix_grows_however_narrow(widths: list[int], recipe: str, dtype: str) -> None:
    whole = Architecture("mlp", Perceptron(tuple(widths)))
    after = compress(whole, recipe, dtype).after
    assert figures(after, dtype, 1, 1).weights_bytes <= figures(whole, dtype, 1, 1).weights_bytes


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_shapes_commute(neurons: float, layers: float) -> None:
    first = f"prune-neurons:ratio={neurons}"
    second = f"prune-layers:ratio={layers}"
    try:
        one = compress(model(), f"{first},{second}").after
    except SpecError:  # nothing would be left
        return
    other = compress(model(), f"{second},{first}").after
    assert one.parameters == other.parameters
    assert one.forward_flops(1, 32) == other.forward_flops(1, 32)


@pytest.mark.parametrize(
    ("late", "early"),
    [
        ("2:4", "fp8"),
        ("prune-heads", "fp8"),
        ("prune-heads", "2:4"),
        ("low-rank:rank=8", "int8"),
        ("awq-int4", "lora"),
        ("2:4", "lora"),
        ("distill", "prune-heads"),
    ],
)
def test_what_comes_too_late_is_an_error_that_says_the_order(late: str, early: str) -> None:
    with pytest.raises(SpecError, match="must come before") as caught:
        compress(model(), f"{early},{late}")
    assert "the order is" in str(caught.value.problems[0].hint)


@pytest.mark.parametrize(
    ("recipes", "message"),
    [
        ("fp8,awq-int4", "quantized to fp8 already"),
        ("prune-heads:ratio=1.0", "leaves none"),
        ("prune-layers:ratio=0.99", "leaves none"),
        ("prune-heads:ratio=0.01", "less than one"),
        ("prune-unstructured:ratio=1.0", "leaves none"),
        ("merge-experts", "no mixture of experts"),
        ("prune-channels", "no channels"),
        ("gqa:kv_heads=3", "cannot share 3"),
        ("low-rank:rank=4000", "saves nothing"),
        ("lora:targets=w_nothing", "no projection is called"),
        ("merge-tokens", "cannot be merged"),
        ("4:4", "sets nothing to zero"),
        ("prune-heads:rate=0.5", "no step of `prune-heads` has a field `rate`"),
        ("prune-heads:ratio=half", "ratio"),
        ("awq", "unknown recipe"),
    ],
)
def test_impossible_recipes_are_clear_errors(recipes: str, message: str) -> None:
    with pytest.raises(CostsimError, match=message):
        compress(model(), recipes)


@given(st.floats(1.0, 1e12), st.floats(1.0, 100.0))
def test_the_teacher_costs_as_many_flops_as_it_sees_tokens(tokens: float, factor: float) -> None:
    student, teacher = model(2), model()

    def taught(seen: float) -> float:
        return Making("", student, teacher=teacher, teacher_tokens=seen).flops(128)

    assert taught(tokens * factor) == pytest.approx(taught(tokens) * factor, rel=1e-9)
    assert taught(tokens) == pytest.approx(tokens / 128 * teacher.forward_flops(1, 128))


def test_cached_logits_are_taught_once_and_stored() -> None:
    def run(**fields: object):
        step = {"kind": "distill", "training_tokens": "3 M tokens", "epochs": 3, **fields}
        (found,) = compress(model(), [{"name": "d", "steps": [step]}]).making
        return found

    online, cached = run(), run(logits="cached")
    assert online.teacher_tokens == 3e6
    assert online.stored_bytes == 0
    assert cached.teacher_tokens == 1e6
    assert cached.stored_bytes == 1e6 * 512 * 2
    assert run(logits="cached", top_logits=20).stored_bytes == 1e6 * 20 * 6


def test_heads_go_in_groups_where_they_can_and_within_them_otherwise() -> None:
    def heads(kv_heads: int, ratio: float) -> tuple[int, int]:
        after = compress(model(kv_heads=kv_heads), f"prune-heads:ratio={ratio}").after
        (attention,) = (
            operator
            for block in after.blocks()
            for operator in block.operators
            if isinstance(operator, Attention)
        )
        return attention.query_heads, attention.kv_heads

    assert heads(4, 0.5) == (4, 2)
    assert heads(4, 0.25) == (6, 3)
    assert heads(1, 0.5) == (4, 1)
    assert heads(2, 0.25) == (6, 2)
    assert heads(8, 0.3) == (6, 6)
    assert heads(2, 0.5) == (4, 1)


def test_none_is_no_change() -> None:
    found = compress(model(), "none")
    assert found.after is found.before
    assert found.making == ()


def test_quality_of_a_combination_is_unknown() -> None:
    assert compress(model(), "fp8").quality
    assert compress(model(), "2:4,fp8").quality == ()
    assert compress(model(), "prune-heads").quality == ()


def test_perceptrons_are_described_like_any_model() -> None:
    assert figures(Architecture("mlp", Perceptron((4, 3))), "fp32", 1, 1).weights_bytes == 4 * 15
