"""What a plan costs: whole instances, the price's place, owning, the project, and its spread."""

from __future__ import annotations

from copy import deepcopy

import pytest

import costsim
from costsim.costs.grids import grid_for
from costsim.costs.prices import price_for
from costsim.currencies import currency
from costsim.errors import SpecError

H100 = "nvidia-h100-sxm5-80gb"
SMALL = {
    "name": "A small run",
    "model": "gpt2-xl",
    "workload": {"kind": "training", "tokens": 1e9, "sequence": 1024, "global_batch": 64},
    "hardware": {"system": H100, "devices": 8},
}
OWN = {
    "purchase": "30000 $",
    "years": 4,
    "utilization": "70 %",
    "electricity": "0.1 $/kWh",
    "network": "15 %",
    "residual": "10 %",
    "interest": "8 %",
    "operation": "5 %",
}


def planned(**changes: object):
    scenario = deepcopy(SMALL)
    scenario["workload"] = {**SMALL["workload"], "tokens": 1_000_000_000}
    return costsim.plan({**scenario, **changes})


def lines_of(plan) -> dict[str, float]:
    return {line.name: line.usd for line in plan.budget.lines}


def test_part_of_an_instance_is_rented_whole():
    one = planned(hardware={"system": H100, "devices": 1}, price={"provider": "aws"})
    price = price_for(H100, "aws").price
    assert price.devices == 8
    compute = one.budget.lines[0]
    hours = one.best.value("device_hours")
    assert compute.usd == pytest.approx(8 * hours * price.usd_per_device_hour, rel=1e-3)
    idle = next(line for line in compute.children if line.name == "Devices not used")
    assert idle.quantity == pytest.approx(7 * hours)


def test_emissions_are_those_of_the_region_that_is_paid():
    there = planned(price={"provider": "gcp", "region": "europe-west4"})
    kwh = there.best.value("energy_kwh")
    grid = grid_for("gcp:europe-west4")
    assert there.best.value("co2e_t") == pytest.approx(kwh * grid.g_per_kwh / 1e6)
    assert "gcp europe-west4" in there.sources["pue"]


def test_a_grid_of_ones_own_is_a_number():
    own = planned(site={"grid": "25 g/kWh"})
    assert own.best.value("co2e_t") == pytest.approx(own.best.value("energy_kwh") * 25e-6)
    with pytest.raises(SpecError, match="unknown grid"):
        planned(site={"grid": "nowhere at all"})


def test_a_grid_that_is_not_the_prices_is_said():
    found = planned(price={"provider": "gcp", "region": "europe-west4"}, site={"grid": "FRA"})
    assert any("gcp europe-west4" in note and "France" in note for note in found.notes)


def test_owning_costs_what_its_factors_say():
    found = planned(own=OWN)
    used_hours = 8760 * 0.7
    power_kw = found.best.figures["energy_kwh"].terms[1].value / 1e3
    pue = found.best.figures["energy_kwh"].terms[2].value
    bound = 30000 * 1.15
    by_hand = (
        bound * 0.9 / (4 * used_hours)
        + bound * 1.1 / 2 * 0.08 / used_hours
        + bound * 0.05 / used_hours
        + power_kw * pue * 0.1
    )
    assert found.price.usd_per_device_hour == pytest.approx(by_hand)
    assert any("owning beats renting" in note for note in found.notes)


def test_the_utilization_at_which_owning_wins_makes_the_two_equal():
    note = next(n for n in planned(own=OWN).notes if "owning beats" in n)
    even = float(note.split("utilization of ")[1].rstrip("%")) / 100
    at_even = planned(own={**OWN, "utilization": f"{even:.4f}"})
    rent = price_for(H100).usd_per_device_hour
    assert at_even.price.usd_per_device_hour == pytest.approx(rent, rel=0.02)


def test_every_line_is_there_and_the_total_is_their_sum():
    plain = planned()
    assert len(plain.budget.lines) >= 8
    whole = planned(
        experiments="50 %",
        project={"data": "1000 $", "staff": "2000 $", "contingency": "10 %", "evaluation": "5 %"},
    )
    lines = lines_of(whole)
    assert sum(lines.values()) == pytest.approx(whole.best.value("cost_usd"), abs=0.01)
    assert lines["Contingency"] == pytest.approx(
        0.1 * sum(usd for name, usd in lines.items() if name != "Contingency"), abs=1.0
    )
    assert lines["Experiments"] == pytest.approx(0.5 * lines["Compute"], abs=1.0)


