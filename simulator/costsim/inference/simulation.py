"""Continuous batching, request by request, in jumps from event to event.

Between two events (an arrival, an end, a full cache) every request in a replica gains one token a
step, so the clock jumps over all those steps at once: k of them take k·(a + c·S) + c·b·k(k - 1)/2,
with S positions that grow by b each step. A request that enters after V steps with n tokens to come
ends at step V + n, whatever happens meanwhile; so ends wait in a heap by step.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf

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
        prompts_first: whether prompts run in steps of their own, generation waiting meanwhile;
            otherwise they share steps with it.
    """

    sequences: int
    batched_tokens: int
    cache_tokens: float = float("inf")
    block_tokens: int = 1
    reserved: bool = False
    prompts_first: bool = False


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
        sent_s: when each was sent; of a closed loop, where that follows from the answers before.
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
    sent_s: Array


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
    think_s: Array | None = None,
) -> Served:
    """Serve requests on one replica.

    Args:
        times: of its steps.
        limits: of its requests.
        arrival_s: when requests are sent, ascending. Of a closed loop, those of the first request
            of each user, so many users there are.
        input_tokens: of each prompt, at least 1.
        output_tokens: that each gets, at least 1.
        cached_tokens: of each prompt, that a prefix cache has (none if not given).
        priority: of each, lower first (all equal if not given).
        prompts: whether prompts are computed here; otherwise they come with their cache.
        generates: whether tokens after the first are generated here.
        think_s: from the end of each request to the next of the same user: makes it a closed loop.

    Raises:
        SpecError: if a request alone is more than the cache holds.
    """
    n = len(input_tokens)
    inputs = np.asarray(input_tokens, dtype=np.float64)
    past = np.zeros(n) if cached_tokens is None else np.asarray(cached_tokens, dtype=np.float64)
    wanted = np.asarray(output_tokens, dtype=np.float64) if generates else np.ones(n)
    # The last step of a request may yield more tokens than are wanted.
    over = 0 if times.accepted == 1.0 else int(np.ceil(times.accepted))
    largest = float((inputs + wanted).max(initial=0.0)) + limits.block_tokens - 1 + over
    if largest > limits.cache_tokens:
        raise SpecError(
            f"a request of {largest:,.0f} tokens does not fit the cache of "
            f"{limits.cache_tokens:,.0f}",
            hint="use more devices a replica, or shorter requests",
        )
    replica = _Replica(times, limits, inputs, past, wanted, over, prompts)
    replica.arrivals = _real(np.asarray(arrival_s) + times.receive_s)
    replica.order = None if priority is None else list(priority)
    replica.think_s = None if think_s is None else _real(np.asarray(think_s) + times.receive_s)
    replica.run()
    return replica.served()


