"""Serving engines as profiles: what they reserve, how they batch, what a step costs the host.

The profiles are in `hardware_specs/calibration/engines.yaml`, each value with its source; those
that were fitted on measured runs are written there by benchmarks/calibration/fit_inference.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal

from costsim.errors import CatalogError, SpecError, UnknownNameError, suggestion
from costsim.resources import packaged_yaml


@dataclass(frozen=True, slots=True)
class Speculation:
    """Speculative decoding: a step checks tokens that something cheaper has drafted.

    Attributes:
        tokens: drafted a step, for each request; 0 = none are.
        accepted: mean tokens that a step yields, its own included: from 1 to `tokens` + 1.
        draft_ratio: time of drafting one token over that of a step of the model.
    """

    tokens: int = 0
    accepted: float = 1.0
    draft_ratio: float = 0.0

    def __post_init__(self) -> None:
        if not 1.0 <= self.accepted <= self.tokens + 1:
            raise SpecError(
                f"a step that drafts {self.tokens} tokens yields from 1 to {self.tokens + 1}, "
                f"not {self.accepted:g}"
            )


@dataclass(frozen=True, slots=True)
class Engine:
    """What an engine does beside running the model.

    Attributes:
        name: key in engines.yaml.
        memory_ratio: share of a device's memory that it may use, or of what is free after loading.
        memory_of: which of the two: "total" or "free".
        cache: format of keys and values beside weights of 8 bits and fewer.
        block_tokens: positions in a block of the cache.
        max_batched_tokens: tokens of a step, those generated and those of prompts.
        max_sequences: requests in a step.
        reserved_ratio: share of a request's output for which it waits to have room: 1 where none
            is ever thrown out again, 0.5 = the mean of what is there while it grows.
        other_bytes: what communication and kernels allocate outside of the model.
        kernel_ratio: time of a step over that of its kernels timed alone.
        experts_ratio: time of routed experts over that of evenly routed ones.
        host_step_s: time of a step in which the device waits for the host.
        host_sequence_s: the same of each request in it.
        launch_s: time that the device waits for the launch of a kernel where no graph is captured,
            as in steps with a piece of a prompt.
        prompt_s: time of receiving a request, its tokens and answer apart from all steps.
        prompt_ratio: time of a piece of a prompt over that of its kernels timed alone.
        stage_ratio: what each further stage of a pipeline adds to a turn, in turns: micro-batches
            of unequal length wait for each other.
        queue_ratio: wait of a prompt behind others over that of random arrivals (1).
        source: where the values come from.
        speculation: tokens that are drafted and checked; of a deployment, not of a profile.
    """

    name: str
    memory_ratio: float
    memory_of: Literal["total", "free"]
    cache: str
    block_tokens: int
    max_batched_tokens: int
    max_sequences: int
    reserved_ratio: float
    other_bytes: float
    kernel_ratio: float
    experts_ratio: float
    host_step_s: float
    host_sequence_s: float
    launch_s: float
    prompt_s: float
    prompt_ratio: float
    stage_ratio: float
    queue_ratio: float
    source: str
    speculation: Speculation = Speculation()


@dataclass(frozen=True, slots=True)
class Benchmark:
    """How published closed-loop benchmarks are run.

    Attributes:
        burst_ratio: share of the requests that all arrive at once at the start.
    """

    burst_ratio: float


def _table() -> dict[str, Any]:
    return packaged_yaml("hardware_specs", "calibration/engines.yaml")


def engine_names() -> tuple[str, ...]:
    """Return the names of all profiles."""
    return tuple(_table()["engines"])


@cache
def load_engine(name: str = "generic") -> Engine:
    """Return the profile called `name`: its own values over those common to all.

    Raises:
        UnknownNameError: if there is none.
        CatalogError: if it lacks a value or has one too many.
    """
    profiles = _table()["engines"]
    if name not in profiles:
        raise UnknownNameError(f"unknown engine `{name}`", hint=suggestion(name, profiles))
    own = profiles[name]
    row: dict[str, Any] = {"name": name, "source": own["source"], **own["settings"]}
    row |= {**_table()["common"], **own["fitted"]}
    known = {field.name for field in fields(Engine)} - {"speculation"}
    if wrong := known ^ row.keys():
        listed = ", ".join(f"`{key}`" for key in sorted(wrong))
        raise CatalogError(f"engine `{name}` has missing or unknown values: {listed}")
    return Engine(**row)


@cache
def load_benchmark() -> Benchmark:
    """Return how published closed-loop benchmarks are run."""
    return Benchmark(**_table()["benchmark"])
