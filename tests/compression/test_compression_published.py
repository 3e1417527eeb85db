"""Published figures of compressed models, and times of kernels that somebody measured."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import costsim
from costsim.architectures import load_model
from costsim.architectures.architecture import Architecture
from costsim.compression.cache import cached_in
from costsim.compression.compressing import compress
from costsim.compression.effects import effects, figures
from costsim.compression.formats import FORMATS, plain
from costsim.compression.sparsity import Pattern
from costsim.errors import UnknownNameError
from costsim.hardware import Accelerator, load_accelerator, load_hardware
from costsim.hardware.gemm import gemm_time_s
from costsim.hardware.kernels import load_kernel_model


def pass_time_s(model: Architecture, device: Accelerator, **work: Any) -> float:
    """Return seconds of a pass on one device."""
    system = load_hardware(device.id, count=1)
    cached = cached_in(model)
    return costsim.estimate_inference(model, system, cache_dtype=cached, **work).latency_s


A100 = load_accelerator("nvidia-a100-sxm4-80gb")
H100 = load_accelerator("nvidia-h100-sxm5-80gb")
EXCERPT = Path(__file__).resolve().parent.parent / "data" / "w4a16_excerpt.csv"


def test_llama_2_70b_awq_file() -> None:
    """TheBloke/Llama-2-70B-AWQ is listed with 36.61 GB."""
    after = figures(compress("llama-2-70b", "awq-int4").after)
    assert after.disk_bytes / 1e9 == pytest.approx(36.61, abs=0.005)


def test_gpt3_in_int4_is_an_eighth_of_fp32_and_its_scales() -> None:
    """GPTQ (arXiv 2210.17323): OPT-175B, of GPT-3's shapes, fits one 80 GB A100 in 3 bits.

    The paper (section 1) gives 63 GB for the weights in 3 bits, embeddings in 16.
    """
    int4 = figures(compress("gpt3-175b", "int4").after)
    assert 0.5 * 174.6e9 < int4.weights_bytes < 0.53 * 174.6e9 + 2 * 2 * 0.65e9
    whole = compress("opt-175b", [{"name": "w3", "steps": [_three_bits()]}]).after
    assert figures(whole).disk_bytes / 2**30 == pytest.approx(63, rel=0.03)
    assert figures(whole).weights_bytes < A100.memory_usable_bytes


def _three_bits() -> dict[str, object]:
    return {"kind": "quantize", "format": "int3-g1024", "matrices": "layers"}


def test_qlora_of_65b_fits_48_gb() -> None:
    """QLoRA (arXiv 2305.14314), section 1: from more than 780 GB to less than 48 GB."""
    base = figures(load_model("llama-1-65b"), "bf16")
    # Full fine-tuning in 16 bits: weights, gradients and Adam's two moments in fp32.
    assert (2 + 2 + 8) * base.parameters > 780e9 * 0.99
    found = figures(compress("llama-1-65b", "qlora").after, "bf16", 1, 512)
    adapters = found.trainable_parameters
    # Adapters in 16 bits, their gradients and two moments in fp32.
    training = found.weights_bytes + adapters * (2 + 8)
    # Checkpointed: the input of each layer, and the activations of one.
    model = load_model("llama-1-65b")
    inputs = model.depth * 512 * 8192 * 2
    layer = found.activation_bytes / model.depth
    assert training + inputs + layer < 48e9
    assert found.weights_bytes > 33e9


def test_nf4_spares_what_the_paper_says() -> None:
    spared = FORMATS["nf4"].overhead_bits - FORMATS["nf4-double"].overhead_bits
    assert spared == pytest.approx(0.373, abs=5e-4)
    before = figures(compress("llama-1-65b", "nf4").after)
    after = figures(compress("llama-1-65b", "nf4-double").after)
    quantized = load_model("llama-1-65b").parameters - 2 * 32000 * 8192
    # "approximately 3 GB for a 65B model" (section 2)
    assert before.weights_bytes - after.weights_bytes == pytest.approx(
        quantized * spared / 8, rel=1e-3
    )
    assert (before.weights_bytes - after.weights_bytes) / 1e9 == pytest.approx(3.0, abs=0.05)


def test_distilbert_is_forty_percent_smaller() -> None:
    """Sanh et al. 2019 (arXiv 1910.01108): 66 M parameters against 110 M."""
    bert = load_model({"model_type": "bert", "architectures": ["BertModel"]})
    student = load_model({"model_type": "distilbert", "architectures": ["DistilBertModel"]})
    assert student.parameters / 1e6 == pytest.approx(66, abs=0.5)
    assert 1 - student.parameters / bert.parameters == pytest.approx(0.40, abs=0.01)


def test_two_of_four_costs_an_eighth_of_an_index() -> None:
    """Mishra et al. 2021 (arXiv 2104.08378): 12.5 % of what 16-bit values take, 25 % of 8-bit."""
    shape = (4096, 4096)
    for dtype, share in (("bf16", 1 / 8), ("int8", 1 / 4)):
        pattern = Pattern(plain(dtype))
        assert pattern.index_bytes(shape) / pattern.value_bytes(shape) == share


def test_mobilenet_does_a_ninth_of_the_work_for_its_parameters() -> None:
    """Howard et al. 2017 (arXiv 1704.04861), table 4: 569 M against 4866 M multiply-adds."""
    net = load_model({"vision": {"family": "mobilenet-v1"}})
    separable = net.forward_flops(1) / 2
    assert separable / 1e6 == pytest.approx(569, rel=0.01)


def test_int4_decoding_speeds_up_as_measured_on_an_a100() -> None:
    """Products of few rows, weights in int4 against bf16: within 15 % (median of measured)."""
    lines = [line for line in EXCERPT.read_text().splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    m, n, k = (columns[name] for name in "mnk")
    kernels = load_kernel_model(A100)
    ours = gemm_time_s(kernels, m, n, k, "bf16") / gemm_time_s(kernels, m, n, k, "w4a16")
    theirs = columns["bf16_us"] / columns["int4_us"]
    errors = np.abs(ours / theirs - 1)
    assert np.median(errors) <= 0.15
    assert abs(np.median(ours / theirs) - 1) <= 0.10


def test_weights_alone_gain_in_decoding_and_nothing_in_prefill() -> None:
    model = load_model("llama-2-70b")
    packed = compress(model, "awq-int4").after

    def speed_up(phase: str, batch: int) -> float:
        times = [
            pass_time_s(m, A100, phase=phase, batch=batch, sequence=1024)  # type: ignore[arg-type]
            for m in (model, packed)
        ]
        return times[0] / times[1]

    assert speed_up("decode", 1) > 2
    assert 0.85 < speed_up("prefill", 4) <= 1.02


def test_fp8_gains_no_compute_where_there_is_none() -> None:
    compression = compress("llama-3.1-8b", "fp8")
    for device, faster in ((A100, False), (H100, True)):
        found = effects(compression, accelerator=device)
        times = [
            pass_time_s(m, device, phase="prefill", batch=4, sequence=2048)
            for m in (compression.before, compression.after)
        ]
        assert (times[1] < 0.9 * times[0]) is faster
        assert any("not compute" in note for note in found.notes) is not faster
        assert found.after.weights_bytes < 0.6 * found.before.weights_bytes


@pytest.mark.parametrize("recipe", ["2:4", "2:4,int8", "int4-w4a4"])
def test_what_a_device_does_not_have_is_an_error(recipe: str) -> None:
    with pytest.raises(UnknownNameError, match=r"no matrix units|no kernel|no published"):
        effects(compress("llama-3.1-8b", recipe), accelerator=load_accelerator("google-tpu-v5p"))


def test_unstructured_zeros_are_said_to_gain_no_time() -> None:
    found = effects(compress("llama-3.1-8b", "prune-unstructured"), accelerator=A100)
    assert any("no speed-up here" in note for note in found.notes)
    assert found.after.weights_bytes == found.before.weights_bytes
    assert found.after.disk_bytes < found.before.disk_bytes


def test_two_of_four_is_faster_where_compute_binds() -> None:
    compression = compress("llama-3.1-8b", "2:4")
    times = [
        pass_time_s(m, H100, phase="prefill", batch=8, sequence=2048)
        for m in (compression.before, compression.after)
    ]
    assert 1.05 < times[0] / times[1] < 1.6  # never the doubled rate of the sheet
