"""What other rooms see of a compressed model: its memory, its kernels, its cache."""

from __future__ import annotations

import numpy as np
import pytest

from costsim import estimate_inference, load_hardware
from costsim.architectures import load_model
from costsim.architectures.workload import Shard
from costsim.compression.cache import cached_in
from costsim.compression.compressing import compress
from costsim.compression.effects import figures
from costsim.hardware.kernels import load_kernel_model
from costsim.inference.layout import Layout, Layouts, Quantization
from costsim.inference.memory import cache_bytes, weight_bytes

A100 = load_hardware("nvidia-a100-sxm4-80gb", count=1)
RECIPES = ["fp8", "awq-int4", "nf4-double", "2:4", "2:4,int8", "prune-layers,int4", "kv-int4"]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["llama-3.1-8b", "mixtral-8x7b"])
def test_inference_holds_the_bytes_that_are_stored(name: str, recipe: str) -> None:
    after = compress(name, recipe).after
    stored = figures(after).weights_bytes
    found = weight_bytes(after, Layouts.of([Layout()]), Quantization())
    assert found[0] == pytest.approx(stored, rel=1e-6)
    if recipe != "2:4,int8":
        estimate = estimate_inference(after, A100, phase="prefill", sequence=128)
        assert estimate.memory_by_part_bytes["weights"] == pytest.approx(stored, rel=1e-6)


@pytest.mark.parametrize("recipe", ["awq-int4", "fp8", "2:4"])
def test_devices_share_what_is_packed(recipe: str) -> None:
    after = compress("llama-2-7b", recipe).after
    layouts = Layouts.of([Layout(), Layout(tp=2, moe_tp=2), Layout(tp=8, moe_tp=8)])
    one, two, eight = weight_bytes(after, layouts, Quantization())
    assert one / 2 <= two < one
    assert one / 8 <= eight < two


def test_the_cache_of_the_server_is_the_recipes() -> None:
    model, after = load_model("llama-3.1-8b"), compress("llama-3.1-8b", "kv-int4").after
    layouts = Layouts.of([Layout()])
    whole = cache_bytes(model, layouts, Quantization(), np.array([1000.0]))
    small = cache_bytes(after, layouts, Quantization(cache=cached_in(after)), np.array([1000.0]))
    assert small[0] / whole[0] == pytest.approx(4.5 / 16)
    assert small[0] == pytest.approx(after.cache_bytes(1, 1000))
    assert cached_in(after) == "fp8"
    assert cached_in(model) == "bf16"


def test_products_run_in_the_first_format_that_the_device_has() -> None:
    a100 = load_kernel_model(A100.accelerator)
    h100 = load_kernel_model(load_hardware("nvidia-h100-sxm5-80gb").accelerator)
    kernels = {
        operator.packing.kernels
        for block in compress("llama-3.1-8b", "fp8").after.blocks()
        for operator in block.operators
        if operator.packing is not None
    }
    (wanted,) = kernels
    assert a100.runs(wanted) == "w8a16"
    assert h100.runs(wanted) == "fp8"


def test_blocks_can_be_divided_and_still_know_how_they_are_stored() -> None:
    for block in compress("llama-3.1-8b", "awq-int4").after.blocks():
        local = block.shard(Shard(tp=4))
        for mine, whole in zip(local.weights(), block.weights(), strict=True):
            assert mine.packing == whole.packing


def test_a_compressed_model_still_has_its_formulas() -> None:
    model = load_model("gpt3-175b")
    packed = compress(model, "awq-int4").after
    assert packed.formula("parameters") == model.formula("parameters")
    assert packed.formula("forward_flops") == model.formula("forward_flops")
