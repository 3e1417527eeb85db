"""Traffic: when requests come and how long they are, from a distribution or as recorded."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from costsim.errors import SpecError
from costsim.inference.layout import Array

Whole = NDArray[np.int64]
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests in the order of their arrival.

    Attributes:
        arrival_s: from 0, ascending.
        input_tokens: of each prompt.
        output_tokens: that each gets.
        cached_tokens: of each prompt, that a prefix cache has.
    """

    arrival_s: Array
    input_tokens: Whole
    output_tokens: Whole
    cached_tokens: Whole

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def rate_per_s(self) -> float:
        """Mean requests a second."""
        return len(self) / float(self.arrival_s[-1]) if self.arrival_s[-1] > 0 else math.inf

    def at_rate(self, rate_per_s: float) -> Traffic:
        """Return the same requests, their distances stretched to another mean rate.

        Those that all come at once, or a single one, have no distances: they come one after
        another at that rate.
        """
        _positive(rate_per_s=rate_per_s)
        if not math.isfinite(self.rate_per_s):
            return replace(self, arrival_s=np.arange(len(self)) / rate_per_s)
        return replace(self, arrival_s=self.arrival_s * (self.rate_per_s / rate_per_s))

    def quicker(self, ratio: float) -> Traffic:
        """Return the same requests at `ratio` times the rate; those that come at once stay so."""
        _positive(ratio=ratio)
        return replace(self, arrival_s=self.arrival_s / ratio)

    def part(self, rows: slice | NDArray[np.intp]) -> Traffic:
        """Return some of the requests."""
        return Traffic(
            self.arrival_s[rows],
            self.input_tokens[rows],
            self.output_tokens[rows],
            self.cached_tokens[rows],
        )

    def dealt(self, replicas: int) -> list[Traffic]:
        """Return what each of `replicas` gets when requests are dealt in turn."""
        return [self.part(slice(start, None, replicas)) for start in range(replicas)]


def random_traffic(
    rate_per_s: float,
    requests: int,
    input_tokens: float,
    output_tokens: float,
    *,
    burstiness: float = 1.0,
    spread: float = 0.0,
    cached_ratio: float = 0.0,
    seed: int = 0,
) -> Traffic:
    """Return requests that arrive at random, the same for the same seed.

    Args:
        rate_per_s: mean requests a second.
        requests: how many.
        input_tokens: mean length of prompts.
        output_tokens: mean length of answers.
        burstiness: shape of the gamma distribution of the time between arrivals: 1 is Poisson,
            less comes in bursts, more is regular (as `vllm bench serve --burstiness`).
        spread: lengths are uniform within this share of their mean on both sides; from 1 on they
            are exponential.
        cached_ratio: share of each prompt that a prefix cache has.
        seed: of the random numbers.

    Raises:
        SpecError: if rate, number or a length is not above 0.
    """
    _positive(rate_per_s=rate_per_s, requests=requests, burstiness=burstiness)
    _positive(input_tokens=input_tokens, output_tokens=output_tokens)
    random = np.random.default_rng(seed)
    between = random.gamma(burstiness, 1.0 / (rate_per_s * burstiness), requests)
    arrival = np.cumsum(between)
    return _lengths(random, arrival, input_tokens, output_tokens, spread, cached_ratio)


def burst_traffic(
    requests: int,
    input_tokens: float,
    output_tokens: float,
    *,
    spread: float = 0.0,
    cached_ratio: float = 0.0,
    seed: int = 0,
) -> Traffic:
    """Return requests that all come at once.

    Args:
        requests: how many.
        input_tokens: mean length of prompts.
        output_tokens: mean length of answers.
        spread: as of `random_traffic`.
        cached_ratio: as of `random_traffic`.
        seed: of the random numbers.

    Raises:
        SpecError: if number or a length is not above 0.
    """
    _positive(requests=requests, input_tokens=input_tokens, output_tokens=output_tokens)
    random = np.random.default_rng(seed)
    return _lengths(random, np.zeros(requests), input_tokens, output_tokens, spread, cached_ratio)


def diurnal_traffic(
    mean_rate_per_s: float,
    peak_ratio: float,
    input_tokens: float,
    output_tokens: float,
    *,
    duration_s: float = DAY_S,
    spread: float = 0.0,
    cached_ratio: float = 0.0,
    seed: int = 0,
) -> Traffic:
    """Return a day of requests: Poisson arrivals whose rate follows a cosine from night to peak.

    Args:
        mean_rate_per_s: over the day.
        peak_ratio: rate at its highest over the mean, from 1 to 2.
        input_tokens: mean length of prompts.
        output_tokens: mean length of answers.
        duration_s: of the day.
        spread: as of `random_traffic`.
        cached_ratio: as of `random_traffic`.
        seed: of the random numbers.

    Raises:
        SpecError: if a rate or length is not above 0, or the peak not between 1 and 2 means.
    """
    _positive(mean_rate_per_s=mean_rate_per_s, input_tokens=input_tokens)
    _positive(output_tokens=output_tokens, duration_s=duration_s)
    random = np.random.default_rng(seed)
    peak = mean_rate_per_s * peak_ratio
    number = random.poisson(peak * duration_s)
    at = np.sort(random.uniform(0.0, duration_s, number))
    # Thinning: of arrivals at the peak rate, each is kept with the share that its hour has.
    kept = random.uniform(size=number) * peak < day_rate(
        mean_rate_per_s, peak_ratio, at, duration_s
    )
    return _lengths(random, at[kept], input_tokens, output_tokens, spread, cached_ratio)


def day_rate(
    mean_rate_per_s: float, peak_ratio: float, at_s: Array, duration_s: float = DAY_S
) -> Array:
    """Return the rate at times of a day: lowest at its start, highest in its middle.

    Raises:
        SpecError: if the peak is not between 1 and 2 means, which a cosine cannot have.
    """
    if not 1.0 <= peak_ratio <= 2.0:
        raise SpecError(f"a peak of {peak_ratio:g} means is not between 1 and 2")
    swing = (peak_ratio - 1.0) * np.cos(2.0 * math.pi * at_s / duration_s)
    return mean_rate_per_s * (1.0 - swing)


def _lengths(
    random: np.random.Generator,
    arrival_s: Array,
    input_tokens: float,
    output_tokens: float,
    spread: float,
    cached_ratio: float,
) -> Traffic:
    def drawn(mean: float) -> Whole:
        if spread >= 1.0:
            share = random.exponential(1.0, len(arrival_s))
        else:
            share = random.uniform(1.0 - spread, 1.0 + spread, len(arrival_s))
        return np.maximum(np.rint(mean * share), 1.0).astype(np.int64)

    inputs, outputs = drawn(input_tokens), drawn(output_tokens)
    cached = np.minimum((inputs * cached_ratio).astype(np.int64), inputs - 1)
    return Traffic(arrival_s, inputs, outputs, cached)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0 or not math.isfinite(value):
            raise SpecError(f"{name} must be above 0, not {value:g}")
