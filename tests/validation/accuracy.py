"""How near predictions must come to the shared measured runs, by kind: the one place to tighten.

`median` and `p90` bound |predicted / measured - 1| over groups, `inside` the share of measurements
in the interval, `predicted` the least share of entries that have a prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from costsim.validation.entries import Entry
from costsim.validation.named import FAMILIES


@dataclass(frozen=True, slots=True)
class Bound:
    """The bounds of one kind of entries of one shared file."""

    file: str
    kind: str
    of: Callable[[Entry], bool]
    median: float
    p90: float = float("inf")
    inside: tuple[float, float] = (0.0, 1.0)
    predicted: float = 0.98


def _own_step(entry: Entry) -> bool:
    """Whether batch, sequence and shape of a step are the row's own."""
    return entry.quantity == "step_time_s" and "assumed" not in entry.reason


def _family(*names: str) -> Callable[[Entry], bool]:
    return lambda entry: entry.run.text.get("family") in names


def _source(entry: Entry) -> str:
    return entry.run.text.get("source_id", "")


def _is(quantity: str) -> Callable[[Entry], bool]:
    return lambda entry: entry.quantity == quantity


def _both(*tests: Callable[[Entry], bool]) -> Callable[[Entry], bool]:
    return lambda entry: all(test(entry) for test in tests)


_DENSE, _SAMPLES = _family("llm-dense"), _family(*FAMILIES)
_SMALL = "vtrain-single"  # steps of one device bound by launches
TRAINING, SERVING, VISION, MEMORY = (
    *("training_runs.csv", "inference_runs.csv", "vision_throughput.csv", "memory_runs.csv"),
)
BOUNDS = (
    Bound(
        TRAINING,
        "dense steps",
        _both(_DENSE, _own_step, lambda e: _source(e) != _SMALL),
        0.06,
        0.24,
        inside=(0.76, 0.90),
    ),
    Bound(
        TRAINING,
        "launch-bound steps",
        _both(_own_step, lambda e: _source(e) == _SMALL),
        0.06,
        0.18,
    ),
    # A fifth of them verify a recipe on real data, up to ten times slower than tuned ones.
    Bound(
        TRAINING,
        "steps of mixtures",
        _both(_family("moe"), _own_step),
        0.16,
        0.50,
        inside=(0.76, 0.92),
        predicted=0.97,
    ),
    Bound(TRAINING, "dense memory", _both(_DENSE, _is("memory_gb_per_gpu")), 0.12),
    Bound(
        TRAINING,
        "steps on samples",
        _both(_SAMPLES, lambda e: e.quantity in ("step_time_s", "samples_per_s")),
        0.13,
        0.36,
        predicted=0.95,
    ),
    Bound(TRAINING, "hours to a quality", _both(_SAMPLES, _is("gpu_hours")), 0.20),
    Bound(SERVING, "TPOT", _is("tpot_ms"), 0.13, predicted=0.85),
    Bound(SERVING, "TTFT", _is("ttft_ms"), 0.35, predicted=0.85),
    Bound(SERVING, "tokens a second", _is("output_tokens_per_s"), 0.25, predicted=0.70),
    Bound(SERVING, "power of devices", _is("power_w_per_device"), 0.15, predicted=0.90),
    Bound(VISION, "image nets by totals", _is("samples_per_s"), 0.145, inside=(0.74, 0.88)),
    Bound(MEMORY, "fine-tuning memory", _is("memory_gb_per_gpu"), 0.40, predicted=0.25),
)
