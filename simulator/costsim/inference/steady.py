"""A server in closed form: latency and throughput at a number of users or a rate.

A step generates one token for each request that is past its prompt, and takes on pieces of prompts
up to the engine's limit of tokens; where the scheduler runs prompts first, those have steps of
their own, and generation goes on when none waits. In the steady state a request needs, of the
engine's time, what its prompt adds to the steps that it is in; so with X requests a second a share
u = X·P of the time goes to prompts, and steps of D seconds come every D/(1 - u). Prompts that come
while a step runs share the next one; attention ranks wait for each other. How many wait follows
from the mean-value analysis of a closed network of one station (prompts) and one delay
(generation), after Schweitzer, or of an open queue where requests arrive at a rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costsim.inference.engines import Engine
from costsim.inference.layout import Array
from costsim.inference.tables import BATCHES, TOKENS, Rows, Tables, along, between, place

_ROUNDS = 16  # of the fixed point, which halves its error in each
_FULL = 0.999  # share of the time that prompts can take at most
_TAIL = 4.6  # of an exponential time over its mean that one in a hundred exceeds: ln 100


@dataclass(frozen=True, slots=True)
class Requests:
    """Columns of a traffic: mean lengths in tokens.

    Attributes:
        input_tokens: of a prompt, that are computed.
        output_tokens: generated.
        cached_tokens: of the prompt before those, found in a prefix cache.
        burst_ratio: share of the requests that arrive all at once, before the steady state; a
            benchmark of n requests a user starts with 1/n of them.
        variation: squared coefficient of variation of the length of prompts.
        equal: 1 where all requests have the same lengths, so that those which start together stay
            together; 0 where lengths are drawn.
    """

    input_tokens: Array
    output_tokens: Array
    cached_tokens: Array | float = 0.0
    burst_ratio: Array | float = 0.0
    variation: Array | float = 0.0
    equal: Array | float = 0.0


@dataclass(frozen=True, slots=True)
class Steady:
    """Columns of a steady state.

    Attributes:
        ttft_s: mean time to the first token, the wait for a turn included; inf where it grows.
        tpot_s: mean time of each further token.
        requests_per_s: of a replica.
        output_tokens_per_s: of a replica.
        decoding: requests being generated at once, in a replica.
        prompt_share: share of the time that prompts take.
        ttft_p99_s: time to the first token that one request in a hundred exceeds, about.
    """

    ttft_s: Array
    tpot_s: Array
    requests_per_s: Array
    output_tokens_per_s: Array
    decoding: Array
    prompt_share: Array
    ttft_p99_s: Array


@dataclass(frozen=True, slots=True)
class Turns:
    """What a step takes at a number of requests that are generated, and what prompts do to it.

    Attributes:
        step_s: of generating a token each.
        added_s: what the prompts that share a step add to the steps that they are in.
        late_s: what launches add to the first token beside that, while the device goes on.
        pieces: number of those steps.
        busy_s: time of the engine that a prompt takes, stages working on several at once.
        turn_s: the same with the steps that go on meanwhile.
        most: share of the time that prompts can take, when every step is as full as it may be.
        apart: whether prompts have steps of their own.
        accepted: tokens that a step yields for a request.
    """

    step_s: Array
    added_s: Array
    late_s: Array
    pieces: Array
    busy_s: Array
    turn_s: Array
    most: Array
    accepted: float
    apart: Array

    def every_s(self, share: Array) -> Array:
        """Return the time between steps when prompts take `share` of it."""
        return self.step_s / (1.0 - np.minimum(share, self.most))

    def tpot_s(self, share: Array) -> Array:
        """Return the time of a token when prompts take `share` of it."""
        return self.every_s(share) / self.accepted

    def alone_s(self, engine: Engine, share: Array) -> Array:
        """Return the time to the first token of a prompt that waits for no other."""
        # It waits for the rest of the step under way, and shares its own with generation.
        shared_s = np.where(self.apart, 0.0, self.pieces * self.step_s)
        steps_s = shared_s + engine.residual_ratio * self.every_s(share)
        return engine.prompt_s + self.late_s + self.added_s + steps_s


class Server:
    """Replicas under a traffic, one a row: everything of a step but how many requests are in it."""

    def __init__(
        self,
        tables: Tables,
        engine: Engine,
        rows: Rows,
        requests: Requests,
        *,
        generates: bool = True,
    ) -> None:
        """Look up what does not depend on the load.

        Args:
            tables: of the layouts.
            engine: profile.
            rows: layouts, as long as the columns of `requests`.
            requests: lengths.
            generates: whether tokens are generated beside prompts, where the engine mixes them.
        """
        layouts = tables.layouts
        self.engine, self.rows, self.requests = engine, rows, requests
        self.ranks, self.stages = layouts.attention_dp[rows], layouts.pp[rows]
        self.divided = layouts.cp[rows]
        self.uneven = 1.0 + engine.stage_ratio * (self.stages - 1.0)
        self.launched_s = engine.launch_s * tables.launches[rows] * self.uneven
        self.tokens_s, self.skewed_s = tables.tokens(1.0), tables.skewed_s
        self.skew = np.any(np.asarray(engine.experts_ratio) != 1.0)
        self.heads_s = tables.heads_s
        self.apart = (np.asarray(engine.scheduler) == "prefill_first") | (not generates)
        past = np.zeros(len(rows)) + requests.cached_tokens
        total = past + requests.input_tokens
        self.contexts_s = tables.contexts(rows, total + requests.output_tokens / 2)
        self.attention_s = tables.prompt(rows, requests.input_tokens, past)
        self.launch_s = tables.prompt_s[rows, 0]

    def _tokens_s(self, tokens: Array) -> Array:
        """Return seconds of all that acts on `tokens` of a rank one by one."""
        index, part = place(TOKENS, tokens)
        found = between(self.tokens_s, self.rows, index, part)
        if self.skew:
            uneven = np.asarray(self.engine.experts_ratio) - 1.0
            found = found + uneven * between(self.skewed_s, self.rows, index, part)
        return found

    @property
    def together(self) -> Array:
        """Prompts that one step has room for, on all attention ranks."""
        room = np.floor(self.engine.max_batched_tokens / self.requests.input_tokens)
        return np.maximum(room, 1.0) * self.ranks

    def sharing(self, users: Array, rate: Array, every_s: Array) -> Array:
        """Return how many prompts share a step.

        Those that come while the step before runs; or, of equal lengths, those that began together.

        Args:
            users: requests in the replica; those that arrive at random for an open queue.
            rate: of requests a second that others send.
            every_s: time between steps.
        """
        engine = self.engine
        most = np.minimum(self.together, np.maximum(users, 1.0))
        random = 1.0 + engine.shared_ratio * rate * every_s
        cluster = 1.0 + self.requests.equal * engine.cluster_ratio * (most - 1.0)
        return np.clip(np.maximum(random, cluster), 1.0, most)

    def step_s(self, decoding: Array) -> tuple[Array, Array]:
        """Return seconds of a step that generates for `decoding` requests, and a rank's share."""
        engine, rows = self.engine, self.rows
        # Stages work on a share of the requests each, which then wait for a turn of all others.
        share = np.maximum(decoding / (self.ranks * self.stages), 1.0)
        index, part = place(BATCHES, share)
        drafts = engine.speculation
        checked = share * (drafts.tokens + 1.0)  # tokens that the step checks
        kernels_s = self._tokens_s(checked)
        if drafts.tokens:
            kernels_s = kernels_s + along(BATCHES, self.heads_s, rows, checked)
        else:
            kernels_s = kernels_s + between(self.heads_s, rows, index, part)
        kernels_s = kernels_s + between(self.contexts_s, np.arange(len(rows)), index, part)
        kernels_s = kernels_s * (1.0 + drafts.tokens * drafts.draft_ratio)
        step_s = engine.kernel_ratio * kernels_s + engine.host_step_s
        return (step_s + engine.host_sequence_s * share) * self.uneven, share

    def prompts_s(self, share: Array, sharing: Array) -> tuple[Array, Array]:
        """Return seconds of kernels that `sharing` prompts add to steps, and their pieces.

        Args:
            share: requests that a rank generates for meanwhile.
            sharing: prompts in those steps, on all attention ranks.
        """
        engine, tokens = self.engine, self.requests.input_tokens
        # In steps of their own, prompts read the weights again and wait for the host again.
        beside = np.where(self.apart, 0.0, share * (engine.speculation.tokens + 1.0))
        room = np.maximum(engine.max_batched_tokens - beside, engine.block_tokens)
        pieces = np.ceil(tokens / room)
        # Ranks that attend apart run their steps together, and wait for the one with most to do.
        even = sharing / self.ranks
        each = even + engine.lockstep_ratio * (np.maximum(even, 1.0) - even)
        added = each * tokens / (pieces * self.divided)
        alone_s = np.where(self.apart, 0.0, self._tokens_s(np.maximum(beside, 1.0)))
        together_s = self._tokens_s(beside + added)
        products_s = pieces * (together_s - alone_s) + (pieces - 1.0) * self.launch_s
        kernels_s = engine.prompt_ratio * (products_s + each * self.attention_s)
        host_s = np.where(self.apart, pieces * engine.host_step_s, 0.0)
        return (kernels_s + host_s) * self.uneven, pieces

    def turns(self, decoding: Array, sharing: Array | float = 1.0) -> Turns:
        """Return the turns of replicas that generate for `decoding` requests each.

        Args:
            decoding: requests past their prompt.
            sharing: prompts that share the steps which they are in.
        """
        engine = self.engine
        step_s, share = self.step_s(decoding)
        kernels_s, pieces = self.prompts_s(share, np.asarray(sharing))
        # Steps with prompts replay no captured graph: launches delay the first token, and keep the
        # device waiting for a part of that.
        launches_s = pieces * self.launched_s
        busy_launch = np.asarray(engine.busy_launch_ratio)
        added_s = kernels_s + busy_launch * launches_s
        late_s = (1.0 - busy_launch) * launches_s
        if np.any(engine.pipelined_prompts):  # pieces follow each other from stage to stage
            through = (pieces + self.stages - 1.0) / (pieces * self.stages)
            first_s = np.where(engine.pipelined_prompts, added_s * through, added_s)
        else:
            first_s = added_s
        busy_s = added_s / sharing / self.stages
        room = engine.max_batched_tokens * self.ranks
        tokens = self.requests.input_tokens
        beneath_s = step_s * np.minimum(tokens / room, pieces)
        full_s = busy_s * room / tokens
        most = np.where(self.apart, _FULL, full_s / (full_s + step_s))
        turn_s = busy_s + np.where(self.apart, 0.0, beneath_s / sharing)
        accepted = engine.speculation.accepted
        return Turns(step_s, first_s, late_s, pieces, busy_s, turn_s, most, accepted, self.apart)


