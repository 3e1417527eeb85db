"""A scenario of a service: a model, a traffic, objectives, and devices to compare, as YAML."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from costsim.planning.scenario import Axis, Machines, Names, PositiveInt, Scenario, Spec
from costsim.quantities import Ratio, Seconds, Usd


class Objectives(Spec):
    """What the service promises; at least one bound, kept by `percentile` of requests."""

    ttft: Seconds | None = None
    """Time to the first token, such as `500 ms`."""
    tpot: Seconds | None = None
    """Mean time of each further token of a request, such as `50 ms`."""
    e2e: Seconds | None = None
    """Time to the last token."""
    percentile: Annotated[float, Field(gt=0, le=100)] = 99.0
    """Share of requests in percent that must keep within."""


class Drafts(Spec):
    """Speculative decoding: tokens that a draft model or extra heads propose, checked together."""

    tokens: PositiveInt
    """Tokens drafted a step."""
    accepted: Annotated[float, Field(ge=1)]
    """Mean tokens that a step yields, its own included (the acceptance length)."""
    draft: Ratio = 0.05
    """Time of drafting one token over that of a step of the model, such as `5 %`."""
    method: Literal["draft_model", "eagle", "eagle3", "medusa", "mtp", "ngram"] | None = None
    """How tokens are drafted, for the command that starts a replica; left out, it has no drafts."""
    model: str | None = None
    """Checkpoint that drafts, for the same command."""


class Launched(Spec):
    """How the engine is launched, in vLLM's words; left out, as its release does by default."""

    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of a device's memory that the engine may use."""
    max_model_len: PositiveInt | None = None
    """Longest request, prompt and answer; left out, as long as the requests are."""
    max_num_seqs: PositiveInt | None = None
    """Requests in a step."""
    max_num_batched_tokens: PositiveInt | None = None
    """Tokens of a step, those generated and those of prompts."""
    block_size: PositiveInt | None = None
    """Positions in a block of the cache."""
    scheduler: Literal["mixed", "prefill_first"] | None = None
    """Whether pieces of prompts join steps of generation, or waiting prompts run first."""

    def settings(self) -> dict[str, Any]:
        """Return what is stated, by the names that `costsim.inference.engines.Engine` has."""
        return {
            setting: value
            for key, setting in _SETTINGS.items()
            if (value := getattr(self, key)) is not None
        }


_SETTINGS = {
    "gpu_memory_utilization": "memory_ratio",
    "max_model_len": "max_model_len",
    "max_num_seqs": "max_sequences",
    "max_num_batched_tokens": "max_batched_tokens",
    "block_size": "block_tokens",
    "scheduler": "scheduler",
}


