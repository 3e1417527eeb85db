"""Continuous batching, request by request, in jumps from event to event.

Between two events (an arrival, an end, a full cache) every request in a replica gains one token a
step, so the clock jumps over all those steps at once: k of them take k·(a + c·S) + c·b·k(k - 1)/2,
with S positions that grow by b each step. A request that enters after V steps with n tokens to come
ends at step V + n, whatever happens meanwhile; so ends wait in a heap by step.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np

from costsim.errors import SpecError
from costsim.inference.layout import Array
from costsim.inference.step_times import StepTimes


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the requests in a replica.

    Attributes:
        sequences: requests at once.
        batched_tokens: tokens of a step, generated ones and those of prompts.
        cache_tokens: positions that the cache holds.
        block_tokens: positions of a block; a request wastes less than one.
        reserved: whether a request enters only when all that it will ever need is free, so that
            none is thrown out; otherwise the last to come is, and starts again later.
    """

    sequences: int
    batched_tokens: int
    cache_tokens: float = float("inf")
    block_tokens: int = 1
    reserved: bool = False


@dataclass(frozen=True, slots=True)
class Served:
    """What happened to each request of a replica, and to the replica.

    Attributes:
        first_s: when each got its first token.
        end_s: when each ended.
        preemptions: times that a request was thrown out and started again.
        busy_s: time that the replica worked.
        segment_end_s: clock at the end of each jump.
        segment_step_s: mean step in it.
        segment_steps: steps in it.
        segment_requests: requests that gained a token in each of those steps.
        segment_positions: positions in the cache at its end.
    """

    first_s: Array
    end_s: Array
    preemptions: int
    busy_s: float
    segment_end_s: Array
    segment_step_s: Array
    segment_steps: Array
    segment_requests: Array
    segment_positions: Array


@dataclass(slots=True)
class _Log:
    end_s: array[float] = field(default_factory=lambda: array("d"))
    step_s: array[float] = field(default_factory=lambda: array("d"))
    steps: array[float] = field(default_factory=lambda: array("d"))
    requests: array[float] = field(default_factory=lambda: array("d"))
    positions: array[float] = field(default_factory=lambda: array("d"))