def closed_loop(
    tables: Tables, engine: Engine, rows: Rows, users: Array, requests: Requests
) -> Steady:
    """Return the steady state of `users` who each send a request when their last one ends.

    Args:
        tables: of the layouts.
        engine: profile.
        rows: layouts, as long as all other columns.
        users: requests in the replica at any time.
        requests: lengths.
    """
    users = np.asarray(users, dtype=np.float64)
    output = requests.output_tokens
    others = (users - 1.0) / np.maximum(users, 1.0)
    decoding, sharing = users.copy(), np.ones_like(users)
    waiting, share = np.zeros_like(users), np.zeros_like(users)
    server = Server(tables, engine, rows, requests)
    turns = server.turns(decoding, sharing)
    first_s = tpot_s = rate = ahead = np.zeros_like(users)
    for _ in range(_ROUNDS):
        tpot_s = turns.tpot_s(share)
        ahead = np.maximum(waiting * others - (sharing - 1.0), 0.0)
        first_s = turns.alone_s(engine, share) + engine.queue_ratio * ahead * turns.turn_s
        rate = users / (first_s + (output - 1.0) * tpot_s)
        waiting = 0.5 * (waiting + rate * first_s)
        decoding = 0.5 * (decoding + np.maximum(users - rate * first_s, 0.0))
        share = 0.5 * (share + np.minimum(rate * turns.busy_s, _FULL))
        joined = server.sharing(users, rate * others, turns.every_s(share))
        sharing = 0.5 * (sharing + joined)
        turns = server.turns(decoding, sharing)
    # Those who arrive at once are served in turn, several prompts a step where they have room.
    together = np.clip(server.together, 1.0, np.maximum(users, 1.0))
    wave_s = engine.prompt_s + turns.late_s + turns.step_s
    wave_s = wave_s + 0.5 * turns.busy_s * (users + together)
    # The last of those are the slowest of all, where they are one in a hundred or more; of the
    # others the tail is that of an exponential wait: 4.6 times its mean.
    tail_s = first_s + (_TAIL - 1.0) * engine.queue_ratio * ahead * turns.turn_s
    last_s = np.where(np.asarray(requests.burst_ratio) >= 0.01, 2.0 * wave_s, 0.0)
    tail_s = np.maximum(tail_s, last_s)
    first_s = first_s + requests.burst_ratio * np.maximum(wave_s - first_s, 0.0)
    return Steady(first_s, tpot_s, rate, rate * output, decoding, share, tail_s)


