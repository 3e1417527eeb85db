"""Time of moving tokens to the ranks of their experts and back, copies to one rank sent once."""

from __future__ import annotations

from typing import Literal

import numpy as np

from costsim.hardware.calibration import ExchangeConstants, load_exchange
from costsim.hardware.kernels import Array, Number, column
from costsim.hardware.systems import System

Phase = Literal["dispatch", "combine"]
Dispatcher = Literal["all_to_all", "all_gather", "deep_ep", "hybrid_ep"]
"""Libraries: NCCL's all-to-all of permuted copies, or its gathering of all tokens on all ranks;
DeepEP's kernels, which send each rank one copy through a few compute units; HybridEP, whose bulk
copies need hardly any units (2025)."""

UNITS = 20.0  # compute units that DeepEP takes by default for its kernels
SOFTNESS = 3.0  # exponent at which the rates of units and links limit each other


def distinct_targets(choices: Number, targets: Number) -> Array:
    """Return how many of `targets` are hit by `choices` even draws: n · (1 - (1 - 1/n)^k)."""
    targets = column(targets)
    return targets * (1.0 - (1.0 - 1.0 / targets) ** column(choices))


def reached(choices: Number, targets: Number, groups: float, limit: float) -> Array:
    """Return how many of `targets` even draws hit, within `limit` of the `groups` of experts.

    Targets hold groups / targets groups each, or share one. Those that a token may reach are
    expected ones; within them draws are even.
    """
    targets = column(targets)
    if limit >= groups:
        return distinct_targets(choices, targets)
    held, missed = groups / targets, np.ones_like(targets)
    for picked in range(int(limit)):
        missed = missed * np.clip(1 - held / (groups - picked), 0.0, 1.0)
    apart = limit * targets / groups
    reachable = np.where(held >= 1.0, targets * (1.0 - missed), np.maximum(apart, 1.0))
    return np.minimum(distinct_targets(choices, reachable), distinct_targets(choices, targets))


def expert_exchange_time_s(
    system: System,
    phase: Phase,
    tokens: Number,
    hidden: Number,
    top_k: Number,
    group: Number,
    stride: Number = 1,
    *,
    element_bytes: Number,
    units: Number = UNITS,
    groups: float = 1,
    group_limit: float = 1,
    constants: ExchangeConstants | None = None,
) -> Array:
    """Return the time to dispatch tokens to experts, or to combine their outputs, in seconds.

    A token crosses the network once for each node that has one of its experts, and the innermost
    links once for each rank; t = fixed + the slowest tier. On the innermost links a few compute
    units move the data, on all others NICs do. Routing is even.

    Args:
        system: tiers of links.
        phase: "dispatch" or "combine".
        tokens: of one rank; all of them broadcast.
        hidden: width of a token.
        top_k: experts a token.
        group: ranks among which the experts are divided; 1 takes no time.
        stride: devices between neighbouring ranks of the group.
        element_bytes: of one element on the wire, scales included.
        groups: of equally many experts; 1 where the router chooses among all at once.
        group_limit: groups that the router picks for a token first.
        units: compute units given to the exchange (all of them where it does not overlap).
        constants: other than those of exchange.yaml, to calibrate them.
    """
    constants = load_exchange() if constants is None else constants
    group, stride, units = column(group), column(stride), column(units)
    token_bytes = column(tokens) * column(hidden) * column(element_bytes)
    fixed_s = constants.dispatch_s if phase == "dispatch" else constants.combine_s
    shape = np.broadcast_shapes(token_bytes.shape, group.shape, stride.shape, units.shape)
    time_s, latency_s = np.zeros(shape), np.full(shape, fixed_s)
    inner = np.ones_like(group * stride)
    for index, tier in enumerate(system.tiers):
        outer = group if tier.devices is None else np.clip(tier.devices / stride, 1.0, group)
        if tier is system.tiers[-1]:
            outer = group
        crossed = outer > inner
        # 1. Copies that leave their inner domain, of those to distinct domains of that size.
        copies = reached(top_k, group / inner, groups, group_limit) * (1.0 - inner / outer)
        if index == 0:
            link = constants.link_ratio * tier.carried_bytes_per_s
            moved = units * constants.unit_bytes_per_s
            rate = (link**-SOFTNESS + moved**-SOFTNESS) ** (-1.0 / SOFTNESS)
        else:
            rate = constants.network_ratio * tier.carried_bytes_per_s
        time_s = np.maximum(time_s, np.where(crossed, token_bytes * copies / rate, 0.0))
        if index > 0:
            latency_s = latency_s + np.where(crossed, constants.node_s, 0.0)
        inner = outer
    return np.where(group > 1, latency_s + time_s, 0.0)
