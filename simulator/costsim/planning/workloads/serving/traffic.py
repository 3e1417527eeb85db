"""The traffic of a scenario as requests to simulate, and what they are on the mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from costsim.inference.traces import read_trace
from costsim.inference.traffic import Traffic, random_traffic
from costsim.planning.workloads.serving.replicas import Lengths
from costsim.planning.workloads.serving.spec import Passing, Serving

_SIMULATED_S = 180.0  # that a simulation covers, within these numbers of requests
_FEWEST, _MOST = 2_000, 12_000


def token_traffic(workload: Serving, folder: Path) -> Traffic:
    """Return recorded or random requests at the busiest rate.

    Raises:
        SpecError: if the trace cannot be read.
    """
    if workload.trace is not None:
        recorded = read_trace(folder / workload.trace)
        return recorded.part(slice(0, _MOST)).at_rate(workload.requests_per_s)
    assert workload.input_tokens is not None
    assert workload.output_tokens is not None
    return random_traffic(
        workload.requests_per_s,
        _number(workload.requests_per_s),
        workload.input_tokens,
        workload.output_tokens,
        burstiness=workload.burstiness,
        spread=workload.spread,
        cached_ratio=workload.cached,
    )


def pass_traffic(workload: Passing) -> Traffic:
    """Return requests of one sample each: a prompt of one token, answered by one."""
    rate = workload.requests_per_s
    return random_traffic(rate, _number(rate), 1, 1, burstiness=workload.burstiness)


def mean_lengths(traffic: Traffic) -> Lengths:
    """Return the mean lengths of `traffic`."""
    computed = (traffic.input_tokens - traffic.cached_tokens).astype(np.float64)
    return Lengths(
        input_tokens=float(traffic.input_tokens.mean()),
        cached_tokens=float(traffic.cached_tokens.mean()),
        output_tokens=float(traffic.output_tokens.mean()),
        variation=float((computed.std() / computed.mean()) ** 2),
        longest_tokens=float((traffic.input_tokens + traffic.output_tokens).max()),
    )


def _number(rate_per_s: float) -> int:
    return int(np.clip(rate_per_s * _SIMULATED_S, _FEWEST, _MOST))