class Serving(Launched):
    """Requests to answer."""

    kind: Literal["inference"]
    requests_per_s: Annotated[float, Field(ge=1e-9, le=1e12)]
    """Requests a second, at the busiest time."""
    input_tokens: Annotated[PositiveInt, Field(le=10**9)] | None = None
    """Mean tokens of a prompt; not with a trace."""
    output_tokens: Annotated[PositiveInt, Field(le=10**9)] | None = None
    """Mean tokens generated; not with a trace."""
    trace: str | None = None
    """Recorded requests (Azure CSV, vLLM bench JSON, or one's own), stretched to the rate."""
    spread: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Lengths are uniform within this share of the mean on both sides."""
    cached: Annotated[Ratio, Field(le=1)] = 0.0
    """Share of each prompt that a prefix cache has, such as `80 %`."""
    burstiness: Annotated[float, Field(ge=0.001, le=1e6)] = 1.0
    """Shape of the gamma distribution of the time between requests; 1 is Poisson."""
    mean_ratio: Annotated[float, Field(ge=0.5, le=1)] = 1.0
    """Mean rate of a day over that of its busiest time."""
    slo: Objectives = Objectives()
    """Objectives; without any, only throughput and memory decide."""
    engine: str = "vllm"
    """Engine of hardware_specs/engines, with its release behind a slash: `vllm/0.11`."""
    speculation: Drafts | None = None
    """Speculative decoding."""

    @model_validator(mode="after")
    def _lengths(self) -> Serving:
        stated = self.input_tokens is not None and self.output_tokens is not None
        if self.trace is None and not stated:
            raise ValueError("state `input_tokens` and `output_tokens`, or a `trace`")
        if self.trace is not None and (self.input_tokens or self.output_tokens):
            raise ValueError("lengths come from the trace: leave the others out")
        return self


class Passing(Spec):
    """Samples to pass forward: texts to encode, images to classify or to make."""

    kind: Literal["forward"]
    requests_per_s: Annotated[float, Field(ge=1e-9, le=1e12)]
    """Requests a second, at the busiest time."""
    sequence: PositiveInt = 512
    """Tokens of a text; of no effect on images."""
    passes: PositiveInt = 1
    """Passes in a row for a request: the steps of a diffusion model."""
    samples: PositiveInt = 1
    """Samples of a request in each pass: 2 with classifier-free guidance."""
    max_batch: Annotated[int, Field(ge=1, le=1024)] = 64
    """Requests in a pass at most."""
    burstiness: Annotated[float, Field(ge=0.001, le=1e6)] = 1.0
    """Shape of the gamma distribution of the time between requests; 1 is Poisson."""
    mean_ratio: Annotated[float, Field(ge=0.5, le=1)] = 1.0
    """Mean rate of a day over that of its busiest time."""
    latency: Seconds | None = None
    """Time from a request to its result that `percentile` of requests keep within."""
    percentile: Annotated[float, Field(gt=0, le=100)] = 99.0
    """Share of requests in percent that must keep within."""


class ServedOn(Machines):
    """What it may run on."""

    available: dict[str, PositiveInt] | None = None
    """Devices of a `system` that there are at most, by its id; one left out has no limit."""
    precision: Names | None = None
    """Formats of weights to compare: bf16, fp8, nvfp4, w8a16, w4a16, …; left out, as the model is
    published."""
    cache: Literal["bf16", "fp8"] | None = None
    """Format of keys and values; left out, as the engine has it beside such weights."""
    replica_devices: Axis | None = None
    """Devices of a replica; left out, powers of two up to a node."""
    cp: Axis | None = None
    """Context parallelism: ranks that divide a prompt and its cache; left out, 1."""
    spare: Annotated[int, Field(ge=0)] = 1
    """Replicas beyond those needed, for when one fails."""
    autoscale: bool = True
    """Whether replicas are switched off when there are fewer requests."""

    @model_validator(mode="after")
    def _available(self) -> ServedOn:
        for name in self.available or ():
            if name not in self.system:
                listed = ", ".join(f"`{one}`" for one in self.system)
                raise ValueError(f"`available` names `{name}`, which `system` does not: {listed}")
        return self


class ServiceProject(Spec):
    """What is paid for around a service; what is left out is shown as not budgeted."""

    setup: Usd | None = None
    """Before the first request, such as integration and tests: `50000 $`."""
    staff: Usd | None = None
    """People, for all the time that it is held."""
    contingency: Ratio | None = None
    """Share of everything else that is kept for the unexpected, such as `10 %`."""


class ServedScenario(Scenario):
    """What services and jobs have alike."""

    project: ServiceProject = ServiceProject()
    """What is paid for around it."""
    price_ratio: Annotated[float, Field(gt=0)] | None = None
    """What an output token costs over an input token where both are priced, such as `4`; left out,
    prices by this convention are not given."""


class ServiceScenario(ServedScenario):
    """A service to plan."""

    workload: Annotated[Serving | Passing, Field(discriminator="kind")]
    """The traffic and what is promised."""
    hardware: ServedOn  # pyright: ignore[reportIncompatibleVariableOverride]
    """What it may run on."""
    months: Annotated[float, Field(gt=0)] = 12.0
    """How long the service is held: what totals are of."""
