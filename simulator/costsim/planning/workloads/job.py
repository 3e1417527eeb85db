"""A job: a fixed number of requests, answered within a time, by a fleet held for that long."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, cast

from pydantic import Field

from costsim.planning.scenario import PositiveInt, Scenario
from costsim.planning.workloads.serving.spec import (
    Launched,
    Passing,
    ServedOn,
    ServedScenario,
    Serving,
)
from costsim.planning.workloads.serving.workload import ServingWorkload
from costsim.quantities import Ratio, Samples, Seconds

_HOUR_S = 3600.0


class Job(Launched):
    """Requests to answer, all of which are there from the start."""

    kind: Literal["job"]
    requests: Annotated[Samples, Field(gt=0)]
    """How many requests, such as `50 M samples` or `50e6`."""
    within: Annotated[Seconds, Field(gt=0)]
    """How long the devices are held for them, such as `24 h`."""
    input_tokens: PositiveInt
    """Mean tokens of a prompt."""
    output_tokens: PositiveInt
    """Mean tokens generated."""
    spread: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Lengths are uniform within this share of the mean on both sides."""
    cached: Ratio = 0.0
    """Share of each prompt that a prefix cache has, such as `80 %`."""
    engine: str = "vllm"
    """Engine of hardware_specs/engines, with its release behind a slash: `vllm/0.11`."""


class JobScenario(ServedScenario):
    """A job to plan."""

    workload: Job
    """The requests, and how long they may take."""
    hardware: ServedOn  # pyright: ignore[reportIncompatibleVariableOverride]
    """What it may run on; no replica is spare, and none is switched off."""


class JobWorkload(ServingWorkload):
    """A fixed amount of inference: a service at the rate that gets it done, with nothing spare."""

    scenario_type: ClassVar[type[Scenario]] = JobScenario
    verb: ClassVar[str] = "running"

    def asked(self) -> tuple[Serving | Passing, ServedOn, float]:
        """Return the job as requests at an even rate for as many hours as it has."""
        scenario = cast("JobScenario", self.study.scenario)
        job = scenario.workload
        work = Serving(
            kind="inference",
            requests_per_s=job.requests / job.within,
            input_tokens=job.input_tokens,
            output_tokens=job.output_tokens,
            spread=job.spread,
            cached=job.cached,
            engine=job.engine,
            **{key: getattr(job, key) for key in Launched.model_fields},
        )
        hardware = scenario.hardware.model_copy(update={"spare": 0, "autoscale": False})
        return work, hardware, job.within / _HOUR_S
