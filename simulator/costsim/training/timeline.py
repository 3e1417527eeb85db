"""One step as a timeline: what each pipeline stage computes and sends, and when.

The schedule is played out with the times that the evaluator gives passes of one micro-batch. Its
closed forms treat unequal stages by their sums, and stragglers slow everything; the timeline is
stretched by what both add, so that it ends where the estimate does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from costsim.training.evaluate import evaluate, stream_width
from costsim.training.job import Job
from costsim.training.passes import Pass, one_pass
from costsim.training.playing import Kind, Piece, Played, Slot, orders, play
from costsim.training.profile import profile
from costsim.training.stages import Stages, types_of_stages
from costsim.training.strategy import Strategies, Strategy
from costsim.training.timing import exposed, overlapped_experts_s
from costsim.training.traffic import data_parallel, pipeline_transfer
from costsim.training.updates import optimizer_s, paging_s

LANES = {
    "compute": "compute",
    "tp": "tensor-parallel exchanges",
    "cp": "context-parallel exchanges",
    "ep": "expert-parallel exchanges",
    "pp": "pipeline transfers",
    "dp": "data-parallel exchanges",
    "host": "transfers to and from the host",
}
"""Lanes of a stage and what they show; a device works on each by itself."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Something that a stage's device does for a while on one of its `LANES`."""

    name: str
    stage: int
    lane: str
    start_s: float
    end_s: float
    piece: Piece | None = None  # the pass that it belongs to


@dataclass(frozen=True, slots=True)
class Timeline:
    """One step of a strategy; `stretch_ratio` is its length over that of the schedule played."""

    strategy: Strategy
    step_time_s: float
    stretch_ratio: float
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class _Stage:
    """Seconds of one stage's device: of a chunk's passes by kind of pass, and once a step.

    What is sent is given by lane as (exposed, hidden), in the order in which it ends.
    """

    computing_s: dict[Kind, float]
    sent_s: dict[Kind, dict[str, tuple[float, float]]]
    reduced_s: tuple[float, float]
    gathered_s: tuple[float, float]
    update_s: float
    overlapped_s: float  # of exchanges between experts, where two passes run at once

    def sent_of(self, slot: Slot) -> dict[str, tuple[float, float]]:
        """Return by lane what a slot sends: (exposed, hidden)."""
        sent = {lane: (0.0, 0.0) for lane in LANES if lane != "compute"}
        for piece in slot:
            for lane, (shown_s, behind_s) in self.sent_s[piece.kind].items():
                sent[lane] = sent[lane][0] + shown_s, sent[lane][1] + behind_s
        if len(slot) > 1:
            shown_s, behind_s = sent["ep"]
            sent["ep"] = shown_s - self.overlapped_s, behind_s + self.overlapped_s
        return sent

    def slot_s(self, slot: Slot) -> float:
        computing_s = sum(self.computing_s[piece.kind] for piece in slot)
        return computing_s + sum(shown_s for shown_s, _ in self.sent_of(slot).values())


def timeline(job: Job, strategy: Strategy) -> Timeline:
    """Return one step of `strategy`, whose end is the evaluator's step time."""
    strategies = Strategies.of([strategy])
    evaluation = evaluate(job, strategies)
    types = _stage_types(job, strategies, evaluation.stages)
    copies = int(strategies.copies[0])
    kinds = types_of_stages(evaluation.stages, 0, job.model, strategy.pp, strategy.vp, copies)
    stages = [types[kind] for kind in kinds]
    micro_batches = job.global_batch // (strategy.dp * strategy.micro_batch)
    played = play(orders(strategy, micro_batches), lambda device, slot: stages[device].slot_s(slot))

    # What follows the last pass, and what stragglers add to everything.
    whole_s, waited_s = float(evaluation.step_time_s[0]), float(evaluation.time_parts_s["input"][0])
    step_s = whole_s - waited_s
    slower = step_s / (step_s - float(evaluation.time_parts_s["stragglers"][0]))
    exchanged_s = max(stage.reduced_s[0] + stage.gathered_s[0] for stage in stages)
    updated_s = max(stage.update_s for stage in stages)
    passes_s = step_s / slower - exchanged_s - updated_s - job.software.step_s
    stretch = passes_s / max(one.end_s for one in played)
    slices = [part for one in played for part in _of_slot(one, stages[one.device], stretch)]
    for number, stage in enumerate(stages):
        last_s = max(one.end_s for one in played if one.device == number) * stretch
        busy = (one.end_s for one in slices if (one.stage, one.lane) == (number, "dp"))
        slices += _after_passes(number, stage, last_s, passes_s, max(busy, default=0.0))
    slices.append(
        Slice("host", 0, "compute", step_s / slower - job.software.step_s, step_s / slower)
    )
    # Where samples come late, every stage waits for them before it begins.
    waits = [Slice("input", number, "compute", 0.0, waited_s) for number in range(len(stages))]
    shifted = [
        replace(one, start_s=waited_s + one.start_s * slower, end_s=waited_s + one.end_s * slower)
        for one in slices
    ]
    kept = tuple(one for one in (*waits, *shifted) if one.end_s > one.start_s)
    return Timeline(strategy, whole_s, stretch * slower, kept)


