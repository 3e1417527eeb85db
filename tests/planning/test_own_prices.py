"""Price lists that a scenario lays over the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

import costsim
from costsim.answers.guard import check_self_contained
from costsim.costs.prices import price_for, providers
from costsim.errors import SpecError

H100 = "nvidia-h100-sxm5-80gb"
HEADER = (
    "accelerator_id,instance_type,region,devices,term,usd_per_instance_hour,as_of,source,note\n"
)
SCENARIO = f"""
name: Own prices
model: gpt2-xl
workload: {{kind: training, tokens: 1 B tokens, sequence: 1024, global_batch: 64}}
hardware: {{system: {H100}, devices: 8}}
prices: contract.csv
price: {{provider: contract}}
"""


def written(folder: Path, *rows: str, scenario: str = SCENARIO, name: str = "contract.csv") -> Path:
    (folder / name).write_text(HEADER + "".join(f"{row}\n" for row in rows))
    (folder / "run.yaml").write_text(scenario)
    return folder / "run.yaml"


def row(usd: float, term: str = "on_demand", devices: int = 8) -> str:
    return f"{H100},pod,here,{devices},{term},{usd},2026-09-01,our contract,"


def test_a_price_of_ones_own_is_what_is_paid(tmp_path: Path):
    before = price_for(H100).usd_per_device_hour
    found = costsim.plan(written(tmp_path, row(12.0)))
    assert found.price.usd_per_device_hour == pytest.approx(1.5)
    assert found.price.price.source == "our contract"
    assert any("contract.csv" in note for note in found.notes)
    # It is of that scenario alone.
    assert "contract" not in providers()
    assert price_for(H100).usd_per_device_hour == before


def test_lists_of_a_folder_are_providers_beside_the_others(tmp_path: Path):
    (tmp_path / "lists").mkdir()
    scenario = SCENARIO.replace("contract.csv", "lists").replace("provider: contract", "")
    path = written(tmp_path, row(0.8), scenario=scenario, name="lists/cheap.csv")
    found = costsim.plan(path)
    assert found.price.low_usd_per_device_hour == pytest.approx(0.1)
    assert "cheap" in {one.provider for one in found.price.compared}


def test_services_pay_them_too(tmp_path: Path):
    scenario = f"""
name: Own prices
model: llama-3-8b
workload:
  kind: inference
  requests_per_s: 2
  input_tokens: 500
  output_tokens: 100
hardware: {{system: {H100}}}
prices: contract.csv
price: {{provider: contract}}
"""
    found = costsim.plan(written(tmp_path, row(1.5, devices=1), scenario=scenario))
    assert found.price.usd_per_device_hour == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((row(700.0 * 8),), "is no price"),
        ((row(16.0), row(17.0, "spot")), "above its own on-demand price"),
        ((row(-1.0),), "not a positive number"),
        ((row(16.0).replace("2026-09-01", "soon"),), "is not a date"),
        ((row(16.0) + ",more",), "10 cells where 9 belong"),
    ],
)
def test_what_can_be_no_price_is_refused(tmp_path: Path, rows: tuple[str, ...], said: str):
    with pytest.raises(SpecError, match=said) as caught:
        costsim.plan(written(tmp_path, *rows))
    assert "contract.csv" in str(caught.value)


def test_a_list_that_is_not_there_is_said_at_its_place(tmp_path: Path):
    path = written(tmp_path, row(16.0), scenario=SCENARIO.replace("contract.csv", "other.csv"))
    with pytest.raises(SpecError, match="no price list") as caught:
        costsim.plan(path)
    assert caught.value.problems[0].location.line == 6


def test_lists_outside_the_scenarios_folder_are_not_read(tmp_path: Path):
    (tmp_path / "inner").mkdir()
    written(tmp_path, row(16.0))
    inner = tmp_path / "inner" / "run.yaml"
    inner.write_text(SCENARIO.replace("contract.csv", "../contract.csv"))
    with pytest.raises(SpecError, match="outside the scenario's folder"):
        costsim.plan(inner)
    with pytest.raises(SpecError, match="self-contained"):
        check_self_contained({"prices": "contract"})


def test_lists_beside_a_stated_price_are_named_as_unused(tmp_path: Path):
    scenario = SCENARIO.replace("{provider: contract}", "2 $/h")
    found = costsim.plan(written(tmp_path, row(16.0), scenario=scenario))
    assert any("contract.csv" in note and "not used" in note for note in found.notes)
