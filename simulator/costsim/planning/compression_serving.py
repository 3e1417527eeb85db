"""How many devices serve a model: the fewest replicas on a system that keep the latencies.

Rates and latencies are means by the closed form of the serving engine, under arrivals at random;
planning one option as a service simulates it request by request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from costsim.architectures import Architecture
from costsim.architectures.operators import Experts
from costsim.compression.timing import cached_in
from costsim.errors import SpecError
from costsim.hardware import System
from costsim.inference.engines import Engine
from costsim.inference.intervals import serving_interval
from costsim.inference.layout import Layouts, Quantization
from costsim.inference.memory import cache_bytes, weight_bytes
from costsim.inference.metrics import Objective
from costsim.inference.passes import ServedModel
from costsim.inference.steady import Steady, open_loop
from costsim.inference.tables import Tables
from costsim.planning.compression_service import Service
from costsim.planning.serving_scenario import Serving
from costsim.planning.serving_search import Lengths, Replica, layouts_of, search_replicas
from costsim.units import HOURS_PER_MONTH, format_bytes


def serve(
    model: Architecture,
    system: System,
    traffic: Serving,
    engine: Engine,
    months: float,
    counts: Sequence[int] | None = None,
) -> Service | str:
    """Return the fleet of fewest devices, or why there is none.

    Args:
        model: what is served, compressed or not.
        system: whose devices.
        traffic: requests, and the latencies they may have.
        engine: profile.
        months: how long the fleet is held.
        counts: devices of a replica to try; None = powers of two within a node.

    Raises:
        UnknownNameError: if the device has no products that the model needs.
        SpecError: where the traffic is a trace.
    """
    if traffic.input_tokens is None or traffic.output_tokens is None:
        raise SpecError(
            "options of compression are compared by mean lengths, not by a trace",
            hint="state `input_tokens` and `output_tokens`",
        )
    total = float(traffic.input_tokens + traffic.output_tokens)
    lengths = Lengths(
        input_tokens=float(traffic.input_tokens),
        cached_tokens=traffic.cached * traffic.input_tokens,
        output_tokens=float(traffic.output_tokens),
        variation=traffic.spread**2 / 3,  # of a uniform distribution
        longest_tokens=total * (1 + traffic.spread),
    )
    formats = Quantization(cache=cached_in(model))
    layouts = layouts_of(model, system, counts)
    objective = Objective(traffic.slo.ttft, traffic.slo.tpot, traffic.slo.e2e)
    if not layouts:
        return "heads do not divide over so many devices"
    found = search_replicas(model, system, layouts, formats, engine, lengths, objective)
    if not found:
        least = float(weight_bytes(model, Layouts.of(layouts), formats).min())
        usable = format_bytes(system.accelerator.memory_usable_bytes)
        return f"does not fit: weights of {format_bytes(least)} a device, which has {usable}"
    able = [replica for replica in found if replica.rate_per_s > 0]
    if not able:
        return "too slow: no replica keeps the latencies even of few requests"

    def fleet(replica: Replica) -> tuple[int, int]:
        """Return devices of the fleet, and of a replica."""
        count = math.ceil(traffic.requests_per_s / replica.rate_per_s)
        return count * replica.layout.devices, replica.layout.devices

    best = min(able, key=fleet)
    devices, each = fleet(best)
    replicas = devices // each
    steady = _at(model, best, engine, lengths, traffic.requests_per_s / replicas)
    one = Layouts.of([best.layout])
    users = float(steady.decoding[0])
    low, high = serving_interval("output_tokens_per_s", 1.0, routed=_is_routed(model))
    hours = months * HOURS_PER_MONTH
    mean_rate = traffic.requests_per_s * traffic.mean_ratio
    return Service(
        fleet=f"{replicas} x {str(best.layout).upper()}",
        devices=devices,
        replica_devices=each,
        hours=hours,
        latency_s=float(steady.tpot_s[0]),
        first_s=float(steady.ttft_s[0]),
        rate_per_s=best.rate_per_s * traffic.output_tokens,
        units=mean_rate * traffic.output_tokens * hours * 3600,
        details={
            "layout": str(best.layout),
            "tp": best.layout.tp,
            "replicas": replicas,
            "requests_per_s_per_replica": best.rate_per_s,
            "users_per_replica": users,
            "ttft_s": float(steady.ttft_s[0]),
            "tpot_s": float(steady.tpot_s[0]),
            "output_tokens_per_s_per_replica": best.rate_per_s * traffic.output_tokens,
            "weights_bytes_per_device": float(weight_bytes(model, one, formats)[0]),
            "cache_bytes_per_device": float(
                cache_bytes(model, one, formats, np.array([total]))[0] * users
            ),
        },
        time_low_ratio=1.0 / high,
        time_high_ratio=1.0 / low,
    )


def _at(
    model: Architecture, replica: Replica, engine: Engine, lengths: Lengths, rate_per_s: float
) -> Steady:
    """Return the steady state of a replica at a rate that it keeps."""
    served = ServedModel(model, replica.system, replica.quantization)
    tables = Tables.build(served, Layouts.of([replica.layout]))
    slots = np.array([replica.slots])
    rates = np.array([rate_per_s])
    return open_loop(tables, engine, np.array([0]), rates, slots, lengths.columns(1))


def _is_routed(model: Architecture) -> bool:
    return any(isinstance(op, Experts) for block in model.blocks() for op in block.operators)
