"""The what-if of a page gives what the command gives, to the cent, run in a real browser."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from browser import dom, probed, with_probe
from costsim.planning import plan
from costsim.reporting import render
from costsim.reporting.plans import plan_report

STRATEGY = {"tp": 2, "pp": 1, "dp": 4, "micro_batch": 1}
TRAINING: dict[str, Any] = {
    "name": "</script><script>document.title='owned'</script>",
    "model": "llama-3-8b",
    "workload": {"kind": "training", "tokens": 1e9, "sequence": 4096, "global_batch": 64},
    "hardware": {"system": "nvidia-h100-sxm5-80gb", "devices": 8},
    "strategy": STRATEGY,
    "experiments": 0.3,
    "project": {"contingency": 0.1, "staff": "1234.5 $", "failed_runs": 0.07},
    "limits": {"cost": "4000 $", "deadline": "3 days"},
}
SERVICE: dict[str, Any] = {
    "name": "images",
    "model": "resnet50",
    "workload": {"kind": "forward", "requests_per_s": 500, "latency": "30 ms", "max_batch": 32},
    "hardware": {"system": "nvidia-t4", "precision": "fp16"},
}
ASK = """
const model = JSON.parse(document.getElementById("what-if-terms").textContent);
const asked = %s;
document.getElementById("probe").textContent = JSON.stringify({
  answers: asked.map(function (at) { return costsimWhatIf.answer(model, at); }),
  shown: document.getElementById("what-if-usd").textContent,
  verdict: document.getElementById("what-if-verdict").textContent,
  hidden: document.querySelector(".whatif").hidden, title: document.title });
"""


def draw(many: int, training: bool) -> list[dict[str, float]]:
    chance = random.Random(17)
    return [
        {
            "price": round(chance.uniform(0.2, 30), 3),
            "pue": round(chance.uniform(1, 2), 3),
            "grid": round(chance.uniform(1, 900), 1),
            **(
                {"amount": float(chance.randrange(10**8, 10**11))}
                if training
                else {"months": float(chance.randrange(1, 60))}
            ),
        }
        for _ in range(many)
    ]


def by_command(scenario: dict[str, Any], at: dict[str, float]) -> Any:
    settings = [
        f"price={at['price']} $/h",
        f"site.pue={at['pue']}",
        f"site.grid={at['grid']} g/kWh",
    ]
    if "amount" in at:
        settings.append(f"workload.tokens={at['amount']:.0f}")
    if "months" in at:
        settings.append(f"months={at['months']:g}")
    return plan(scenario, settings).best


@pytest.mark.parametrize(
    "many", [8, pytest.param(100, marks=pytest.mark.slow)], ids=["few", "hundred"]
)
@pytest.mark.parametrize(
    ("scenario", "training"), [(TRAINING, True), (SERVICE, False)], ids=["training", "service"]
)
def test_page_gives_what_the_command_gives(
    scenario: dict[str, Any], training: bool, many: int, tmp_path: Path
) -> None:
    first = plan(scenario)
    mfu = 100 * first.best.value("mfu_ratio") if training else 0
    asked = draw(many, training)
    page = tmp_path / "page.html"
    sent = [{**at, "mfu": mfu} for at in asked]
    html = render(plan_report(first), "html")
    assert len(html.encode()) < 300_000
    page.write_text(with_probe(html, ASK % json.dumps(sent)), encoding="utf-8")
    text, console = dom(page, tmp_path)
    assert console == []
    found = json.loads(probed(text))
    assert not found["hidden"]
    assert found["title"] == scenario["name"]  # a hostile name stays text
    for at, answer in zip(asked, found["answers"], strict=True):
        best = by_command(scenario, at)
        assert round(100 * answer["usd"]) == round(100 * best.value("cost_usd")), at
        assert answer["days"] == pytest.approx(best.value("days"), rel=1e-9)
        hours = best.figures.get("device_hours") or best.figures["running_device_hours"]
        assert answer["device_hours"] == pytest.approx(hours.value, rel=1e-9)
        assert answer["kwh"] == pytest.approx(best.value("energy_kwh"), rel=1e-9)
        assert answer["tonnes"] == pytest.approx(best.value("co2e_t"), rel=1e-9)
    if training:
        assert "the budget" in found["verdict"]
        assert "the deadline" in found["verdict"]


def test_utilization_moves_time_as_its_formula_says(tmp_path: Path) -> None:
    first = plan(TRAINING).best
    term = {t.name: float(t.value) for t in first.figures["mfu_ratio"].terms}
    at = {"price": 2.0, "pue": 1.2, "grid": 400, "amount": 1e9, "mfu": 30.0}
    page = tmp_path / "page.html"
    html = render(plan_report(plan(TRAINING)), "html")
    page.write_text(with_probe(html, ASK % json.dumps([at])), encoding="utf-8")
    answer = json.loads(probed(dom(page, tmp_path)[0]))["answers"][0]
    step_s = term["step_flops"] / (0.30 * term["devices"] * term["peak_flops_per_s"])
    kept = {t.name: t.value for t in first.figures["days"].terms}
    days = float(kept["steps"]) * step_s / float(kept["goodput_ratio"]) / 86_400
    assert answer["days"] == pytest.approx(days, rel=1e-9)
