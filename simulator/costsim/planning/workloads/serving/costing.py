"""Costing: what a fleet costs over its months, and how each figure comes about."""

from __future__ import annotations

from typing import Any, cast

from costsim.architectures.operators import Experts
from costsim.costs.budget import NOT_USED, Budget, Line, budget, group, leaf
from costsim.costs.energy import carbon_t, energy_kwh
from costsim.costs.footprint import load_ratio
from costsim.costs.project import ServiceCosts, service_lines
from costsim.costs.uncertainty import Contributor, Distribution, Factor, propagate
from costsim.inference.intervals import serving_interval
from costsim.planning.figures import Figure, Mover, Term
from costsim.planning.footprints import footprint_figures
from costsim.planning.making import Made, making_line
from costsim.planning.options import Option
from costsim.planning.plans import Candidate
from costsim.planning.study import Place, Study
from costsim.planning.workloads.serving.fleet import Fleet
from costsim.planning.workloads.serving.spec import ServedScenario
from costsim.units import HOURS_PER_MONTH

_MTOK = 1e6
_HOURS_PER_YEAR = 12 * HOURS_PER_MONTH


class FleetCosting:
    """Turns fleets into candidates of one option at one place."""

    def __init__(
        self,
        study: Study,
        option: Option,
        place: Place,
        made: tuple[Made, ...],
        hours: float,
        *,
        generates: bool,
    ) -> None:
        self.study, self.option, self.place, self.made = study, option, place, made
        self.hours, self.generates = hours, generates
        self.making = making_line(made, study.maker.price)
        blocks = option.model.blocks()
        self.routed = any(isinstance(op, Experts) for block in blocks for op in block.operators)

    def candidate(self, fleet: Fleet) -> Candidate[Fleet]:
        """Return everything that a fleet costs."""
        spent = self._budget(fleet)
        several = len(self.study.options) > 1
        label = fleet.replica.label
        return Candidate(
            label=f"{self.option.name} on {label}" if several else label,
            option=self.option,
            system=fleet.replica.system,
            devices=fleet.devices,
            figures={
                **self._money(fleet, spent),
                **self._prices(fleet),
                **self._energy(fleet),
                **self._latencies(fleet),
            },
            run=fleet,
            price=self.place.price,
            budget=spent,
            made=self.made,
        )

    def _budget(self, fleet: Fleet) -> Budget:
        price = self.place.price.price
        held = leaf(
            "Replicas",
            fleet.mean_devices * self.hours,
            "device-hours",
            price.usd_per_device_hour,
            note=str(price),
            source=price.source,
        )
        held_lines, idle = (held,), self._billed_devices(fleet) - fleet.mean_devices
        if idle > 0:
            note = f"{price.instance_type} has {price.devices} devices and is rented whole"
            rate = price.usd_per_device_hour
            hours = idle * self.hours
            held_lines += (leaf(NOT_USED, hours, "device-hours", rate, note=note),)
        lines: tuple[Line, ...] = (group("Compute", held_lines),)
        if self.making:
            lines = (*lines, self.making)
        return budget("Serving", service_lines(self._project(), lines))

    def _scenario(self) -> ServedScenario:
        return cast("ServedScenario", self.study.scenario)

    def _project(self) -> ServiceCosts:
        stated = self._scenario().project
        return ServiceCosts(stated.setup, stated.staff, stated.contingency)

    def usd_per_hour(self, fleet: Fleet) -> float:
        """Return dollars an hour, the mean of a day."""
        return self._billed_devices(fleet) * self.place.price.price.usd_per_device_hour

    def _billed_devices(self, fleet: Fleet) -> float:
        """Return devices that are paid for, the mean of a day: instances are rented whole."""
        each = fleet.replica.layout.devices
        billed = [self.place.price.billed_devices(count * each) for count in fleet.day.replicas]
        run = sum(fleet.day.replicas) * each
        return fleet.mean_devices * sum(billed) / run if run else fleet.mean_devices

    def _money(self, fleet: Fleet, spent: Budget) -> dict[str, Figure]:
        """Return dollars; the interval is that of throughput, at the market's prices."""
        price, making = self.place.price, self.making.usd if self.making else 0.0
        rate = price.usd_per_device_hour
        spread = self._spread()
        billed = self._billed_devices(fleet)
        cheap, dear = min(spread.p10, 1.0), max(spread.p90, 1.0)
        hour, running = billed * rate, spent.usd - making
        share = 1 + (self._scenario().project.contingency or 0.0)
        moving = min(spent.lines[0].usd * share, spent.usd)
        fixed, around = spent.usd - moving, spent.usd - making - spent.lines[0].usd
        terms = (
            Term("billed_devices", billed),
            Term("usd_per_device_hour", rate, "usd"),
        )
        each = "billed_devices x usd_per_device_hour"
        mean = Term("mean_devices", fleet.mean_devices)
        days = self.hours / 24

        def over(hours: float, name: str) -> Figure:
            said = each if hours == 1 else f"{each} x {hours:g}"
            what = f"dollars {name}, the mean of a day"
            ends = (hour * hours * cheap, hour * hours * dear)
            source = (price.rule, "price")
            return Figure(
                hour * hours, "usd", *ends, meaning=what, formula=said, terms=terms, sources=source
            )

        return {
            "cost_usd": Figure(
                spent.usd,
                "usd",
                fixed + moving * cheap,
                fixed + moving * dear,
                meaning="dollars of the service"
                + (", making the model included" if making else ""),
                formula="usd_per_hour x hours"
                + (" + making_usd" if making else "")
                + (" + project_usd" if around else ""),
                terms=(
                    Term("usd_per_hour", hour, "usd"),
                    Term("hours", self.hours),
                    Term("making_usd", making, "usd"),
                    *([Term("project_usd", around, "usd")] if around else []),
                ),
                parts=tuple(Term(one.name, one.usd, "usd", one.note) for one in spent.lines),
                movers=tuple(
                    _mover(one, fixed, moving) for one in spread.contributors if one.swing
                ),
                sources=(price.rule, "price"),
            ),
            "running_usd": Figure(
                running, "usd", meaning="dollars of serving, without making the model"
            ),
            "making_usd": Figure(making, "usd", meaning="dollars of making the compressed model"),
            "usd_per_hour": over(1.0, "an hour"),
            "usd_per_day": over(24.0, "a day"),
            "usd_per_month": over(HOURS_PER_MONTH, "a month"),
            "usd_per_year": over(_HOURS_PER_YEAR, "a year"),
            "days": Figure(days, "days", meaning="how long the fleet is held"),
            "running_device_hours": Figure(
                fleet.mean_devices * self.hours,
                "device-hours",
                meaning="accelerators times hours that they run",
                formula="mean_devices x hours",
                terms=(mean, Term("hours", self.hours)),
            ),
        }

    def _spread(self) -> Distribution:
        """Return dollars over those estimated: they move with throughput and the market's prices.

        A fleet that does less than estimated is larger in proportion.
        """
        price = self.place.price
        rate = price.usd_per_device_hour
        low, high = serving_interval("output_tokens_per_s", 1.0, routed=self.routed)
        factors = (
            Factor("throughput", 1.0, min(1 / high, 1.0), max(1 / low, 1.0)),
            Factor(
                "price",
                1.0,
                min(price.low_usd_per_device_hour / rate, 1.0),
                max(price.high_usd_per_device_hour / rate, 1.0),
            ),
        )
        return propagate(lambda at: at["throughput"] * at["price"], factors)

    def _prices(self, fleet: Fleet) -> dict[str, Figure]:
        """Return dollars a million tokens; prompts and answers pay for the time that they take."""
        hour = self._billed_devices(fleet) * self.place.price.usd_per_device_hour
        read, generated = fleet.tokens_per_hour
        share, ratio = fleet.prompt_share, self._scenario().price_ratio
        words = "requests" if not self.generates else "tokens"
        paid = (Term("usd_per_hour", hour, "usd"), Term("prompt_share", share, "ratio"))

        def per(value: float, meaning: str, formula: str, **tokens: float) -> Figure:
            terms = tuple(Term(name, number, words) for name, number in tokens.items())
            return Figure(value, "usd", meaning=meaning, formula=formula, terms=(*paid, *terms))

        return {
            "usd_per_mtok": per(
                hour / (read + generated) * _MTOK,
                "dollars a million tokens, those of prompts and answers alike",
                "usd_per_hour / (input_per_hour + output_per_hour) x 1e6",
                input_per_hour=read,
                output_per_hour=generated,
            ),
            "usd_per_mtok_input": per(
                hour * share / read * _MTOK,
                "dollars a million tokens of prompts"
                if self.generates
                else "dollars a million requests",
                "usd_per_hour x prompt_share / input_per_hour x 1e6",
                input_per_hour=read,
            ),
            "usd_per_mtok_output": per(
                hour * (1.0 - share) / generated * _MTOK,
                "dollars a million generated tokens",
                "usd_per_hour x (1 - prompt_share) / output_per_hour x 1e6",
                output_per_hour=generated,
            ),
            **(self._by_convention(hour, read, generated, ratio) if self.generates else {}),
        }

    def _by_convention(
        self, hour: float, read: float, generated: float, ratio: float | None
    ) -> dict[str, Figure]:
        """Return prices as public dashboards count: all cost on outputs, or at a stated ratio."""
        paid = (Term("usd_per_hour", hour, "usd"), Term("output_per_hour", generated, "tokens"))
        found = {
            "usd_per_mtok_all_on_output": Figure(
                hour / generated * _MTOK,
                "usd",
                meaning="dollars a million generated tokens, all cost on them",
                formula="usd_per_hour / output_per_hour x 1e6",
                terms=paid,
            )
        }
        if ratio is None:
            return found
        terms = (*paid, Term("input_per_hour", read, "tokens"), Term("price_ratio", ratio))
        each = "usd_per_hour / (input_per_hour + price_ratio x output_per_hour) x 1e6"
        one = hour / (read + ratio * generated) * _MTOK
        found["usd_per_mtok_input_at_ratio"] = Figure(
            one,
            "usd",
            meaning="dollars a million tokens of prompts, at the stated ratio of prices",
            formula=each,
            terms=terms,
        )
        found["usd_per_mtok_output_at_ratio"] = Figure(
            ratio * one,
            "usd",
            meaning="dollars a million generated tokens, at the stated ratio of prices",
            formula=f"price_ratio x {each}",
            terms=terms,
        )
        return found

    def _energy(self, fleet: Fleet) -> dict[str, Figure]:
        """Return electricity and emissions; intervals join those of power, PUE and grid."""
        site, power_w = self.place.site, self.place.power_w
        pue, grid = site.pue, site.grid
        hours = fleet.mean_devices * self.hours
        energy = energy_kwh(hours, power_w, pue)
        by_hour = load_ratio(self.place.footprint.profile, fleet.day.replicas)
        carbon = carbon_t(energy, grid) * by_hour
        watts = power_w.value * pue.value_ratio
        generated = fleet.tokens_per_hour[1]
        terms = (
            Term("device_hours", hours, "device-hours"),
            Term("power", power_w.value, "W"),
            Term("pue", pue.value_ratio),
        )
        return {
            "energy_kwh": Figure(
                energy.value,
                "kwh",
                energy.low,
                energy.high,
                meaning="electricity at the building's meter",
                formula="device_hours x power x pue / 1000",
                terms=terms,
                sources=("power", "pue"),
            ),
            "co2e_t": Figure(
                carbon.value,
                "t",
                carbon.low,
                carbon.high,
                meaning="location-based emissions of that electricity",
                formula="energy_kwh x grid / 1e6" + (" x hours" if by_hour != 1.0 else ""),
                terms=(
                    Term("energy_kwh", energy.value, "kwh"),
                    Term("grid", grid.g_per_kwh, "g/kWh"),
                    *([Term("hours", by_hour)] if by_hour != 1.0 else []),
                ),
                sources=("grid",),
            ),
            **footprint_figures(self.place, hours, energy),
            "kg_co2e_per_hour": Figure(
                fleet.mean_devices * watts / 1e3 * grid.g_per_kwh / 1e3 * by_hour,
                "kg",
                meaning="emissions an hour, the mean of a day",
                sources=("grid",),
            ),
            "joules_per_output_token": Figure(
                fleet.mean_devices * watts * 3600.0 / generated,
                "J",
                meaning="energy of a generated token, its prompt included"
                if self.generates
                else "energy of a request",
                formula="mean_devices x power x pue x 3600 / output_per_hour",
                terms=(
                    Term("mean_devices", fleet.mean_devices),
                    *terms[1:],
                    Term("output_per_hour", generated, "tokens" if self.generates else "requests"),
                ),
                sources=("power", "pue"),
            ),
        }

    def _latencies(self, fleet: Fleet) -> dict[str, Figure]:
        """Return what was measured in the simulation, with the interval of measured services."""
        measured = fleet.measured
        if not self.generates:
            whole = measured.e2e
            return {
                "latency_median_s": _simulated(whole.median_s, "of a request, its median"),
                "latency_p99_s": _simulated(whole.p99_s, "that 99 of 100 requests keep within"),
                "samples_per_s": Figure(
                    measured.request_per_s, "samples/s", meaning="at the busiest time"
                ),
            }
        first, each = measured.ttft, measured.tpot
        routed = self.routed
        return {
            "ttft_median_s": _simulated(
                first.median_s,
                "to the first token, its median",
                serving_interval("ttft_s", first.median_s, routed=routed),
            ),
            "ttft_p99_s": _simulated(first.p99_s, "to the first token in 99 of 100 requests"),
            "tpot_median_s": _simulated(
                each.median_s,
                "of each further token, its median",
                serving_interval("tpot_s", each.median_s, routed=routed),
            ),
            "tpot_p99_s": _simulated(each.p99_s, "of each further token in 99 of 100 requests"),
            "tokens_per_s": Figure(
                measured.output_tokens_per_s, "token/s", meaning="generated at the busiest time"
            ),
        }


def _simulated(value_s: float, of: str, interval: Any = (None, None)) -> Figure:
    return Figure(
        value_s,
        "s",
        *interval,
        meaning=f"time {of}",
        formula="a percentile of simulated requests",
        sources=("kernels", "engine", "percentiles"),
    )


def _mover(one: Contributor, fixed: float, moving: float) -> Mover:
    """Return what an input makes of the cost: a fleet of low throughput is the large one."""
    low, high = fixed + one.low * moving, fixed + one.high * moving
    return Mover(one.name, high, low) if one.name == "throughput" else Mover(one.name, low, high)
