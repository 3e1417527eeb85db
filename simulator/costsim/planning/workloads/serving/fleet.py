"""A fleet of equal replicas: how a candidate of a service runs, and what a plan adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from costsim.inference.engines import Engine
from costsim.inference.memory import KvCache
from costsim.inference.metrics import Measured, Objective
from costsim.planning.launch import Launch
from costsim.planning.workloads.serving.capacity import Day, Pools
from costsim.planning.workloads.serving.mix import Mix
from costsim.planning.workloads.serving.replicas import Replica


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet of equal replicas.

    Attributes:
        replica: what each is.
        replicas: that the busiest time needs.
        spare: more of them, for when one fails.
        measured: by simulation at the busiest time, without the spare ones.
        day: the fleet over a day.
        mean_requests_per_s: over the day.
        prompt_share: of the time of a replica that prompts take.
        launch: how a replica is started, where an engine does it.
        cache: what the cache of a replica's attention rank holds, where tokens are generated.
    """

    replica: Replica
    replicas: int
    spare: int
    measured: Measured
    day: Day
    mean_requests_per_s: float
    prompt_share: float
    launch: Launch | None = field(repr=False, default=None)
    cache: KvCache | None = None

    @property
    def devices(self) -> int:
        """Devices at the busiest time, spare ones included."""
        return (self.replicas + self.spare) * self.replica.layout.devices

    @property
    def mean_devices(self) -> float:
        """Devices that run, the mean of a day."""
        return self.day.replica_hours / len(self.day.replicas) * self.replica.layout.devices

    @property
    def tokens_per_hour(self) -> tuple[float, float]:
        """Tokens of prompts and of answers an hour, the mean of a day."""
        requests = self.mean_requests_per_s * 3600.0 / self.measured.completed
        return requests * self.measured.input_tokens, requests * self.measured.output_tokens

    def to_dict(self) -> dict[str, Any]:
        """Return the fleet as plain values, keys with their units."""
        layout, formats = self.replica.layout, self.replica.quantization
        names = ("tp", "pp", "attention_dp", "ep", "moe_tp", "cp")
        return {
            "layout": {name: getattr(layout, name) for name in names},
            "precision": formats.dense,
            "cache_dtype": formats.cache,
            "replica_devices": layout.devices,
            "replicas": self.replicas,
            "spare_replicas": self.spare,
            "mean_devices": self.mean_devices,
            "closed_form_requests_per_s_per_replica": self.replica.rate_per_s,
            "requests_per_replica_in_cache": self.replica.slots,
            "measured": self.measured.to_dict(),
            "day": {
                "requests_per_s": list(self.day.rates_per_s),
                "replicas": list(self.day.replicas),
            },
            "deploy": self.launch and self.launch.command,
            "kv_cache": self.cache and self.cache.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class ServiceDetails:
    """What the plan of a service adds to its candidates.

    `generates` is false where requests are samples that pass forward, whose only latency is that of
    the result; then a token stands for a sample. `pools` are the best replicas with prompts and
    generation apart, at the busiest time; None where no split of about as many does it. `mix` is a
    fleet of several kinds, where it is cheaper than the best of one or there are too few devices of
    each one alone: then it is the answer.
    """

    engine: Engine
    objective: Objective
    generates: bool
    sensitivity: tuple[tuple[float, Measured], ...]
    curve: tuple[tuple[float, float, float], ...]
    pools: Pools | None
    mix: Mix | None

    def to_dict(self) -> dict[str, Any]:
        """Return the details as plain values, keys with their units."""
        return {
            "sensitivity": [
                {"load_ratio": load, **found.to_dict()} for load, found in self.sensitivity
            ],
            "pareto": [
                {"users": users, "tokens_per_s_per_user": user, "tokens_per_s_per_device": device}
                for users, user, device in self.curve
            ],
            "disaggregated": self.pools
            and {
                "prompt_replicas": self.pools.prompts,
                "generation_replicas": self.pools.generation,
                "measured": self.pools.measured.to_dict(),
            },
            "mix": self.mix and self.mix.to_dict(),
        }


def busiest_requests_per_s(work: Mapping[str, Any]) -> float:
    """Return the requests a second that a scenario's `workload` states; a job's are even."""
    if "requests_per_s" in work:
        return float(work["requests_per_s"])
    return float(work["requests"]) / float(work["within"])
