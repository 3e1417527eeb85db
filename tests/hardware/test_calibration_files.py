"""The calibration files: complete, sourced, in range, and chosen by architecture."""

from __future__ import annotations

from dataclasses import fields

import pytest
import yaml

from costsim.errors import CatalogError
from costsim.hardware import accelerator_ids, calibration, load_accelerator
from costsim.hardware.calibration import (
    LinkConstants,
    calibration_folder,
    class_of,
    load_class,
    load_link,
)
from costsim.hardware.kernels import load_kernel_model
from costsim.hardware.systems import TIER_KINDS

RECORDS = {
    "gemm": calibration.GemmConstants,
    "attention": calibration.AttentionConstants,
    "decode": calibration.DecodeConstants,
    "streaming": calibration.StreamingConstants,
    "grouped": calibration.GroupedConstants,
    "links": LinkConstants,
    "exchange": calibration.ExchangeConstants,
}


def read(name: str):
    return yaml.safe_load((calibration_folder() / f"{name}.yaml").read_text())


CLASSES = sorted(set(read("classes").values()) | {"generic"})


def records_of(name: str):
    constants = load_class(name)
    yield from constants.gemm.values()
    yield from constants.attention.values()
    yield from constants.decode.values()
    yield from constants.grouped.values()
    yield constants.streaming


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_complete_and_physical(name: str) -> None:
    assert all(load_class(name).sources)
    for record in records_of(name):
        for field in fields(record):
            value = getattr(record, field.name)
            assert value >= 0
            if field.name in ("compute_ratio", "memory_ratio", "wave_share", "backward_ratio"):
                assert value <= 1
            if field.name.endswith("_exponent"):
                assert value >= 1


@pytest.mark.parametrize("kind", TIER_KINDS)
def test_every_kind_of_link_has_constants(kind: str) -> None:
    for name in CLASSES:
        constants = load_link(kind, name)
        assert 0 < constants.ring_ratio <= 1
        assert 0 < constants.all_to_all_ratio <= 1


def test_every_link_states_its_source() -> None:
    assert all(row["source"] for row in read("links")["links"])


def test_the_glossary_covers_every_constant() -> None:
    glossary = read("glossary")
    for group, record in RECORDS.items():
        assert set(glossary[group]) == {field.name for field in fields(record)}
        assert all(entry["unit"] and entry["meaning"] for entry in glossary[group].values())


@pytest.mark.parametrize("accelerator", accelerator_ids())
def test_every_accelerator_has_a_kernel_model(accelerator: str) -> None:
    model = load_kernel_model(load_accelerator(accelerator))
    assert model.compute_units > 0
    assert model.basis.split(":")[0] in ("measured", f"class {model.class_name}", "sheet only")


def test_the_basis_says_how_far_a_device_was_measured() -> None:
    def basis(name: str) -> str:
        return load_kernel_model(load_accelerator(name)).basis

    assert basis("nvidia-h100-sxm5-80gb").startswith("measured")
    assert basis("nvidia-h20-96gb").startswith("class hopper")
    assert basis("amd-mi300x").startswith("sheet only")


def test_the_longest_prefix_names_the_class() -> None:
    assert class_of("Blackwell GB202") == "rtx-blackwell"
    assert class_of("Blackwell Ultra + Grace") == "blackwell-ultra"
    assert class_of("Imaginary 9") == "generic"


def test_a_file_with_a_constant_missing_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "odd.yaml").write_text(
        "class: odd\nsource: test\ncompute_units: 1\nclock_hz: 1.0e9\ngemm: {bf16: {fill_j: 1}}\n"
    )
    monkeypatch.setattr(calibration, "calibration_folder", lambda: tmp_path)
    calibration._read.cache_clear()
    try:
        with pytest.raises(CatalogError, match="fill_j"):
            load_class("odd")
    finally:
        calibration._read.cache_clear()
