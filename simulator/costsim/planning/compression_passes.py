"""How many devices pass samples forward: a model on each device, in the best batch."""

from __future__ import annotations

import math

from costsim.architectures import Architecture
from costsim.architectures.formats import bytes_for
from costsim.architectures.workload import Workload
from costsim.compression.timing import pass_time_s
from costsim.hardware import System
from costsim.inference.intervals import serving_interval
from costsim.planning.compression_scenario import Passes
from costsim.planning.compression_service import Service
from costsim.units import HOURS_PER_MONTH, format_bytes, format_duration

_BATCHES = tuple(2**power for power in range(11))
_ACTIVATIONS = 3  # of the largest alive at once: what an operator reads, writes, and the stream


def serve_passes(
    model: Architecture, system: System, traffic: Passes, months: float, dtype: str = "bf16"
) -> Service | str:
    """Return the fleet of fewest devices, or why there is none.

    Raises:
        UnknownNameError: if the device has no products that the model needs.
    """
    usable = system.accelerator.memory_usable_bytes
    element = float(bytes_for(dtype))
    weights = float(
        sum(
            block.count * w.stored_bytes(element)
            for block in model.blocks()
            for w in block.weights()
        )
    )
    if weights > usable:
        return f"does not fit: weights of {format_bytes(weights)}, has {format_bytes(usable)}"
    best: tuple[float, int, float] | None = None
    fastest = math.inf
    for batch in _BATCHES:
        seconds = pass_time_s(
            model,
            system.accelerator,
            phase="forward",
            batch=batch,
            sequence=traffic.sequence,
            dtype=dtype,
        )
        fastest = min(fastest, seconds)
        slow = traffic.latency is not None and seconds > traffic.latency
        if slow or weights + _alive_bytes(model, batch, traffic.sequence, element) > usable:
            continue
        if best is None or batch / seconds > best[0]:
            best = batch / seconds, batch, seconds
    if best is None:
        return f"too slow: at best {format_duration(fastest)} a batch"
    rate, batch, seconds = best
    # Passes without a cache are the prompts of serving; no other measured runs tell more.
    low, high = serving_interval("output_tokens_per_s", 1.0, routed=False)
    devices = math.ceil(traffic.requests_per_s / rate)
    hours = months * HOURS_PER_MONTH
    return Service(
        fleet=f"{devices} x batch {batch}",
        devices=devices,
        replica_devices=1,
        hours=hours,
        latency_s=seconds,
        first_s=None,
        rate_per_s=rate,
        units=traffic.requests_per_s * traffic.mean_ratio * hours * 3600,
        details={
            "batch": batch,
            "latency_s": seconds,
            "samples_per_s_per_device": rate,
            "weights_bytes_per_device": weights,
        },
        time_low_ratio=1.0 / high,
        time_high_ratio=1.0 / low,
    )


def _alive_bytes(model: Architecture, batch: int, sequence: int, element_bytes: float) -> float:
    """Return bytes of the largest activations alive at once in a forward pass."""
    largest = 0.0
    for block in model.blocks(Workload(batch, sequence)):
        sizes = sorted((float(kept.elements) for kept in block.saved()), reverse=True)
        largest = max(largest, sum(sizes[:_ACTIVATIONS]))
    return largest * element_bytes
