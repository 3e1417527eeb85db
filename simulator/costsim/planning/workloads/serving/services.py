"""The two kinds of service: answers token by token, and samples passed forward in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from costsim.architectures.architecture import Architecture
from costsim.compression.cache import cached_in
from costsim.compression.published import as_published
from costsim.hardware import System
from costsim.inference.deployment import Deployed, Deployment
from costsim.inference.engines import Engine
from costsim.inference.formats import format_named
from costsim.inference.layout import Layout, Quantization
from costsim.inference.metrics import Objective
from costsim.inference.phases import estimate_inference
from costsim.inference.simulation import Limits
from costsim.inference.steady import open_loop
from costsim.inference.step_times import StepTimes
from costsim.inference.traffic import Traffic
from costsim.planning.workloads.serving.replicas import Replica, layouts_of, search_replicas
from costsim.planning.workloads.serving.spec import Passing, ServedOn, Serving
from costsim.planning.workloads.serving.traffic import mean_lengths

_NARROW = ("fp8", "fp8_block", "mxfp8", "nvfp4", "mxfp4", "int8")


@dataclass(frozen=True, slots=True)
class Served:
    """What is served: a model, compressed or not, by an engine, for a traffic."""

    model: Architecture
    engine: Engine
    traffic: Traffic
    precisions: tuple[str, ...]


class Service(Protocol):
    """What planning asks of a kind of service."""

    @property
    def objective(self) -> Objective:
        """What is promised."""
        ...

    def replicas(self, system: System) -> Sequence[Replica]:
        """Return the kinds of replica on a system that have room for a request."""
        ...

    def deployment(self, kind: Replica) -> Deployed:
        """Return what a simulation runs."""
        ...

    def prompt_share(self, kind: Replica, replicas: int) -> float:
        """Return the share of a replica's working time that prompts take."""
        ...


def service_of(workload: Serving | Passing, hardware: ServedOn, served: Served) -> Service:
    """Return the kind of service that a workload is."""
    if isinstance(workload, Serving):
        return TokenService(hardware, workload, served)
    return PassService(hardware, workload, served)


@dataclass(frozen=True, slots=True)
class TokenService:
    """Prompts that are answered token by token."""

    hardware: ServedOn
    workload: Serving
    served: Served

    @property
    def objective(self) -> Objective:
        """What is promised."""
        slo = self.workload.slo
        return Objective(slo.ttft, slo.tpot, slo.e2e, slo.percentile)

    def replicas(self, system: System) -> Sequence[Replica]:
        """Return the kinds of replica on a system that have room for a request."""
        served, hardware = self.served, self.hardware
        layouts = layouts_of(served.model, system, hardware.replica_devices, hardware.cp)
        found: list[Replica] = []
        for name in served.precisions if layouts else ():
            found += search_replicas(
                as_published(served.model, name),
                system,
                layouts,
                self._quantization(name),
                served.engine,
                mean_lengths(served.traffic),
                self.objective,
            )
        return found

    def deployment(self, kind: Replica) -> Deployment:
        """Return what a simulation runs."""
        served = self.served
        model = as_published(served.model, kind.quantization.dense)
        return Deployment(model, kind.system, kind.layout, kind.quantization, served.engine)

    def prompt_share(self, kind: Replica, replicas: int) -> float:
        """Return the share of a replica's working time that prompts take."""
        found = open_loop(
            self.deployment(kind).tables,
            self.served.engine,
            np.array([0]),
            np.array([self.workload.requests_per_s / replicas]),
            np.array([kind.slots]),
            mean_lengths(self.served.traffic).columns(1),
        )
        return float(found.prompt_share[0])

    def _quantization(self, name: str) -> Quantization:
        dense = format_named(name)
        usual = self.served.engine.cache if dense in _NARROW else "bf16"
        usual = "fp8" if cached_in(self.served.model) == "fp8" else usual
        return Quantization(dense, dense, self.hardware.cache or usual)


@dataclass(frozen=True, slots=True)
class Batches:
    """A server that passes whatever waits forward together, up to a limit."""

    times: StepTimes
    limits: Limits


@dataclass(frozen=True, slots=True)
class PassService:
    """Samples that pass forward, as many at once as wait; a model on each device."""

    hardware: ServedOn
    workload: Passing
    served: Served

    @property
    def objective(self) -> Objective:
        """What is promised."""
        return Objective(e2e_s=self.workload.latency, percentile=self.workload.percentile)

    def replicas(self, system: System) -> Sequence[Replica]:
        """Return one device in each format that the model fits on."""
        found: list[Replica] = []
        for name in self.served.precisions:
            batches, seconds = self._passes(system, name)
            if not batches:
                continue
            bound = self.workload.latency or np.inf
            rates = [b / s for b, s in zip(batches, seconds, strict=True) if s <= bound]
            # Latency against throughput, as a user and a device see it: results a second each.
            curve = tuple((float(b), 1.0 / s, b / s) for b, s in zip(batches, seconds, strict=True))
            found.append(
                Replica(
                    system.with_count(1),
                    Layout(),
                    Quantization(name, name),
                    float(batches[-1]),
                    0.8 * max(rates, default=0.0),
                    curve,
                )
            )
        return found

    def deployment(self, kind: Replica) -> Batches:
        """Return what a simulation runs: a step is a pass of all that wait."""
        batches = [0.0, *(batch for batch, *_ in kind.curve)]
        seconds = [0.0, *(1.0 / result for _, result, _ in kind.curve)]
        most = int(batches[-1])
        each = np.interp(np.arange(most + 1), batches, seconds)
        each[: int(batches[1])] = seconds[1]
        times = StepTimes(
            base_s=[0.0, 0.0],
            slope_s=[0.0, 0.0],
            tokens_s=each.tolist(),
            launch_s=0.0,
            receive_s=0.0,
            lengths=np.array([1.0, 2.0]),
            attention_s=np.zeros(2),
            prompt_ratio=1.0,
        )
        return Batches(times, Limits(most, most))

    def prompt_share(self, kind: Replica, replicas: int) -> float:
        """Return 1: there is nothing but passes."""
        del kind, replicas
        return 1.0

    def _passes(self, system: System, precision: str) -> tuple[list[int], list[float]]:
        """Return batches that fit, powers of two, and seconds of a request's passes in each."""
        workload, engine = self.workload, self.served.engine
        batches: list[int] = []
        seconds: list[float] = []
        batch = 1
        while batch <= workload.max_batch:
            one = estimate_inference(
                self.served.model,
                system.with_count(1),
                phase="forward",
                batch=batch * workload.samples,
                sequence=workload.sequence,
                precision=precision,
            )
            if not one.fits:
                break
            batches.append(batch)
            seconds.append(workload.passes * (one.latency_s + engine.host_step_s))
            batch *= 2
        return batches, seconds