def test_the_spread_holds_the_value_and_names_what_moves_it():
    figure = planned().best.figures["cost_usd"]
    assert figure.low <= figure.value <= figure.high
    assert {one.name for one in figure.movers} == {"time", "price"}
    for one in figure.movers:
        assert one.low <= figure.value * (1 + 1e-12)
        assert one.high >= figure.value * (1 - 1e-12)
        assert one.swing <= figure.high - figure.low
    assert figure.probability_at_most(figure.value) == pytest.approx(0.5)
    assert figure.probability_at_most(figure.high) == pytest.approx(0.9)
    assert figure.probability_at_most(figure.low) == pytest.approx(0.1)
    assert figure.probability_at_most(0.0) == 0.0


def test_dollars_are_linear_in_a_stated_price():
    one, three = (planned(price=f"{usd} $/h") for usd in (1, 3))
    assert three.budget.lines[0].usd == pytest.approx(3 * one.budget.lines[0].usd, rel=1e-3)
    assert one.best.to_dict()["strategy"] == three.best.to_dict()["strategy"]


SERVICE = {
    "name": "A service",
    "model": "llama-3-8b",
    "workload": {
        "kind": "inference",
        "requests_per_s": 2,
        "input_tokens": 512,
        "output_tokens": 128,
    },
    "hardware": {"system": H100},
    "months": 1,
}


def test_services_rent_whole_instances_and_name_what_moves_their_cost():
    stated = costsim.plan({**SERVICE, "price": "2 $/h"}).best
    assert stated.value("usd_per_hour") == pytest.approx(2 * stated.run.mean_devices)
    whole = costsim.plan({**SERVICE, "price": {"provider": "aws"}})
    price, best = price_for(H100, "aws").price, whole.best
    assert price.devices == 8 > best.devices
    assert best.value("usd_per_hour") == pytest.approx(8 * price.usd_per_device_hour)
    lines = whole.budget.lines[0].children
    assert [line.name for line in lines] == ["Replicas", "Devices not used"]
    figure = best.figures["cost_usd"]
    assert figure.low <= figure.value <= figure.high
    assert {one.name for one in figure.movers} <= {"throughput", "price"} != set()
    ends = {one.name: (one.low, one.high) for one in figure.movers}
    assert ends["throughput"][0] > figure.value > ends["throughput"][1]  # less of it costs more
    assert best.value("usd_per_mtok") == pytest.approx(
        best.value("usd_per_hour") / sum(best.run.tokens_per_hour) * 1e6
    )


def test_a_service_with_a_start_has_a_cash_flow():
    plan = costsim.plan({**SERVICE, "price": "2 $/h", "start": "2027-01-20"})
    assert sum(plan.to_dict()["cash_flow"]["total_usd"]) == pytest.approx(plan.budget.usd)


SPOT = {"provider": "gcp", "term": "spot"}


def test_what_restarts_of_spot_cost_is_a_line_and_a_word():
    stated = {"preemption": "2 h", "replacement": "20 min", "restart": "10 min"}
    calm, rough = planned(price=SPOT), planned(price=SPOT, failures=stated)
    useful, lost = rough.budget.lines[0].children[:2]
    assert lost.name == "Failures and restarts"
    # One instance of eight devices, taken back every two hours of steps, stands for half an hour.
    assert lost.quantity >= useful.quantity / 2 * 0.5
    assert rough.best.value("cost_usd") > calm.best.value("cost_usd")
    word = next(note for note in rough.notes if note.startswith("spot:"))
    assert f"${lost.usd:,.2f}" in word
    assert "on demand" in word


def test_what_is_of_spot_is_named_as_unused_of_other_terms():
    found = planned(failures={"elastic": True})
    assert any("`failures.elastic`" in note and "not used" in note for note in found.notes)


def test_emissions_stand_by_both_methods_with_making_and_water():
    found = planned(
        price={"provider": "aws"},
        site={"embodied": "300 kg", "lifetime": "4 years", "water": "0.4 L/kWh"},
    ).best
    kwh, pue = found.value("energy_kwh"), found.figures["energy_kwh"].terms[2].value
    assert found.value("co2e_t") > 0
    assert found.value("market_co2e_t") == 0  # as AWS claims
    assert found.value("water_m3") == pytest.approx(kwh / pue * 0.4 / 1e3)
    years = found.value("device_hours") / 8760 / 4
    assert found.value("embodied_co2e_t") == pytest.approx(years * 0.3)