def simulate_replica(
    times: StepTimes,
    limits: Limits,
    arrival_s: Array,
    input_tokens: Array,
    output_tokens: Array,
    *,
    cached_tokens: Array | None = None,
    priority: Sequence[int] | None = None,
    prompts: bool = True,
    generates: bool = True,
) -> Served:
    """Serve requests on one replica.

    Args:
        times: of its steps.
        limits: of its requests.
        arrival_s: when requests come, ascending.
        input_tokens: of each prompt, at least 1.
        output_tokens: that each gets, at least 1.
        cached_tokens: of each prompt, that a prefix cache has (none if not given).
        priority: of each, lower first (all equal if not given).
        prompts: whether prompts are computed here; otherwise they come with their cache.
        generates: whether tokens after the first are generated here.

    Raises:
        SpecError: if a request alone is more than the cache holds.
    """
    n = len(arrival_s)
    inputs = np.asarray(input_tokens, dtype=np.float64)
    past = np.zeros(n) if cached_tokens is None else np.asarray(cached_tokens, dtype=np.float64)
    wanted = np.asarray(output_tokens, dtype=np.float64) if generates else np.ones(n)
    slack = limits.block_tokens - 1
    # A step yields `gain` tokens; the last one of a request may yield more than are wanted.
    gain = 1 if times.accepted == 1.0 else times.accepted
    over = 0 if gain == 1 else int(np.ceil(gain))
    steps = 1.0 + np.ceil((wanted - 1.0) / gain)
    largest = float((inputs + wanted).max(initial=0.0)) + slack + over
    if largest > limits.cache_tokens:
        raise SpecError(
            f"a request of {largest:,.0f} tokens does not fit the cache of "
            f"{limits.cache_tokens:,.0f}",
            hint="use more devices a replica, or shorter requests",
        )
    attention = _real(times.prompts_s(inputs - past, past))
    arrivals = _real(np.asarray(arrival_s) + times.receive_s)
    prompt, compute = _whole(inputs), _whole(inputs - past)
    left, reserve = _whole(steps), _whole(inputs + wanted + over)
    order = list(range(n)) if priority is None else list(priority)
    ranked = priority is not None
    base_s, slope_s, tokens_s = times.base_s, times.slope_s, times.tokens_s
    launch_s, most, room_tokens = times.launch_s, limits.sequences, limits.batched_tokens
    capacity, reserved = limits.cache_tokens, limits.reserved

    first = [-1.0] * n
    end = [0.0] * n
    finish = [-1] * n  # step at which each ends; -1 = not being generated
    ends: list[tuple[int, int]] = []
    waiting: list[tuple[int, int]] = []
    entered: list[int] = []  # generated requests in the order that they entered
    piece_of: int = -1  # a prompt longer than a step has room for
    piece_left: int = 0
    log = _Log()
    clock: float = 0.0
    busy: float = 0.0
    step: int = 0
    running: int = 0
    preemptions: int = 0
    held: float = 0  # positions in the cache; with `slack` each, never above its capacity
    booked: int = 0  # positions reserved
    at: int = 0
    index: int
    target: int
    grown: float
    passed: int
    rise: float
    inside: int
    need: int
    taken: float
    size: int
    part: int
    remaining: int
    jump: int
    one_s: float
    slope: float
    free: float

    while True:
        # 1. Who has come by now waits.
        while at < n and arrivals[at] <= clock:
            heappush(waiting, (order[at] if ranked else at, at))
            at += 1
        # 2. Where the cache has no room for a token each, the last to come starts again later.
        while not reserved and running:
            if held + gain * running + slack * (running + (piece_of >= 0)) <= capacity:
                break
            while finish[entered[-1]] < 0:
                entered.pop()
            index = entered.pop()
            passed = left[index] - (finish[index] - step)
            grown = 1 + (passed - 1) * gain
            held -= prompt[index] + grown
            left[index] -= passed
            prompt[index] += int(grown)
            compute[index] = prompt[index]
            attention[index] = float(times.prompts_s(np.array([float(prompt[index])]))[0])
            finish[index] = -1
            running -= 1
            preemptions += 1
            heappush(waiting, (order[index] if ranked else index, index))
        # 3. Prompts enter as far as step, requests and cache have room.
        budget: int = room_tokens - running
        chosen: list[int] = []
        tokens: int = 0
        extra_s: float = 0.0
        partial = False
        if piece_of >= 0:
            part = piece_left if piece_left <= budget else max(budget, 1)
            tokens = part
            extra_s = attention[piece_of] * part / max(compute[piece_of], 1)
            piece_left -= part
            if piece_left:
                partial = True
            else:
                chosen.append(piece_of)
                piece_of = -1
        # A first token is written too, so that an entering prompt needs one position more.
        inside = running + len(chosen) + partial
        while waiting and not partial and inside < most:
            index = waiting[0][1]
            need = (reserve[index] if reserved else prompt[index] + 1) + slack
            taken = booked if reserved else held + gain * running + slack * inside
            if taken + need > capacity:
                break
            size = compute[index] if prompts else 0
            if tokens and tokens + size > budget:
                break
            heappop(waiting)
            held += prompt[index] + 1
            booked += reserve[index] + slack
            inside += 1
            if size and size > budget:
                part = max(budget, 1)
                piece_of, piece_left, partial = index, size - part, True
                tokens += part
                extra_s += attention[index] * part / size
                break
            tokens += size
            extra_s += attention[index]
            chosen.append(index)
        if tokens or chosen:
            length_s: float = 0.0
            if tokens:
                length_s = extra_s + launch_s + tokens_s[running + tokens]
                if running:
                    length_s += base_s[running] + slope_s[running] * held - tokens_s[running]
                step += 1
                held += gain * running
                clock += length_s
                busy += length_s
                log.end_s.append(clock)
                log.step_s.append(length_s)
                log.steps.append(1.0)
                log.requests.append(running)
            for index in chosen:
                if first[index] < 0.0:
                    first[index] = clock
                remaining = left[index] - 1
                if remaining:
                    finish[index] = step + remaining
                    heappush(ends, (step + remaining, index))
                    entered.append(index)
                    running += 1
                else:
                    end[index] = clock
                    held -= prompt[index] + 1
                    booked -= reserve[index] + slack
        elif running:
            # 4. Jump to the next end, arrival that may enter, or full cache.
            target, index = ends[0]
            while finish[index] != target:
                heappop(ends)
                target, index = ends[0]
            jump = target - step
            slope = slope_s[running]
            one_s = base_s[running] + slope * held
            rise = 0.5 * slope * running * gain
            if at < n and not waiting:
                until = arrivals[at] - clock
                if until < jump * (one_s + rise * (jump - 1)):
                    jump = min(jump, int(until / (one_s + rise * max(until / one_s - 1, 0))) + 1)
            if not reserved:
                free = capacity - held - slack * (running + (piece_of >= 0))
                if jump * running * gain > free:
                    # One step fits, as 2 made sure; a quotient may round to none.
                    jump = max(int(free // (running * gain)), 1)
            length_s = jump * (one_s + rise * (jump - 1))
            clock += length_s
            busy += length_s
            step += jump
            held += running * jump * gain
            log.end_s.append(clock)
            log.step_s.append(length_s / jump)
            log.steps.append(jump)
            log.requests.append(running)
        elif at < n:
            clock = arrivals[at]
            continue
        else:
            break
        # 5. Requests that have all their tokens leave.
        while ends and ends[0][0] <= step:
            target, index = heappop(ends)
            if finish[index] != target:
                continue
            finish[index] = -1
            end[index] = clock
            running -= 1
            held -= prompt[index] + 1 + (left[index] - 1) * gain
            booked -= reserve[index] + slack
        if log.end_s and len(log.positions) < len(log.end_s):
            log.positions.append(held)
    return Served(
        np.array(first),
        np.array(end),
        preemptions,
        busy,
        *(
            np.frombuffer(column) if len(column) else np.zeros(0)
            for column in (log.end_s, log.step_s, log.steps, log.requests, log.positions)
        ),
    )


def _whole(values: Array) -> list[int]:
    return values.astype(np.int64).tolist()


def _real(values: Array) -> list[float]:
    return values.tolist()