def static_batch(
    tables: Tables, engine: Engine, rows: Rows, batch: Array, requests: Requests
) -> Steady:
    """Return what requests take that start together and end together, none coming after them.

    The steady state's rate is that of one such batch after another.

    Args:
        tables: of the layouts.
        engine: profile.
        rows: layouts, as long as all other columns.
        batch: requests that start together in a replica.
        requests: lengths.
    """
    batch = np.maximum(np.asarray(batch, dtype=np.float64), 1e-3)
    server = Server(tables, engine, rows, requests)
    together = np.clip(server.together, 1.0, np.maximum(batch, 1.0))
    step_s, share = server.step_s(batch)
    kernels_s, pieces = server.prompts_s(np.ones_like(share), together)
    groups = np.maximum(batch / together, 1.0)
    launches_s = np.ceil(groups) * pieces * server.launched_s
    stages = server.stages
    through = np.where(engine.pipelined_prompts, (pieces + stages - 1.0) / (pieces * stages), 1.0)
    each_s = np.where(batch > together, kernels_s / stages, kernels_s * through)
    prompts_s = groups * each_s + launches_s
    first_s = engine.prompt_s + 0.5 * prompts_s * (1.0 + 1.0 / groups)
    tpot_s = step_s / engine.speculation.accepted
    whole_s = engine.prompt_s + prompts_s + (requests.output_tokens - 1.0) * tpot_s
    rate = batch / whole_s
    share_of = prompts_s / whole_s
    all_s = engine.prompt_s + prompts_s
    return Steady(first_s, tpot_s, rate, rate * requests.output_tokens, batch, share_of, all_s)