def _stage_types(job: Job, strategies: Strategies, held: Stages) -> list[_Stage]:
    """Return the times of each stage type of the one strategy."""
    profiled, _ = profile(job, strategies)
    micro_batches = job.global_batch / (strategies.dp * strategies.micro_batch)
    data = data_parallel(job, strategies, held, profiled, micro_batches)
    lost = job.lost
    forward = one_pass(0, job, strategies, held, profiled, data, lost)
    backward = one_pass(1, job, strategies, held, profiled, data, lost)
    reduced_s, gathered_s = exposed(job, data, forward, backward)
    overlapped_s = overlapped_experts_s(job, strategies, micro_batches, forward, backward)
    updated_s = optimizer_s(job, strategies, held, profiled)
    updated_s = updated_s + paging_s(job, strategies, held, profiled, updated_s)
    once_s = float(pipeline_transfer(job, strategies, stream_width(job.model))[0][0])
    chunks = float(strategies.vp[0])
    shown = 1 - job.software.overlap_pipeline_ratio
    found: list[_Stage] = []
    for kind in range(held.many.shape[1]):
        computing: dict[Kind, float] = {}
        sent: dict[Kind, dict[str, tuple[float, float]]] = {}
        ways: tuple[tuple[Kind, Pass], ...] = (("forward", forward), ("backward", backward))
        for name, way in ways:
            figures = {"tp": way.tensor_s, "cp": way.context_s, "ep": way.expert_s}
            figures |= {"dp": way.waited_s, "host": way.offload_s}
            computing[name] = float((way.busy_s + way.host_s)[0, kind]) / chunks
            sent[name] = {
                lane: (float(seconds[0, kind]) / chunks, _at(way.hidden_s.get(lane), kind) / chunks)
                for lane, seconds in figures.items()
            }
            behind_s = min(once_s * (1 - shown), computing[name])
            sent[name]["pp"] = (once_s * shown, behind_s)
        # Gradients of weights, where a schedule puts them off; nothing is sent for them.
        computing["weights"], sent["weights"] = _at(backward.weight_s, kind), {}
        computing["inputs"] = computing["backward"] - computing["weights"]
        sent["inputs"] = sent["backward"]
        found.append(
            _Stage(
                computing,
                sent,
                (_at(reduced_s, kind), _at(data.reduce_s - reduced_s, kind)),
                (_at(gathered_s, kind), _at(data.gather_s - gathered_s, kind)),
                _at(updated_s, kind),
                _at(overlapped_s, kind),
            )
        )
    return found


def _at(figures: np.ndarray | None, kind: int) -> float:
    return 0.0 if figures is None else float(figures[0, kind])


def _of_slot(played: Played, stage: _Stage, stretch: float) -> Iterator[Slice]:
    """Yield what a device computes and sends for a pass, or for two that overlap.

    Transfers end one after the other; what is hidden of each ran while the passes computed.
    """
    slot, device, end_s = played.slot, played.device, played.start_s
    names = [f"{piece.kind} {piece.micro_batch + 1}" for piece in slot]
    for piece, name in zip(slot, names, strict=True):
        start_s, end_s = end_s, end_s + stage.computing_s[piece.kind]
        yield Slice(name, device, "compute", start_s * stretch, end_s * stretch, piece)
    for lane, (shown_s, behind_s) in stage.sent_of(slot).items():
        start_s, end_s = max(end_s - behind_s, played.start_s), end_s + shown_s
        name = " and ".join(names)
        yield Slice(name, device, lane, start_s * stretch, end_s * stretch, slot[0])


def _after_passes(
    number: int, stage: _Stage, last_s: float, passes_s: float, free_s: float
) -> Iterator[Slice]:
    """Yield reductions, the update and gathers; a norm over all gradients keeps stages together."""
    shown_s, behind_s = stage.reduced_s
    yield Slice("reduce gradients", number, "dp", max(last_s - behind_s, free_s), last_s + shown_s)
    at_s = passes_s + shown_s
    yield Slice("optimizer", number, "compute", at_s, at_s + stage.update_s)
    at_s += stage.update_s
    yield Slice("gather weights", number, "dp", at_s, at_s + stage.gathered_s[0])
    # The rest of the gather hides behind the next step's first forward pass: here, the one before.
    yield Slice("gather weights", number, "dp", 0.0, stage.gathered_s[1])


def trace_events(found: Timeline) -> dict[str, Any]:
    """Return a timeline in the Chrome trace format, which Perfetto reads; microseconds."""
    events: list[dict[str, Any]] = []
    for stage in range(found.strategy.pp):
        label = {"name": f"stage {stage + 1} of {found.strategy.pp}"}
        events.append({"ph": "M", "name": "process_name", "pid": stage, "args": label})
        events.append(
            {"ph": "M", "name": "process_sort_index", "pid": stage, "args": {"sort_index": stage}}
        )
    used = {(one.stage, one.lane) for one in found.slices}
    for stage, lane in sorted(used, key=lambda pair: (pair[0], list(LANES).index(pair[1]))):
        thread = {"ph": "M", "name": "thread_name", "pid": stage, "tid": list(LANES).index(lane)}
        events.append({**thread, "args": {"name": LANES[lane]}})
    for one in sorted(
        found.slices, key=lambda one: (one.stage, list(LANES).index(one.lane), one.start_s)
    ):
        event: dict[str, Any] = {
            "ph": "X",
            "name": one.name,
            "cat": one.lane if one.piece is None else one.piece.kind,
            "pid": one.stage,
            "tid": list(LANES).index(one.lane),
            "ts": one.start_s * 1e6,
            "dur": (one.end_s - one.start_s) * 1e6,
        }
        if one.piece is not None:
            chunk = one.piece.place // found.strategy.pp
            event["args"] = {"micro_batch": one.piece.micro_batch, "chunk": chunk}
        events.append(event)
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "strategy": found.strategy.to_dict(),
            "step_time_s": found.step_time_s,
            "stretch_ratio": found.stretch_ratio,
        },
    }
