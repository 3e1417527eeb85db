"""A plan of a service: the fleet, what it promises, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from costsim.architectures.architecture import Architecture
from costsim.architectures.operators import Experts
from costsim.costs.grids import Grid
from costsim.costs.prices import PriceChoice
from costsim.inference.engines import Engine
from costsim.inference.intervals import serving_interval
from costsim.inference.metrics import Measured, Objective
from costsim.planning.launch import Launch
from costsim.planning.serving_capacity import Day, Pools
from costsim.planning.serving_mix import Mix
from costsim.planning.serving_search import Replica

SCHEMA_VERSION = 1
_HOURS_PER_YEAR = 8760.0
_MTOK = 1e6


@dataclass(frozen=True, slots=True)
class ServingCandidate:
    """A fleet of equal replicas.

    Attributes:
        replica: what each is.
        replicas: that the busiest time needs.
        spare: more of them, for when one fails.
        measured: by simulation at the busiest time, without the spare ones.
        day: the fleet over a day.
        price: of a device-hour.
        power_w_per_device: of a device with its share of the node and the building.
        mean_requests_per_s: over the day.
        prompt_share: of the time of a replica that prompts take.
    """

    replica: Replica
    replicas: int
    spare: int
    measured: Measured
    day: Day
    price: PriceChoice
    power_w_per_device: float
    mean_requests_per_s: float
    prompt_share: float

    @property
    def label(self) -> str:
        """Device, format and layout."""
        return self.replica.label

    @property
    def devices(self) -> int:
        """Devices at the busiest time, spare ones included."""
        return (self.replicas + self.spare) * self.replica.layout.devices

    @property
    def mean_devices(self) -> float:
        """Devices that run, the mean of a day."""
        return self.day.replica_hours / len(self.day.replicas) * self.replica.layout.devices

    @property
    def usd_per_hour(self) -> float:
        """Dollars an hour, the mean of a day."""
        return self.mean_devices * self.price.usd_per_device_hour

    @property
    def _tokens_per_hour(self) -> tuple[float, float]:
        requests = self.mean_requests_per_s * 3600.0 / self.measured.completed
        return requests * self.measured.input_tokens, requests * self.measured.output_tokens

    @property
    def usd_per_mtok(self) -> float:
        """Dollars a million tokens, those of prompts and answers alike."""
        return self.usd_per_hour / sum(self._tokens_per_hour) * _MTOK

    @property
    def usd_per_mtok_input(self) -> float:
        """Dollars a million tokens of prompts, which pay for the time that they take."""
        return self.usd_per_hour * self.prompt_share / self._tokens_per_hour[0] * _MTOK

    @property
    def usd_per_mtok_output(self) -> float:
        """Dollars a million generated tokens, which pay for the rest."""
        return self.usd_per_hour * (1.0 - self.prompt_share) / self._tokens_per_hour[1] * _MTOK

    @property
    def joules_per_token(self) -> float:
        """Energy of a generated token, prompts included."""
        power_w = self.mean_devices * self.power_w_per_device
        return power_w * 3600.0 / self._tokens_per_hour[1]

    @property
    def kwh_per_hour(self) -> float:
        """Energy an hour, the mean of a day."""
        return self.mean_devices * self.power_w_per_device / 1e3

    def to_dict(self) -> dict[str, Any]:
        """Return the candidate as plain values, keys with their units."""
        layout = self.replica.layout
        quantization = self.replica.quantization
        hour = self.usd_per_hour
        return {
            "system": self.replica.system.id,
            "accelerator": self.replica.system.accelerator.id,
            "layout": {
                "tp": layout.tp,
                "pp": layout.pp,
                "attention_dp": layout.attention_dp,
                "ep": layout.ep,
                "moe_tp": layout.moe_tp,
                "cp": layout.cp,
            },
            "precision": quantization.dense,
            "cache_dtype": quantization.cache,
            "replica_devices": layout.devices,
            "replicas": self.replicas,
            "spare_replicas": self.spare,
            "devices": self.devices,
            "mean_devices": self.mean_devices,
            "closed_form_requests_per_s_per_replica": self.replica.rate_per_s,
            "requests_per_replica_in_cache": self.replica.slots,
            "usd_per_hour": hour,
            "usd_per_day": hour * 24,
            "usd_per_month": hour * _HOURS_PER_YEAR / 12,
            "usd_per_year": hour * _HOURS_PER_YEAR,
            "usd_per_mtok": self.usd_per_mtok,
            "usd_per_mtok_input": self.usd_per_mtok_input,
            "usd_per_mtok_output": self.usd_per_mtok_output,
            "joules_per_output_token": self.joules_per_token,
            "measured": self.measured.to_dict(),
            "day": {
                "requests_per_s": list(self.day.rates_per_s),
                "replicas": list(self.day.replicas),
            },
        }


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """The answer to a scenario of a service; `candidates` holds the best of each device.

    `generates` is false where requests are samples that pass forward, whose only latency is that of
    the result; then a token stands for a sample. `pools` are the best replicas with prompts and
    generation apart, at the busiest time; None where no split of about as many does it. `mix` is a
    fleet of several kinds, where it is cheaper than `best` or there are too few devices of each
    one alone: then it is the answer, and `best` is of one kind, were there enough.
    """

    name: str
    scenario: dict[str, Any]
    model: Architecture
    engine: Engine
    best: ServingCandidate
    candidates: tuple[ServingCandidate, ...]
    sensitivity: tuple[tuple[float, Measured], ...]
    objective: Objective
    searched: int
    grid: Grid
    generates: bool
    pools: Pools | None
    mix: Mix | None = None
    launch: Launch | None = None
    notes: tuple[str, ...] = ()

    @property
    def routed(self) -> bool:
        """Whether the model has routed experts."""
        blocks = self.model.blocks()
        return any(isinstance(op, Experts) for block in blocks for op in block.operators)

    @property
    def deploy(self) -> str | None:
        """The command that starts a replica; None where no engine is named."""
        return None if self.launch is None else self.launch.command

    @property
    def kg_co2e_per_hour(self) -> float:
        """Emissions an hour, the mean of a day."""
        return self.best.kwh_per_hour * self.grid.g_per_kwh / 1e3

    def interval(self, quantity: str, value: float) -> tuple[float, float]:
        """Return between what a measured latency falls in 8 of 10 cases."""
        kind = "ttft_s" if quantity == "ttft_s" else "tpot_s"
        return serving_interval(kind, value, routed=self.routed)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values: versioned, units in keys, equal for equal input."""
        best = self.best
        first, each = best.measured.ttft.median_s, best.measured.tpot.median_s
        ranged = {"ttft_median_s": ("ttft_s", first), "tpot_median_s": ("tpot_s", each)}
        bounds = {name: self.interval(kind, value) for name, (kind, value) in ranged.items()}
        return {
            "schema_version": SCHEMA_VERSION,
            "scenario": self.scenario,
            "best": {
                **best.to_dict(),
                "low": {name: bound[0] for name, bound in bounds.items()},
                "high": {name: bound[1] for name, bound in bounds.items()},
                "kg_co2e_per_hour": self.kg_co2e_per_hour,
                "deploy": self.deploy,
            },
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "sensitivity": [
                {"load_ratio": load, **found.to_dict()} for load, found in self.sensitivity
            ],
            "pareto": [
                {"users": users, "tokens_per_s_per_user": user, "tokens_per_s_per_device": device}
                for users, user, device in best.replica.curve
            ],
            "disaggregated": self.pools
            and {
                "prompt_replicas": self.pools.prompts,
                "generation_replicas": self.pools.generation,
                "measured": self.pools.measured.to_dict(),
            },
            "mix": self.mix and self.mix.to_dict(),
            "searched": self.searched,
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON text with sorted keys."""
        import json

        return json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False)

    def _repr_html_(self) -> str:
        from costsim.reporting import render
        from costsim.reporting.serving_report import serving_report

        return render(serving_report(self), "html")
