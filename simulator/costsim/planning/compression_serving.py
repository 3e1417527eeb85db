"""How many devices serve a model: the cheapest replica on a system that keeps the latencies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from costsim.architectures import Architecture
from costsim.architectures.operators import Experts
from costsim.compression.timing import cached_in
from costsim.hardware import System
from costsim.inference.engines import Engine
from costsim.inference.intervals import serving_interval
from costsim.inference.layout import Layout, Layouts, Quantization
from costsim.inference.memory import cache_bytes, request_slots, weight_bytes
from costsim.inference.passes import ServedModel
from costsim.inference.steady import Requests, closed_loop
from costsim.inference.tables import Tables
from costsim.planning.compression_scenario import Served
from costsim.planning.compression_service import Service
from costsim.training.space import limits_of
from costsim.units import HOURS_PER_MONTH, format_bytes, format_duration

_USERS = np.unique(np.round(2.0 ** np.arange(0, 12.01, 0.25)))
"""Requests that a replica works on at once: the steps of the search."""


def serve(
    model: Architecture,
    system: System,
    traffic: Served,
    engine: Engine,
    degrees: Sequence[int] | None = None,
) -> Service | str:
    """Return the fleet of fewest devices, or why there is none.

    Args:
        model: what is served, compressed or not.
        system: whose devices.
        traffic: requests, and the latencies they may have.
        engine: profile.
        degrees: of tensor parallelism to try; None = powers of two within a node.

    Raises:
        UnknownNameError: if the device has no products that the model needs.
    """
    heads = limits_of(model, 1, 1).heads
    node = system.devices_per_node
    tried = degrees or [2**k for k in range(node.bit_length()) if 2**k <= node]
    layouts = [Layout(tp=tp, moe_tp=tp) for tp in tried if heads % tp == 0]
    if not layouts:
        return f"{heads} heads do not divide over {' or '.join(map(str, tried))} devices"
    columns = Layouts.of(layouts)
    machine = system.with_count(max(layout.devices for layout in layouts))
    formats = Quantization(cache=cached_in(model))
    total = float(traffic.input_tokens + traffic.output_tokens)
    slots = request_slots(machine, model, columns, formats, engine, np.array(total))
    if not (slots >= 1).any():
        least = float(weight_bytes(model, columns, formats).min())
        usable = format_bytes(system.accelerator.memory_usable_bytes)
        return f"does not fit: weights of {format_bytes(least)} a device, which has {usable}"
    tables = Tables.build(ServedModel(model, machine, formats), columns)
    rows = np.repeat(np.arange(len(layouts)), len(_USERS))
    users = np.tile(_USERS, len(layouts))
    held = users <= slots[rows]
    rows, users = rows[held], users[held]
    requests = Requests(
        np.full(len(rows), float(traffic.input_tokens)),
        np.full(len(rows), float(traffic.output_tokens)),
    )
    steady = closed_loop(tables, engine, rows, users, requests)
    fine = np.ones(len(rows), bool)
    if traffic.ttft is not None:
        fine &= steady.ttft_s <= traffic.ttft
    if traffic.tpot is not None:
        fine &= steady.tpot_s <= traffic.tpot
    if not fine.any():
        return (
            f"too slow: at best {format_duration(float(steady.tpot_s.min()))} a token, "
            f"{format_duration(float(steady.ttft_s.min()))} to the first"
        )
    replicas = np.ceil(traffic.requests_per_s / steady.requests_per_s)
    devices = replicas * columns.devices[rows]
    # Fewest devices; of those, fewest in a replica, and then the load that is lightest.
    order = np.lexsort((users, columns.devices[rows], np.where(fine, devices, math.inf)))
    best = int(order[0])
    row = int(rows[best])
    one = Layouts.of([layouts[row]])
    low, high = serving_interval("output_tokens_per_s", 1.0, routed=_is_routed(model))
    count, devices_each = int(replicas[best]), layouts[row].devices
    return Service(
        fleet=f"{count} x TP{layouts[row].tp}",
        devices=count * devices_each,
        replica_devices=devices_each,
        hours=traffic.months * HOURS_PER_MONTH,
        latency_s=float(steady.tpot_s[best]),
        first_s=float(steady.ttft_s[best]),
        rate_per_s=float(steady.output_tokens_per_s[best]),
        units=traffic.requests_per_s
        * traffic.utilisation
        * traffic.output_tokens
        * traffic.months
        * HOURS_PER_MONTH
        * 3600,
        details={
            "tp": layouts[row].tp,
            "replicas": count,
            "users_per_replica": int(users[best]),
            "ttft_s": float(steady.ttft_s[best]),
            "tpot_s": float(steady.tpot_s[best]),
            "output_tokens_per_s_per_replica": float(steady.output_tokens_per_s[best]),
            "weights_bytes_per_device": float(weight_bytes(model, one, formats)[0]),
            "cache_bytes_per_device": float(
                cache_bytes(model, one, formats, np.array([total]))[0] * users[best]
            ),
        },
        time_low_ratio=1.0 / high,
        time_high_ratio=1.0 / low,
    )


def _is_routed(model: Architecture) -> bool:
    return any(isinstance(op, Experts) for block in model.blocks() for op in block.operators)
