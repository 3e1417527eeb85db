"""The numpy reference rounds and masks as PyTorch does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

from costsim.compression import reference as ref  # noqa: E402
from costsim.compression.formats import FORMATS, format_named  # noqa: E402


def tensor(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("make", [ref.affine, ref.symmetric])
def test_a_tensor_rounds_as_fake_quantize_does(bits: int, make) -> None:
    x = tensor(64, 96)
    grid = make(x, bits)
    theirs = torch.fake_quantize_per_tensor_affine(
        torch.from_numpy(x), float(grid.scale), int(grid.zero), grid.low, grid.high
    )
    np.testing.assert_array_equal(grid.rounded(x), theirs.numpy())


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("make", [ref.affine, ref.symmetric])
def test_rows_round_as_fake_quantize_per_channel_does(bits: int, make) -> None:
    x = tensor(40, 33, seed=1)
    grid = make(x, bits, 0)
    theirs = torch.fake_quantize_per_channel_affine(
        torch.from_numpy(x),
        torch.from_numpy(grid.scale.reshape(-1)),
        torch.from_numpy(grid.zero.reshape(-1)),
        0,
        grid.low,
        grid.high,
    )
    np.testing.assert_array_equal(grid.rounded(x), theirs.numpy())


@given(st.integers(1, 9), st.integers(1, 70), st.sampled_from([4, 8]), st.integers(0, 5))
def test_groups_round_as_fake_quantize_does(rows: int, columns: int, bits: int, seed: int) -> None:
    x = tensor(rows, columns, seed)
    pieces = ref.grouped(x, 32).reshape(-1, 32)
    grid = ref.symmetric(pieces, bits, 0)
    theirs = torch.fake_quantize_per_channel_affine(
        torch.from_numpy(pieces),
        torch.from_numpy(grid.scale.reshape(-1)),
        torch.from_numpy(grid.zero.reshape(-1)),
        0,
        grid.low,
        grid.high,
    ).numpy()
    ours = ref.round_in_groups(x, bits, 32)
    np.testing.assert_array_equal(ours, theirs.reshape(rows, -1)[:, :columns])


def test_affine_grid_is_what_a_min_max_observer_finds() -> None:
    from torch.ao.quantization import MinMaxObserver

    x = tensor(50, 50, seed=3) + 0.7
    observer = MinMaxObserver(dtype=torch.quint8, qscheme=torch.per_tensor_affine)
    observer(torch.from_numpy(x))
    scale, zero = observer.calculate_qparams()
    grid = ref.affine(x, 8)
    assert float(grid.scale) == pytest.approx(float(scale), rel=1e-6)
    assert int(grid.zero) == int(zero)


@pytest.mark.parametrize(
    ("form", "dtype"), [(ref.E4M3, torch.float8_e4m3fn), (ref.E5M2, torch.float8_e5m2)]
)
def test_fp8_rounds_as_a_cast_does(form: ref.SmallFloat, dtype) -> None:
    x = tensor(300, 100, seed=4) * np.float32(10) ** np.arange(-3, 3).repeat(50)[:, None]
    x = np.clip(x, -form.largest, form.largest).astype(np.float32)
    theirs = torch.from_numpy(x).to(dtype).to(torch.float32).numpy()
    np.testing.assert_array_equal(form.rounded(x), theirs)


def test_fp4_has_its_sixteen_values() -> None:
    levels = ref.E2M1.rounded(np.linspace(-8, 8, 4001, dtype=np.float32))
    assert sorted(set(np.abs(levels).tolist())) == [0, 0.5, 1, 1.5, 2, 3, 4, 6]


@given(st.floats(0.01, 0.99), st.integers(1, 40), st.integers(1, 40))
def test_magnitude_masks_are_those_of_torch_prune(ratio: float, rows: int, columns: int) -> None:
    layer = nn.Linear(columns, rows, bias=False)
    weight = tensor(rows, columns, seed=rows * 41 + columns)
    layer.weight.data = torch.from_numpy(weight.copy())
    prune.l1_unstructured(layer, "weight", amount=ratio)
    mask = layer.weight_mask.numpy().astype(bool)
    np.testing.assert_array_equal(ref.magnitude_mask(weight, ratio), mask)


def test_two_of_four_stay_and_they_are_the_largest() -> None:
    weight = tensor(16, 64, seed=6)
    mask = ref.pattern_mask(weight)
    runs = mask.reshape(-1, 4)
    assert (runs.sum(1) == 2).all()
    pieces = np.abs(weight).reshape(-1, 4)
    least_kept = np.where(runs, pieces, np.inf).min(1)
    most_dropped = np.where(runs, -np.inf, pieces).max(1)
    assert (least_kept >= most_dropped).all()


def test_packed_int4_takes_the_bytes_of_its_format() -> None:
    for rows, columns, group in ((10, 2048, 128), (7, 704, 128), (33, 100, 32)):
        form = format_named(f"int4-g{group}")
        pieces = ref.grouped(tensor(rows, columns), group)
        grid = ref.symmetric(pieces.reshape(-1, group), 4, 0)
        packed = ref.pack_int4(grid.quantized(pieces.reshape(-1, group)))
        scales = grid.scale.astype(np.float16)
        assert packed.nbytes == form.element_bytes((rows, columns))
        assert packed.nbytes + scales.nbytes == form.stored_bytes((rows, columns))


def test_a_bit_is_worth_six_decibels() -> None:
    x = np.random.default_rng(7).uniform(-1, 1, (400, 400)).astype(np.float32)
    noise = [ref.sqnr_db(x, ref.affine(x, bits).rounded(x)) for bits in (4, 5, 6, 7, 8)]
    steps = np.diff(noise)
    assert steps == pytest.approx([6.02] * 4, abs=0.35)


def test_smaller_groups_and_normal_levels_lose_less_of_normal_weights() -> None:
    x = tensor(256, 1024, seed=8)
    rows = ref.sqnr_db(x, ref.symmetric(x, 4, 0).rounded(x))
    by_group = [ref.sqnr_db(x, ref.round_in_groups(x, 4, g)) for g in (256, 128, 64, 32)]
    assert by_group == sorted(by_group)
    assert rows < by_group[0]
    normal = ref.sqnr_db(x, ref.round_to_levels(x, ref.NF4_LEVELS, 64))
    assert normal > ref.sqnr_db(x, ref.round_in_groups(x, 4, 64))
    assert ref.sqnr_db(x, ref.round_to_microscaled(x)) > rows


def test_nf4_levels_are_fixed_points() -> None:
    levels = ref.NF4_LEVELS[None, :]
    np.testing.assert_array_equal(ref.round_to_levels(levels, ref.NF4_LEVELS, 16), levels)


def test_distillation_loss_is_that_of_kl_div() -> None:
    student, teacher, hot = tensor(12, 50, 1), tensor(12, 50, 2), 2.0
    theirs = torch.nn.functional.kl_div(
        torch.log_softmax(torch.from_numpy(student) / hot, 1),
        torch.softmax(torch.from_numpy(teacher) / hot, 1),
        reduction="batchmean",
    )
    ours = ref.distillation_loss(student, teacher, hot)
    assert ours == pytest.approx(float(theirs) * hot**2, rel=1e-4)


def test_formats_state_what_published_overheads_are() -> None:
    """QLoRA, section 3: 0.5 bits a weight of scales, 0.127 when they are quantized: 0.373 less."""
    plain, double = FORMATS["nf4"].overhead_bits, FORMATS["nf4-double"].overhead_bits
    assert plain == 0.5
    assert double == pytest.approx(0.127, abs=5e-4)
    assert plain - double == pytest.approx(0.373, abs=5e-4)
    assert FORMATS["mxfp4"].overhead_bits == 0.25
    assert FORMATS["nvfp4"].overhead_bits == 0.5