class _Replica:
    """A replica in mid-run: its requests, its cache and its clock, and what may happen to them.

    Attributes:
        arrivals: when requests are ready to enter, ascending; a closed loop adds to them.
        next_s: the next of them.
        order: priority of each request, if they have one.
        think_s: of a closed loop, from an end to the user's next request.
        gain: tokens that a step yields for a request.
        held: positions in the cache; with `slack` each, never above its capacity.
        booked: positions reserved.
        finish: step at which each request ends; -1 = not being generated.
        ends: heap of (step, request); those thrown out since then are still in it.
        entered: requests being generated in the order that they came, so that the last goes first.
        piece_of: request whose prompt is longer than a step has room for, -1 = none.
    """

    __slots__ = (
        "arrivals",
        "at",
        "attention",
        "base_s",
        "booked",
        "busy",
        "capacity",
        "clock",
        "compute",
        "end",
        "ends",
        "entered",
        "finish",
        "first",
        "gain",
        "held",
        "left",
        "log",
        "most",
        "next_s",
        "order",
        "piece_left",
        "piece_of",
        "preemptions",
        "prompt",
        "prompts",
        "prompts_first",
        "reserve",
        "reserved",
        "room",
        "running",
        "slack",
        "slope_s",
        "step",
        "think_s",
        "times",
        "tokens_s",
        "waiting",
    )

    def __init__(
        self,
        times: StepTimes,
        limits: Limits,
        inputs: Array,
        past: Array,
        wanted: Array,
        over: int,
        prompts: bool,
    ) -> None:
        n = len(inputs)
        self.times, self.prompts, self.prompts_first = times, prompts, limits.prompts_first
        self.most, self.room = limits.sequences, limits.batched_tokens
        self.capacity, self.reserved = limits.cache_tokens, limits.reserved
        self.base_s, self.slope_s, self.tokens_s = times.base_s, times.slope_s, times.tokens_s
        self.gain: float = 1 if times.accepted == 1.0 else times.accepted
        self.slack = limits.block_tokens - 1
        self.attention = _real(times.prompts_s(inputs - past, past))
        self.prompt, self.compute = _whole(inputs), _whole(inputs - past)
        self.left = _whole(1.0 + np.ceil((wanted - 1.0) / self.gain))
        self.reserve = _whole(inputs + wanted + over)
        self.arrivals: list[float] = []
        self.order: list[int] | None = None
        self.think_s: list[float] | None = None
        self.first, self.end, self.finish = [-1.0] * n, [0.0] * n, [-1] * n
        self.ends: list[tuple[int, int]] = []
        self.waiting: list[tuple[int, int]] = []
        self.entered: list[int] = []
        self.piece_of, self.piece_left = -1, 0
        self.clock: float = 0.0
        self.busy: float = 0.0
        self.step = self.running = self.preemptions = self.at = self.booked = 0
        self.next_s = inf
        self.held: float = 0
        self.log = array("d")

    def run(self) -> None:
        """Go from event to event until all requests have ended."""
        waiting, ends, log = self.waiting, self.ends, self.log
        bounded, capacity, slack, gain = not self.reserved, self.capacity, self.slack, self.gain
        self.next_s = self.arrivals[0] if self.arrivals else inf
        while True:
            if self.next_s <= self.clock:
                self.arrive()
            running = self.running
            if bounded and running:
                inside = running + 1 if self.piece_of >= 0 else running
                if self.held + gain * running + slack * inside > capacity:
                    self.make_room()
            segment = self.prompt_step() if waiting or self.piece_of >= 0 else None
            if not segment:
                if segment is not None:
                    continue
                if self.running:
                    segment = self.jump()
                elif self.next_s < inf:
                    self.clock = self.next_s
                    continue
                else:
                    return
            if ends and ends[0][0] <= self.step:
                self.leave()
            log.extend(segment)
            log.append(self.held)

    def arrive(self) -> None:
        """Let those wait who have come by now."""
        at, arrivals, clock, order = self.at, self.arrivals, self.clock, self.order
        last = len(arrivals)
        while at < last and arrivals[at] <= clock:
            heappush(self.waiting, (at if order is None else order[at], at))
            at += 1
        self.at = at
        self.next_s = arrivals[at] if at < last else inf

    def make_room(self) -> None:
        """Throw out the last to come, until the cache has room for a token of each who stays."""
        finish, entered = self.finish, self.entered
        while self.running:
            inside = self.running + (self.piece_of >= 0)
            needed = self.held + self.gain * self.running + self.slack * inside
            if needed <= self.capacity:
                return
            while finish[entered[-1]] < 0:
                entered.pop()
            index = entered.pop()
            passed = self.left[index] - (finish[index] - self.step)
            grown = 1 + (passed - 1) * self.gain
            self.held -= self.prompt[index] + grown
            # What it has generated is part of its prompt when it starts again.
            self.left[index] -= passed
            self.prompt[index] += int(grown)
            self.compute[index] = self.prompt[index]
            whole = np.array([float(self.prompt[index])])
            self.attention[index] = float(self.times.prompts_s(whole)[0])
            finish[index] = -1
            self.running -= 1
            self.preemptions += 1
            heappush(self.waiting, (index if self.order is None else self.order[index], index))

    def admit(self) -> tuple[list[int], int, float]:
        """Take prompts in as far as step, requests and cache have room.

        Returns the requests whose prompts are then complete, the tokens of prompts in the step, and
        the seconds of their attention.
        """
        waiting, slack, running = self.waiting, self.slack, self.running
        room = self.room if self.prompts_first else self.room - running
        chosen: list[int] = []
        tokens, attention_s = 0, 0.0
        index = self.piece_of
        if index >= 0:
            tokens = self.piece_left if self.piece_left <= room else max(room, 1)
            attention_s = self.attention[index] * tokens / max(self.compute[index], 1)
            self.piece_left -= tokens
            if self.piece_left:
                return chosen, tokens, attention_s
            chosen.append(index)
            self.piece_of = -1
        inside = running + len(chosen)
        compute, prompt, reserve, most = self.compute, self.prompt, self.reserve, self.most
        while waiting and inside < most:
            index = waiting[0][1]
            # A first token is written too, so that an entering prompt needs one position more.
            if self.reserved:
                taken = self.booked + reserve[index] + slack
            else:
                taken = self.held + self.gain * running + slack * inside + prompt[index] + 1 + slack
            if taken > self.capacity:
                break
            size = compute[index] if self.prompts else 0
            if tokens and tokens + size > room:
                break
            heappop(waiting)
            self.held += prompt[index] + 1
            self.booked += reserve[index] + slack
            inside += 1
            if size > room and size:
                part = max(room, 1)
                self.piece_of, self.piece_left = index, size - part
                return chosen, tokens + part, attention_s + self.attention[index] * part / size
            tokens += size
            attention_s += self.attention[index]
            chosen.append(index)
        return chosen, tokens, attention_s

    def prompt_step(self) -> tuple[float, ...] | None:
        """Do a step with prompts, beside a token of each who is being generated.

        Returns the segment: empty if all who entered had their cache, None if none could enter.
        """
        chosen, tokens, attention_s = self.admit()
        segment = () if chosen else None
        if tokens:
            beside = 0 if self.prompts_first else self.running
            length_s = attention_s + self.times.launch_s + self.tokens_s[beside + tokens]
            if beside:
                length_s += (
                    self.base_s[beside] + self.slope_s[beside] * self.held - self.tokens_s[beside]
                )
                self.held += self.gain * beside
                self.step += 1
            else:
                length_s += self.times.host_s
            self.clock += length_s
            self.busy += length_s
            segment = (self.clock, length_s, 1.0, beside)
        for index in chosen:
            self.begin(index)
        return segment

    def begin(self, index: int) -> None:
        """Give a request whose prompt is complete its first token, and generate the others."""
        if self.first[index] < 0.0:
            self.first[index] = self.clock
        remaining = self.left[index] - 1
        if remaining:
            last = self.step + remaining
            self.finish[index] = last
            heappush(self.ends, (last, index))
            self.entered.append(index)
            self.running += 1
        else:
            self.ended(index, self.prompt[index] + 1)

    def jump(self) -> tuple[float, ...]:
        """Generate until the next end, arrival that may enter, or full cache."""
        ends, finish, running, gain = self.ends, self.finish, self.running, self.gain
        target, index = ends[0]
        while finish[index] != target:
            heappop(ends)
            target, index = ends[0]
        steps = target - self.step
        slope_s = self.slope_s[running]
        one_s = self.base_s[running] + slope_s * self.held
        rise_s = 0.5 * slope_s * running * gain
        length_s = steps * (one_s + rise_s * (steps - 1))
        if not self.waiting:
            until_s = self.next_s - self.clock
            if until_s < length_s:
                mean_s = one_s + rise_s * max(until_s / one_s - 1, 0)
                steps = min(steps, int(until_s / mean_s) + 1)
                length_s = steps * (one_s + rise_s * (steps - 1))
        if not self.reserved:
            inside = running + 1 if self.piece_of >= 0 else running
            free = self.capacity - self.held - self.slack * inside
            if steps * running * gain > free:
                # There is room for one step; a quotient may round to none.
                steps = max(int(free // (running * gain)), 1)
                length_s = steps * (one_s + rise_s * (steps - 1))
        self.clock += length_s
        self.busy += length_s
        self.step += steps
        self.held += running * steps * gain
        return self.clock, length_s / steps, steps, running

    def leave(self) -> None:
        """Let those go that have all their tokens."""
        ends, finish, step = self.ends, self.finish, self.step
        while ends and ends[0][0] <= step:
            target, index = heappop(ends)
            if finish[index] == target:
                finish[index] = -1
                self.running -= 1
                self.ended(index, self.prompt[index] + 1 + (self.left[index] - 1) * self.gain)

    def ended(self, index: int, positions: float) -> None:
        """Free what a request held, and let its user think of the next."""
        self.end[index] = self.clock
        self.held -= positions
        self.booked -= self.reserve[index] + self.slack
        if self.think_s is not None and len(self.arrivals) < len(self.end):
            insort(self.arrivals, self.clock + self.think_s[index], lo=self.at)
            self.next_s = self.arrivals[self.at]

    def served(self) -> Served:
        """Return what happened."""
        columns = np.array(self.log).reshape(-1, 5).T
        return Served(
            np.array(self.first),
            np.array(self.end),
            self.preemptions,
            self.busy,
            *(np.ascontiguousarray(column) for column in columns),
            sent_s=np.array(self.arrivals) - self.times.receive_s,
        )


def _whole(values: Array) -> list[int]:
    return values.astype(np.int64).tolist()


def _real(values: Array) -> list[float]:
    return values.tolist()
