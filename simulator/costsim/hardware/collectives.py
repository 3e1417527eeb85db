"""Time of collectives over the tiers of links that a group of ranks spans."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from costsim.hardware.calibration import LinkConstants, class_of, load_link
from costsim.hardware.kernels import Array, Number, column
from costsim.hardware.systems import System, Tier

Operation = Literal[
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send_recv"
]
Algorithm = Literal["library", "one-shot"]


def collective_time_s(
    system: System,
    operation: Operation,
    bytes: Number,
    group: Number,
    stride: Number = 1,
    algorithm: Algorithm = "library",
) -> Array:
    """Return the time of one collective of a group of ranks, in seconds.

    Rank i of the group is device i·stride, so that a domain of a tier holds domain/stride ranks. A
    pipelined collective takes the time of its slowest tier, and the latency of all. On each tier:
    t = α + x + c·√(α·x), x = bytes on the wire / bandwidth achieved; the root is what a pipeline of
    chunks of the best size adds. Every device has its own share of a tier, as printed in the tier,
    so groups that run at once do not slow each other.

    Args:
        system: tiers of links.
        operation: what to do.
        bytes: payload of one rank: the buffer (all_reduce, broadcast, send_recv), the gathered
            output (all_gather), the input before reduction (reduce_scatter), the whole of what a
            rank sends (all_to_all).
        group: ranks; 1 takes no time. For send_recv a chain: its slowest neighbours count.
        stride: devices between neighbouring ranks.
        algorithm: "library" is the best of ring, tree and reduction in the switches, as NCCL has
            it; "one-shot" also considers kernels that read their peers' memory inside one domain,
            as inference engines use for small all-reduces.

    Returns:
        Seconds, broadcast over `bytes`, `group` and `stride`.

    Raises:
        CatalogError: if a tier is of a kind without constants.
    """
    payload, group, stride = np.broadcast_arrays(column(bytes), column(group), column(stride))
    latency_s = np.zeros_like(payload)
    transfer_s = np.zeros_like(payload)
    direct_s = np.full_like(payload, np.inf)
    class_name = class_of(system.accelerator.architecture)
    inner = np.ones_like(payload)  # ranks of the group in one domain of the tiers so far
    for tier in system.tiers:
        outer = group if tier.devices is None else np.clip(tier.devices / stride, 1.0, group)
        if tier is system.tiers[-1]:
            outer = group  # devices beyond what the links join are refused by the system
        constants = load_link(tier.kind, class_name)
        if not np.any(outer > inner):  # no group leaves a domain of the tiers inside
            continue
        tier_latency_s, tier_transfer_s = _tier_s(
            tier, constants, operation, payload, group, inner, outer
        )
        if operation == "send_recv":  # the slowest pair of neighbours crosses one tier only
            latency_s = np.maximum(latency_s, tier_latency_s)
        else:
            latency_s = latency_s + tier_latency_s
        transfer_s = np.maximum(transfer_s, tier_transfer_s)
        if algorithm == "one-shot" and operation == "all_reduce" and tier is system.tiers[0]:
            direct_s = _direct_s(tier, constants, payload, group)
            direct_s = np.where(outer >= group, direct_s, np.inf)
        inner = outer
    return np.where(group > 1, np.minimum(latency_s + transfer_s, direct_s), 0.0)


def _tier_s(
    tier: Tier,
    constants: LinkConstants,
    operation: Operation,
    payload: Array,
    group: Array,
    inner: Array,
    outer: Array,
) -> tuple[Array, Array]:
    """Return the latency and the pipelined transfer time that a tier adds; 0 if not crossed."""
    domains = outer / inner  # domains of the tier inside that this tier joins
    crossed = domains > 1.0
    axes = _spanned_axes(tier, domains)
    bandwidth = tier.carried_bytes_per_s * _usable_share(tier, operation, domains, axes)
    # Rings run along every axis of a torus at once, both ways round.
    steps = np.maximum(domains - 1.0, 1.0)
    if tier.kind == "torus":
        steps = np.maximum(axes * (domains ** (1.0 / axes) - 1.0) / 2.0, 1.0)
    ring_rate = bandwidth * constants.ring_ratio
    ring_rate = ring_rate / (1.0 + constants.pair_share / np.maximum(domains - 1.0, 1.0))
    base_s = constants.base_s if tier.latency_s is None else tier.latency_s

    # 1. The ranks of an inner domain each carry their slice of the payload outward.
    part = payload / inner
    share = 1.0 - 1.0 / np.maximum(domains, 2.0)
    if operation == "all_to_all":
        latency_s = constants.all_to_all_s + constants.peer_s * (outer - inner)
        # 2. Of what a rank sends, the share for ranks in other domains crosses this tier.
        rate = ring_rate * (constants.all_to_all_ratio / constants.ring_ratio)
        transfer_s = payload * (outer - inner) / group / rate
        if tier.kind == "torus":  # messages travel a quarter of an axis on the mean
            transfer_s = transfer_s * np.maximum(domains ** (1.0 / axes) / 4.0, 1.0)
    elif operation == "send_recv":
        latency_s = base_s + constants.step_s + np.zeros_like(payload)
        transfer_s = payload / ring_rate
    elif operation == "broadcast":
        latency_s = base_s + constants.step_s * np.log2(np.maximum(domains, 2.0))
        transfer_s = part / ring_rate
    elif operation in ("all_gather", "reduce_scatter"):
        latency_s = base_s + constants.step_s * steps
        transfer_s = part * share / ring_rate
    else:
        # 3. All-reduce: a ring has twice the steps, a tree two passes of log₂ levels.
        tree_steps = 2.0 * np.log2(np.maximum(domains, 2.0))
        latency_s = base_s + constants.step_s * np.minimum(2.0 * steps, 2.0 * tree_steps)
        transfer_s = 2.0 * part * share / ring_rate
        if tier.in_network_reduction and constants.in_network_ratio > 0:
            return _in_switch_s(constants, bandwidth, part, domains, crossed, latency_s, transfer_s)
    transfer_s = _pipelined_s(constants, latency_s, transfer_s)
    return np.where(crossed, latency_s, 0.0), np.where(crossed, transfer_s, 0.0)


def _in_switch_s(
    constants: LinkConstants,
    bandwidth: Array,
    part: Array,
    domains: Array,
    crossed: npt.NDArray[np.bool_],
    ring_latency_s: Array,
    ring_transfer_s: Array,
) -> tuple[Array, Array]:
    """Return the faster of a ring and a reduction in the switches, which sends (1 + 1/n) times."""
    ring_s = _pipelined_s(constants, ring_latency_s, ring_transfer_s)
    switch_latency_s = constants.in_network_s + np.zeros_like(part)
    wire = part * (1.0 + 1.0 / domains)
    switch_s = wire / (bandwidth * constants.in_network_ratio)
    switch_s = _pipelined_s(constants, switch_latency_s, switch_s)
    better = (domains > 2.0) & (switch_latency_s + switch_s < ring_latency_s + ring_s)
    latency_s = np.where(better, switch_latency_s, ring_latency_s)
    transfer_s = np.where(better, switch_s, ring_s)
    return np.where(crossed, latency_s, 0.0), np.where(crossed, transfer_s, 0.0)


def _pipelined_s(constants: LinkConstants, latency_s: Array, transfer_s: Array) -> Array:
    return transfer_s + constants.pipeline_ratio * np.sqrt(latency_s * transfer_s)


def _spanned_axes(tier: Tier, domains: Array) -> Array:
    """Return how many axes of a torus a compact group of `domains` has; 1 on other links."""
    spanned = np.ones_like(domains)
    held = 1.0
    for size in sorted(tier.shape)[:-1]:
        held *= size
        spanned = spanned + (domains > held)
    return spanned


def _usable_share(tier: Tier, operation: Operation, domains: Array, axes: Array) -> Array:
    """Return the share of a device's links of this tier that a group of `domains` can use.

    A group on a torus uses two links of every axis that it spans, a message to a neighbour one; a
    pair of a full mesh has only the link between them, a larger group those between its members.
    """
    if tier.kind == "torus" and tier.shape:
        return axes / len(tier.shape) * (0.5 if operation == "send_recv" else 1.0)
    if tier.kind in ("xgmi-mesh", "ethernet-mesh", "nvlink-mesh") and tier.devices:
        peers = tier.devices - 1.0
        return np.clip(domains - 1.0, 1.0, peers) / peers
    return np.ones_like(domains)


def _direct_s(tier: Tier, constants: LinkConstants, payload: Array, group: Array) -> Array:
    """Return the time of the faster of one-shot and two-shot all-reduce through peers' memory."""
    if constants.direct_s == 0.0:
        return np.full_like(payload, np.inf)
    rate = tier.carried_bytes_per_s * constants.direct_ratio
    one_shot_s = constants.direct_s + payload * (group - 1.0) / rate
    two_shot_s = 2.0 * constants.direct_s + 2.0 * payload * (group - 1.0) / (group * rate)
    return np.minimum(one_shot_s, two_shot_s)
