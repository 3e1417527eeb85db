"""Prompts and generation in pools of their own, in closed form.

A request is computed by one of the prompt replicas, its cache travels, and one of the generating
replicas goes on with it. Neither disturbs the other's steps; the slower pool decides the rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from costsim.inference.engines import Engine
from costsim.inference.layout import Array
from costsim.inference.steady import Requests, Server, Steady, Turns
from costsim.inference.tables import Rows, Tables

_ROUNDS = 40
_FULL = 0.98  # share of the time that a pool of prompts works at most


@dataclass(frozen=True, slots=True)
class Pool:
    """Equal replicas of one layout, one row a deployment.

    Attributes:
        tables: of its layouts.
        rows: layouts, one a deployment.
        workers: replicas.
        engine: profile.
    """

    tables: Tables
    rows: Rows
    workers: Array
    engine: Engine

    def server(self, requests: Requests) -> Server:
        """Return its replicas under `requests`."""
        return Server(self.tables, self.engine, self.rows, requests)


def disaggregated_loop(
    prefill: Pool,
    decode: Pool,
    requests: Requests,
    transfer_s: Array,
    *,
    users: Array | None = None,
    rate: Array | None = None,
    slots: Array | float = np.inf,
) -> Steady:
    """Return the steady state of two pools under `users` of a closed loop, or a `rate`.

    Args:
        prefill: computes prompts.
        decode: generates.
        requests: lengths.
        transfer_s: that the cache of a prompt is under way.
        users: requests in both pools at any time.
        rate: requests a second of all; given instead of users.
        slots: requests that a generating replica holds.
    """
    output = requests.output_tokens
    # Nothing is generated beside prompts: what their steps take besides is counted below.
    apart = replace(prefill, engine=replace(prefill.engine, scheduler="mixed"))
    prompts, steps = apart.server(requests), decode.server(requests)
    idle = np.zeros_like(output)
    sharing = np.ones_like(output)
    turns: Turns = prompts.turns(idle, sharing)
    decoding = np.ones_like(output) if users is None else users / decode.workers
    found = np.zeros_like(output) if rate is None else rate
    first_s = tpot_s = wait_s = most = np.zeros_like(output)
    load = np.zeros_like(output)
    for _ in range(_ROUNDS):
        step_s, _ = steps.step_s(np.minimum(decoding, slots))
        tpot_s = step_s / decode.engine.speculation.accepted
        # 1. A prompt replica is a station whose work is shared by those that come meanwhile.
        each = found / prefill.workers
        every_s = turns.added_s + turns.pieces * prompts.engine.host_step_s
        many = np.full_like(output, np.inf) if users is None else users / prefill.workers
        sharing = 0.5 * (sharing + prompts.sharing(many, each, every_s))
        turns = prompts.turns(idle, sharing)
        busy_s = turns.busy_s + turns.pieces * prompts.engine.host_step_s / sharing
        load = 0.5 * (load + np.minimum(each * busy_s, _FULL))
        wait_s = prompts.engine.queue_ratio * load * busy_s / (1.0 - load)
        service_s = prompts.engine.prompt_s + turns.late_s + turns.added_s
        # 2. Beyond what prompts or the cache of generation can carry, the rest waits.
        most = np.minimum(
            _FULL * prefill.workers / busy_s,
            np.asarray(slots) * decode.workers / np.maximum((output - 1.0) * tpot_s, 1e-9),
        )
        first_s = service_s + wait_s + transfer_s
        if users is not None:
            alone = users / (first_s + (output - 1.0) * tpot_s)
            found = 0.5 * (found + np.minimum(alone, most))
            first_s = np.maximum(first_s, users / found - (output - 1.0) * tpot_s)
        decoding = 0.5 * (
            decoding + np.maximum(found * (output - 1.0) * tpot_s / decode.workers, 1e-3)
        )
    if rate is not None:
        first_s = np.where(rate > most, np.inf, first_s)
    decoded = decoding * decode.workers
    return Steady(first_s, tpot_s, found, found * output, decoded, load, first_s + 3.6 * wait_s)
