"""What a simulation measured: the rows of `vllm bench serve`, goodput, and use over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from costsim.inference.layout import Array
from costsim.inference.simulation import Served
from costsim.inference.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Objective:
    """A service-level objective: every bound that is given must hold at `percentile`.

    Attributes:
        ttft_s: time to the first token.
        tpot_s: mean time of a further token of a request.
        e2e_s: time to the last token.
        percentile: of requests that must keep within, from 0 to 100.
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    percentile: float = 99.0


@dataclass(frozen=True, slots=True)
class Distribution:
    """Mean, standard deviation and percentiles of a latency, in seconds."""

    mean_s: float
    std_s: float
    median_s: float
    p90_s: float
    p95_s: float
    p99_s: float

    @classmethod
    def of(cls, values: Array, weights: Array | None = None) -> Distribution:
        """Return the distribution of `values`, each counting `weights` times."""
        if not len(values):
            return cls(*(0.0 for _ in range(6)))
        if weights is None:
            mean, std = float(values.mean()), float(values.std())
            points = np.quantile(values, (0.5, 0.9, 0.95, 0.99))
        else:
            order = np.argsort(values)
            share = np.cumsum(weights[order]) / weights.sum()
            mean = float(np.average(values, weights=weights))
            std = float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
            last = len(values) - 1
            at = np.minimum(np.searchsorted(share, (0.5, 0.9, 0.95, 0.99)), last)
            points = values[order][at]
        return cls(mean, std, *(float(point) for point in points))

    def to_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a deployment.

    Attributes:
        completed: requests.
        duration_s: from the first arrival to the last token.
        input_tokens: of all prompts.
        output_tokens: generated.
        request_per_s: requests a second.
        output_tokens_per_s: of the deployment.
        total_tokens_per_s: with those of prompts.
        ttft: time to the first token.
        tpot: mean time of a further token, by request.
        itl: time between any two tokens.
        e2e: time to the last token.
        goodput_per_s: requests a second within the objective; all if there is none.
        attainment_ratio: share of requests within it.
        preemptions: requests thrown out of the cache.
        growth_ratio: seconds that the wait for a first token grows by in a second, in the second
            half of the run: about 0, unless more comes than is served.
        busy_ratio: share of the time that replicas work.
        over_time: in equal parts of the duration: busy ratio, mean requests, mean positions held.
    """

    completed: int
    duration_s: float
    input_tokens: int
    output_tokens: int
    request_per_s: float
    output_tokens_per_s: float
    total_tokens_per_s: float
    ttft: Distribution
    tpot: Distribution
    itl: Distribution
    e2e: Distribution
    goodput_per_s: float
    attainment_ratio: float
    preemptions: int
    growth_ratio: float
    busy_ratio: float
    over_time: tuple[dict[str, float], ...]

    def meets(self, objective: Objective) -> bool:
        """Whether as many requests keep within `objective` as it asks for."""
        return self.attainment_ratio >= objective.percentile / 100.0

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name, keys with their units."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            name: value.to_dict() if isinstance(value, Distribution) else value
            for name, value in found.items()
        }

    def rows(self) -> list[tuple[str, str, float]]:
        """Return label, unit and value as `vllm bench serve` prints them."""
        found = [
            ("Successful requests", "", float(self.completed)),
            ("Benchmark duration", "s", self.duration_s),
            ("Total input tokens", "", float(self.input_tokens)),
            ("Total generated tokens", "", float(self.output_tokens)),
            ("Request throughput", "req/s", self.request_per_s),
            ("Request goodput", "req/s", self.goodput_per_s),
            ("Output token throughput", "tok/s", self.output_tokens_per_s),
            ("Total token throughput", "tok/s", self.total_tokens_per_s),
        ]
        for label, one in (
            ("TTFT", self.ttft),
            ("TPOT", self.tpot),
            ("ITL", self.itl),
            ("E2EL", self.e2e),
        ):
            found += [
                (f"Mean {label}", "ms", one.mean_s * 1e3),
                (f"Median {label}", "ms", one.median_s * 1e3),
                (f"P99 {label}", "ms", one.p99_s * 1e3),
            ]
        return found


def measured(
    parts: Sequence[tuple[Traffic, Served]],
    objective: Objective | None = None,
    *,
    bins: int = 24,
) -> Measured:
    """Return what the replicas of a deployment measured together.

    Args:
        parts: what each replica got and what became of it.
        objective: of goodput.
        bins: parts of the duration for use over time.
    """
    arrival = np.concatenate([t.arrival_s for t, _ in parts])
    first = np.concatenate([s.first_s for _, s in parts])
    end = np.concatenate([s.end_s for _, s in parts])
    inputs = np.concatenate([t.input_tokens for t, _ in parts])
    outputs = np.concatenate([t.output_tokens for t, _ in parts])
    duration = float(end.max() - arrival.min())
    ttft, e2e = first - arrival, end - arrival
    longer = outputs > 1
    tpot = (end - first)[longer] / (outputs[longer] - 1)
    steps = np.concatenate([s.segment_step_s for _, s in parts])
    weights = np.concatenate([s.segment_steps * s.segment_requests for _, s in parts])
    kept = weights > 0
    good = _within(ttft, end - first, outputs, e2e, objective)
    number = len(arrival)
    return Measured(
        completed=number,
        duration_s=duration,
        input_tokens=int(inputs.sum()),
        output_tokens=int(outputs.sum()),
        request_per_s=number / duration,
        output_tokens_per_s=float(outputs.sum()) / duration,
        total_tokens_per_s=float(inputs.sum() + outputs.sum()) / duration,
        ttft=Distribution.of(ttft),
        tpot=Distribution.of(tpot),
        itl=Distribution.of(steps[kept], weights[kept]),
        e2e=Distribution.of(e2e),
        goodput_per_s=float(good.sum()) / duration,
        attainment_ratio=float(good.mean()),
        growth_ratio=_growth(arrival, ttft),
        preemptions=sum(s.preemptions for _, s in parts),
        busy_ratio=sum(s.busy_s for _, s in parts) / (duration * len(parts)),
        over_time=_over_time([s for _, s in parts], duration, bins),
    )


def within(traffic: Traffic, served: Served, objective: Objective) -> np.ndarray[Any, Any]:
    """Return which requests of a replica keep within `objective`."""
    ttft, e2e = served.first_s - traffic.arrival_s, served.end_s - traffic.arrival_s
    lasted = served.end_s - served.first_s
    return _within(ttft, lasted, traffic.output_tokens, e2e, objective)


def _growth(arrival: Array, wait: Array) -> float:
    late = arrival >= np.median(arrival)
    spread = arrival[late] - arrival[late].mean()
    square = float((spread**2).sum())
    return float((spread * wait[late]).sum()) / square if square > 0 else 0.0


def _within(
    ttft: Array,
    generation_s: Array,
    outputs: np.ndarray[tuple[int], np.dtype[np.int64]],
    e2e: Array,
    objective: Objective | None,
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    good = np.ones(len(ttft), dtype=bool)
    if objective is None:
        return good
    if objective.ttft_s is not None:
        good &= ttft <= objective.ttft_s
    if objective.tpot_s is not None:
        good &= generation_s <= objective.tpot_s * np.maximum(outputs - 1, 0) + 1e-12
    if objective.e2e_s is not None:
        good &= e2e <= objective.e2e_s
    return good


def _over_time(
    replicas: Sequence[Served], duration_s: float, bins: int
) -> tuple[dict[str, float], ...]:
    busy, requests, positions = np.zeros(bins), np.zeros(bins), np.zeros(bins)
    width = duration_s / bins
    for one in replicas:
        spent = one.segment_step_s * one.segment_steps
        middle = one.segment_end_s - spent / 2
        index = np.clip((middle / width).astype(np.intp), 0, bins - 1)
        busy += np.bincount(index, spent, bins)
        requests += np.bincount(index, spent * one.segment_requests, bins)
        positions += np.bincount(index, spent * one.segment_positions, bins)
    whole = width * len(replicas)
    return tuple(
        {
            "at_s": float(width * (k + 0.5)),
            "busy_ratio": float(min(busy[k] / whole, 1.0)),
            "requests": float(requests[k] / whole),
            "cache_tokens": float(positions[k] / whole),
        }
        for k in range(bins)
    )
