"""The steady state of a server in closed form: latency and throughput at a concurrency or a rate.

A step generates one token for each request that is past its prompt, and takes on pieces of prompts
up to the engine's limit of tokens. In the steady state a request needs, of the engine's time, what
its prompt adds to the steps that it is in; so with X requests a second a share u = X·P of the time
goes to prompts, and steps of D seconds come every D/(1 - u). Prompts queue for their turn; how many
do follows from the mean-value analysis of a closed network of one station (prompts) and one delay
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
    """

    input_tokens: Array
    output_tokens: Array
    cached_tokens: Array | float = 0.0
    burst_ratio: Array | float = 0.0
    variation: Array | float = 0.0


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
    """

    ttft_s: Array
    tpot_s: Array
    requests_per_s: Array
    output_tokens_per_s: Array
    decoding: Array
    prompt_share: Array


@dataclass(frozen=True, slots=True)
class Turns:
    """What a step takes at a number of requests that are generated, and what a prompt does to it.

    Attributes:
        step_s: of generating a token each.
        added_s: what a prompt adds to the steps that it is in.
        pieces: number of those steps.
        busy_s: time of the engine that a prompt takes, ranks and stages working on several at once.
        turn_s: the same with the steps that go on meanwhile.
        most: share of the time that prompts can take, when every step is as full as it may be.
        accepted: tokens that a step yields for a request.
    """

    step_s: Array
    added_s: Array
    pieces: Array
    busy_s: Array
    turn_s: Array
    most: Array
    accepted: float

    def tpot_s(self, share: Array) -> Array:
        """Return the time of a token when prompts take `share` of it."""
        return self.step_s / (1.0 - np.minimum(share, self.most)) / self.accepted

    def alone_s(self, engine: Engine) -> Array:
        """Return the time to the first token of a prompt that waits for no other."""
        # It waits for the step under way, and shares its own steps with generation.
        return engine.prompt_s + self.added_s + (self.pieces + 0.5) * self.step_s


class Server:
    """Replicas under a traffic, one a row: everything of a step but how many requests are in it."""

    def __init__(self, tables: Tables, engine: Engine, rows: Rows, requests: Requests) -> None:
        """Look up what does not depend on the load.

        Args:
            tables: of the layouts.
            engine: profile.
            rows: layouts, as long as the columns of `requests`.
            requests: lengths.
        """
        layouts = tables.layouts
        self.engine, self.rows, self.requests = engine, rows, requests
        self.ranks, self.stages = layouts.attention_dp[rows], layouts.pp[rows]
        self.divided = layouts.cp[rows]
        self.uneven = 1.0 + engine.stage_ratio * (self.stages - 1.0)
        self.launched_s = engine.launch_s * tables.launches[rows]
        self.tokens_s = tables.tokens(engine.experts_ratio)
        self.heads_s = tables.heads_s
        past = np.zeros(len(rows)) + requests.cached_tokens
        total = past + requests.input_tokens
        self.contexts_s = tables.contexts(rows, total + requests.output_tokens / 2)
        self.attention_s = tables.prompt(rows, requests.input_tokens, past)
        self.launch_s = tables.prompt_s[rows, 0]

    def turns(self, decoding: Array) -> Turns:
        """Return the turns of replicas that generate for `decoding` requests each."""
        engine, requests, rows = self.engine, self.requests, self.rows
        # 1. Stages work on a share of the requests each, which then wait for a turn of all others.
        share = np.maximum(decoding / (self.ranks * self.stages), 1.0)
        index, part = place(BATCHES, share)
        every = np.arange(len(rows))
        drafts = engine.speculation
        beside = share * (drafts.tokens + 1.0)  # tokens that the step checks
        alone_s = along(TOKENS, self.tokens_s, rows, beside)
        if drafts.tokens:
            heads_s = along(BATCHES, self.heads_s, rows, beside)
        else:
            heads_s = between(self.heads_s, rows, index, part)
        kernels_s = alone_s + heads_s + between(self.contexts_s, every, index, part)
        kernels_s = kernels_s * (1.0 + drafts.tokens * drafts.draft_ratio)
        turn_s = engine.kernel_ratio * kernels_s + engine.host_step_s
        step_s = (turn_s + engine.host_sequence_s * share) * self.uneven
        # 2. A prompt adds its tokens to those generated, in as many pieces as their room asks for.
        tokens = requests.input_tokens
        room = np.maximum(engine.max_batched_tokens - beside, engine.block_tokens)
        pieces = np.ceil(tokens / room)
        together_s = along(TOKENS, self.tokens_s, rows, beside + tokens / (pieces * self.divided))
        products_s = pieces * (together_s - alone_s) + (pieces - 1.0) * self.launch_s
        kernels_s = engine.prompt_ratio * (products_s + self.attention_s)
        # 3. Steps with prompts replay no captured graph: the device also waits for launches.
        added_s = kernels_s + pieces * self.launched_s
        busy_s = added_s * self.uneven / (self.ranks * self.stages)
        room = room * self.ranks
        beneath_s = step_s * np.minimum(tokens / room, pieces)
        full_s = busy_s * room / tokens
        most = full_s / (full_s + step_s)
        turn_s = busy_s + beneath_s
        return Turns(step_s, added_s, pieces, busy_s, turn_s, most, drafts.accepted)


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
    decoding = users.copy()
    waiting, share = np.zeros_like(users), np.zeros_like(users)
    server = Server(tables, engine, rows, requests)
    turns = server.turns(decoding)
    first_s = tpot_s = rate = np.zeros_like(users)
    for _ in range(_ROUNDS):
        tpot_s = turns.tpot_s(share)
        first_s = turns.alone_s(engine) + engine.queue_ratio * waiting * others * turns.turn_s
        rate = users / (first_s + (output - 1.0) * tpot_s)
        waiting = 0.5 * (waiting + rate * first_s)
        decoding = 0.5 * (decoding + np.maximum(users - rate * first_s, 0.0))
        share = 0.5 * (share + np.minimum(rate * turns.busy_s, _FULL))
        turns = server.turns(decoding)
    # Those who arrive at once are served in turn, several prompts a step where they have room.
    together = np.clip(np.floor(engine.max_batched_tokens / requests.input_tokens), 1.0, users)
    wave_s = engine.prompt_s + turns.step_s + 0.5 * turns.busy_s * (users + together)
    first_s = first_s + requests.burst_ratio * np.maximum(wave_s - first_s, 0.0)
    return Steady(first_s, tpot_s, rate, rate * output, decoding, share)


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
    server = Server(tables, engine, rows, requests)
    turns = server.turns(decoding)
    tpot_s, wanted = turns.step_s, decoding
    for _ in range(_ROUNDS):
        tpot_s = turns.tpot_s(share)
        wanted = rate * (output - 1.0) * tpot_s
        decoding = 0.5 * (decoding + np.minimum(wanted, slots))
        share = 0.5 * (share + np.minimum(rate * turns.busy_s, _FULL))
        turns = server.turns(decoding)
    # Pollaczek and Khinchine: of the wait, half and the variation of lengths.
    load = rate * turns.turn_s
    wait_s = 0.5 * (1.0 + requests.variation) * load * turns.turn_s / np.maximum(1.0 - load, 1e-9)
    full = (load >= 1.0) | (wanted >= slots)
    first_s = np.where(full, np.inf, turns.alone_s(engine) + wait_s)
    return Steady(first_s, tpot_s, rate, rate * output, decoding, share)