def open_loop(
    tables: Tables, engine: Engine, rows: Rows, rate: Array, slots: Array, requests: Requests
) -> Steady:
    """Return the steady state under requests that arrive at random, `rate` a second a replica.

    Args:
        tables: of the layouts.
        engine: profile.
        rows: layouts, as long as all other columns.
        rate: requests a second that arrive at a replica.
        slots: requests that its cache has room for; beyond those they wait.
        requests: lengths.
    """
    rate = np.asarray(rate, dtype=np.float64)
    output = requests.output_tokens
    decoding, share = np.ones_like(rate), np.zeros_like(rate)
    sharing, many = np.ones_like(rate), np.full_like(rate, np.inf)
    server = Server(tables, engine, rows, requests)
    turns = server.turns(decoding)
    tpot_s, wanted = turns.step_s, decoding
    for _ in range(_ROUNDS):
        tpot_s = turns.tpot_s(share)
        wanted = rate * (output - 1.0) * tpot_s
        decoding = 0.5 * (decoding + np.minimum(wanted, slots))
        share = 0.5 * (share + np.minimum(rate * turns.busy_s, _FULL))
        joined = server.sharing(many, rate, turns.every_s(share))
        sharing = 0.5 * (sharing + joined)
        turns = server.turns(decoding, sharing)
    # Pollaczek and Khinchine: of the wait, half and the variation of lengths.
    load = rate * turns.turn_s
    wait_s = 0.5 * (1.0 + requests.variation) * load * turns.turn_s / np.maximum(1.0 - load, 1e-9)
    full = (load >= 1.0) | (wanted >= slots)
    alone_s = turns.alone_s(engine, share)
    first_s = np.where(full, np.inf, alone_s + wait_s)
    tail_s = np.where(full, np.inf, alone_s + _TAIL * wait_s)
    return Steady(first_s, tpot_s, rate, rate * output, decoding, share, tail_s)
