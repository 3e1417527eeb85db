"""Serving engines: how a release is launched by default, and what its steps cost beside kernels.

Defaults by engine and release are in `hardware_specs/engines/`, each with its source; constants
fitted on measured runs are in `hardware_specs/calibration/engines.yaml`, by profile. One `Engine`
is the settings of a scenario, of a row of measured runs and of the command that starts it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Literal, TypeAlias

from costsim.errors import CatalogError, SpecError, UnknownNameError, suggestion
from costsim.resources import data_folder, packaged_yaml

Scheduler: TypeAlias = Literal["mixed", "prefill_first"]
_UNITS = {"GiB": 2.0**30, "GB": 1e9}


@dataclass(frozen=True, slots=True)
class Speculation:
    """Speculative decoding: a step checks tokens that something cheaper has drafted.

    Attributes:
        tokens: drafted a step, for each request; 0 = none are.
        accepted: mean tokens that a step yields, its own included: from 1 to `tokens` + 1.
        draft_ratio: time of drafting one token over that of a step of the model.
        method: how the engine calls it: "eagle3", "mtp", "ngram", "draft_model".
    """

    tokens: int = 0
    accepted: float = 1.0
    draft_ratio: float = 0.0
    method: str = ""

    def __post_init__(self) -> None:
        if not 1.0 <= self.accepted <= self.tokens + 1:
            raise SpecError(
                f"a step that drafts {self.tokens} tokens yields from 1 to {self.tokens + 1}, "
                f"not {self.accepted:g}"
            )


@dataclass(frozen=True, slots=True)
class Engine:
    """How an engine is launched, and what it does beside running the model.

    Attributes:
        name: id of its file in hardware_specs/engines.
        version: as asked for; "" = the newest release known.
        profile: whose constants these are.
        memory_ratio: share of a device's memory that it may use, or of what is free after loading.
        memory_of: which of the two: "total" or "free".
        cache: format of keys and values beside weights of 8 bits and fewer.
        block_tokens: positions in a block of the cache.
        max_batched_tokens: tokens of a step, those generated and those of prompts.
        max_sequences: requests in a step, of each attention rank.
        reserved_ratio: share of a request's output for which it waits to have room: 1 where none
            is ever thrown out again, 0.5 = the mean of what is there while it grows.
        other_bytes: what communication and kernels allocate outside of the model.
        scheduler: "mixed" = pieces of prompts beside generation; "prefill_first" = waiting prompts
            run in steps of their own, before generation goes on.
        grouped_attention: whether attention over the cache reads a key once for all heads that
            share it.
        fused_attention: whether prompts attend without writing scores to memory.
        pipelined_prompts: whether pieces of one prompt follow each other through stages.
        kernel_ratio: time of a step over that of its kernels timed alone.
        prompt_ratio: time of a piece of a prompt over that of its kernels timed alone.
        experts_ratio: time of routed experts over that of evenly routed ones.
        host_step_s: time of a step in which the device waits for the host.
        host_sequence_s: the same of each request in it.
        launch_s: time that a launch adds to the first token where no graph is captured, as in
            steps with a piece of a prompt.
        busy_launch_ratio: share of `launch_s` in which the device is kept from other work.
        prompt_s: time of receiving a request, its tokens and answer apart from all steps.
        stage_ratio: what each further stage of a pipeline adds to a turn, in turns: micro-batches
            of unequal length wait for each other.
        queue_ratio: wait of a prompt behind others over that of random arrivals (1).
        lockstep_ratio: how far attention ranks wait for the one with a prompt: 1 in every step, 0
            never, as if prompts always came to all at once.
        shared_ratio: prompts that join a step over those that come while the one before runs.
        cluster_ratio: of requests of equal length that started together, how far they stay so.
        residual_ratio: rest of the step under way when a prompt comes, in steps.
        source: where the settings come from.
        speculation: tokens that are drafted and checked; of a deployment, not of a release.
        max_model_len: longest request; None = as the model allows.
        prefix_caching: whether prompts that begin alike are computed once.
    """

    name: str
    version: str
    profile: str
    memory_ratio: float
    memory_of: Literal["total", "free"]
    cache: str
    block_tokens: int
    max_batched_tokens: int
    max_sequences: int
    reserved_ratio: float
    other_bytes: float
    scheduler: Scheduler
    grouped_attention: bool
    fused_attention: bool
    pipelined_prompts: bool
    kernel_ratio: float
    prompt_ratio: float
    experts_ratio: float
    host_step_s: float
    host_sequence_s: float
    launch_s: float
    busy_launch_ratio: float
    prompt_s: float
    stage_ratio: float
    queue_ratio: float
    lockstep_ratio: float
    shared_ratio: float
    cluster_ratio: float
    residual_ratio: float
    source: str
    speculation: Speculation = Speculation()
    max_model_len: int | None = None
    prefix_caching: bool = True

    def launched(self, **settings: Any) -> Engine:
        """Return the engine launched with `settings` in place of its defaults.

        Raises:
            SpecError: for each setting that is unknown, or no value that it can have.
        """
        problems: list[str] = []
        for key, value in settings.items():
            problem = _wrong(key, value)
            if problem:
                problems.append(problem)
        if problems:
            raise SpecError("; ".join(problems))
        return replace(self, **settings)


# Settings that may be given, and between what they lie.
SETTINGS: Mapping[str, tuple[float, float]] = {
    "memory_ratio": (0.01, 1.0),
    "block_tokens": (1, 4096),
    "max_batched_tokens": (1, 10**7),
    "max_sequences": (1, 10**6),
    "max_model_len": (1, 10**8),
}
_SCHEDULERS = ("mixed", "prefill_first")


def _wrong(key: str, value: Any) -> str:
    """Return what is wrong with a setting; "" if nothing."""
    if key == "scheduler":
        return (
            ""
            if value in _SCHEDULERS
            else f"scheduler must be mixed or prefill_first, not {value!r}"
        )
    if key in ("prefix_caching", "speculation", "cache"):
        return ""
    if key not in SETTINGS:
        return f"unknown setting `{key}`; known: {', '.join(sorted((*SETTINGS, 'scheduler')))}"
    low, high = SETTINGS[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return f"{key} must lie between {low:g} and {high:g}, not {value!r}"
    return ""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """How published closed-loop benchmarks are run.

    Attributes:
        burst_ratio: share of the requests that all arrive at once at the start.
    """

    burst_ratio: float


def _constants() -> dict[str, Any]:
    return packaged_yaml("hardware_specs", "calibration/engines.yaml")


@cache
def _files() -> dict[str, dict[str, Any]]:
    folder = data_folder("hardware_specs") / "engines"
    found = [
        packaged_yaml("hardware_specs", f"engines/{p.name}")
        for p in sorted(folder.glob("*.yaml"))
        if p.name != "launch.yaml"
    ]
    return {row["id"]: row for row in found}


@cache
def _names() -> dict[str, str]:
    """Return ids by every name that an engine has."""
    return {
        name: row["id"] for row in _files().values() for name in (row["id"], *row.get("also", ()))
    }


def engine_names() -> tuple[str, ...]:
    """Return the names of all engines."""
    return tuple(_files())


def profile_names() -> tuple[str, ...]:
    """Return the names of all profiles of constants that releases run under."""
    rows = [release for row in _files().values() for release in _releases(row)]
    return tuple(sorted({release["profile"] for release in rows}))


def _releases(row: dict[str, Any]) -> list[dict[str, Any]]:
    found = list(row["releases"])
    for more in row.get("vendors", {}).values():
        found += more
    return found


@cache
def load_engine(
    name: str = "generic",
    version: str = "",
    *,
    vendor: str = "",
    device: str = "",
    memory_bytes: float = 1e12,
) -> Engine:
    """Return the defaults and constants of an engine's release.

    Args:
        name: of the engine, with its version behind a slash if there is one: "vllm/0.11.0".
        version: of the release; the newest if not given.
        vendor: of the device, whose kernels may be other ones.
        device: id of its accelerator.
        memory_bytes: of the device: small ones have shorter steps.

    Raises:
        UnknownNameError: if there is none of that name.
        CatalogError: if its file lacks a value or has one too many.
    """
    name, _, behind = name.lower().partition("/")
    version = version or behind
    if name not in _names():
        raise UnknownNameError(f"unknown engine `{name}`", hint=suggestion(name, _names()))
    row = _files()[_names()[name]]
    settings: dict[str, Any] = {}
    last: dict[str, Any] = {}
    small = memory_bytes < _bytes(row.get("small_below", "0 GB")) or device in row.get(
        "small_also", ()
    )
    releases = [r for r in row["releases"] if not _before(version, r["since"])]
    for own in row.get("vendors", {}).get(vendor, ()):  # only where the version is known
        if (
            _numbers(version)
            and not _before(version, own["since"])
            and _before(version, own["before"])
        ):
            releases.append(own)
    for release in releases:
        settings |= release["settings"]
        if small:
            settings |= release.get("small", {})
        last = release
    constants = {**_constants()["common"], **_constants()["profiles"].get(last["profile"], {})}
    values: dict[str, Any] = {
        "name": row["id"],
        "version": version,
        "profile": last["profile"],
        "source": last["source"],
    }
    values |= settings | constants
    optional = {"speculation", "max_model_len", "prefix_caching"}
    known = {field.name for field in fields(Engine)} - optional
    if wrong := known ^ values.keys():
        listed = ", ".join(f"`{key}`" for key in sorted(wrong))
        raise CatalogError(f"engine `{name}` has missing or unknown values: {listed}")
    return Engine(**values)


def _before(version: str, since: str) -> bool:
    """Return whether `version` is older than `since`; one that states no number is the newest."""
    own = _numbers(version)
    return bool(own) and own < _numbers(since)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version: "v0.11.0rc3" is (0, 11, 0); a date or word has none."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version.strip())
    if found is None or (int(found[1].split(".")[0]) > 1900):
        return (0,) if re.match(r"(2023|2024)", version) else ()
    return tuple(int(part) for part in found[1].split("."))


def _bytes(text: str) -> float:
    value, unit = text.split()
    return float(value) * _UNITS[unit]


@cache
def load_benchmark() -> Benchmark:
    """Return how published closed-loop benchmarks are run."""
    return Benchmark(**_constants()["benchmark"])


def usual_acceptance(tokens: int) -> float:
    """Return the mean tokens that a step with `tokens` drafts yields, where none is stated.

    Each further draft counts only if all before it were accepted: 1 + a + … + aᵏ.
    """
    share = float(_constants()["draft_acceptance"]["ratio"])
    return sum(share**k for k in range(tokens + 1))