def test_what_nobody_publishes_is_not_counted():
    found = planned(price="2 $/h").best
    assert not {"market_co2e_t", "water_m3", "embodied_co2e_t"} & set(found.figures)


def test_hours_of_a_grid_are_a_day_of_them():
    with pytest.raises(SpecError, match="24 numbers"):
        planned(site={"grid_profile": [1.0, 2.0]})
    steady = planned(site={"grid_profile": [1.0] * 12 + [3.0] * 12}).best
    assert steady.value("co2e_t") == pytest.approx(planned().best.value("co2e_t"))


def test_a_budget_in_another_currency_is_the_same_money():
    plain, euro = planned(price="2 $/h"), planned(price="2 $/h", currency="EUR")
    rate = currency("EUR")
    shown = euro.accounts.to_dict()["currency"]
    cents = len(shown["lines"])
    assert shown["total"] == pytest.approx(sum(line["amount"] for line in shown["lines"]))
    assert rate.to_usd(shown["total"]) == pytest.approx(plain.budget.usd, abs=0.01 * cents)
    assert any(f"on {rate.as_of}" in note for note in euro.notes)
    stated = planned(price=f"{rate.of_usd(2.0)} EUR/h")
    assert stated.best.value("cost_usd") == pytest.approx(plain.best.value("cost_usd"), abs=0.01)
    assert any(f"on {rate.as_of}" in note for note in stated.notes)
    with pytest.raises(SpecError, match="no exchange rate"):
        planned(currency="XXX")


def test_old_rates_are_said(tmp_path, monkeypatch):
    """The newest price is what "now" means: a list of next year makes the rates old."""
    list_ = tmp_path / "mine.csv"
    list_.write_text(
        "accelerator_id,instance_type,region,devices,term,usd_per_instance_hour,as_of,source,note\n"
        f"{H100},pod,here,8,on_demand,16,2027-06-01,our contract,\n"
    )
    assert not any("exchange rates are of" in note for note in planned(currency="EUR").notes)
    monkeypatch.setenv("COSTSIM_PRICES", str(list_))
    assert any("exchange rates are of" in note for note in planned(currency="EUR").notes)


def test_a_service_has_a_project_and_owners():
    plain = costsim.plan({**SERVICE, "price": "2 $/h"})
    project = {"setup": "5000 $", "staff": "20000 $", "contingency": "10 %"}
    whole = costsim.plan({**SERVICE, "price": "2 $/h", "project": project})
    assert [line.unstated for line in plain.budget.lines if line.unstated] == [
        "project.setup",
        "project.staff",
        "project.contingency",
    ]
    lines = lines_of(whole)
    compute = plain.budget.usd
    assert lines["Contingency"] == pytest.approx(0.1 * (compute + 25_000), abs=1.0)
    figure = whole.best.figures["cost_usd"]
    assert figure.value == pytest.approx(1.1 * (compute + 25_000), abs=2.0)
    # What people cost does not move with the price of devices.
    assert figure.low >= 1.1 * 25_000
    assert figure.low <= figure.value <= figure.high
    owned = costsim.plan({**SERVICE, "own": OWN})
    used_hours = 8760 * 0.7
    energy = owned.best.figures["energy_kwh"].terms
    by_hand = 30000 * 1.15 * (0.9 / 4 + 1.1 / 2 * 0.08 + 0.05) / used_hours
    by_hand += energy[1].value / 1e3 * energy[2].value * 0.1
    assert owned.price.usd_per_device_hour == pytest.approx(by_hand)
    assert any("owning beats renting" in note for note in owned.notes)


def test_every_convention_of_a_price_pays_the_same_fleet():
    best = costsim.plan({**SERVICE, "price": "2 $/h", "price_ratio": 4}).best
    read, generated = (tokens / 1e6 for tokens in best.run.tokens_per_hour)
    hour = best.value("usd_per_hour")

    def paid(of_input: str, of_output: str) -> float:
        return (best.value(of_input) * read if of_input else 0) + best.value(of_output) * generated

    for one in (
        ("usd_per_mtok", "usd_per_mtok"),
        ("usd_per_mtok_input", "usd_per_mtok_output"),
        ("", "usd_per_mtok_all_on_output"),
        ("usd_per_mtok_input_at_ratio", "usd_per_mtok_output_at_ratio"),
    ):
        assert paid(*one) == pytest.approx(hour)
    assert best.value("usd_per_mtok_output_at_ratio") == pytest.approx(
        4 * best.value("usd_per_mtok_input_at_ratio")
    )
