"""What a row says ran: its words read into fields, and what in it contradicts the rest."""

from __future__ import annotations

from math import ceil, log
from typing import Literal, TypeAlias, cast

from costsim.architectures.architecture import Architecture
from costsim.architectures.catalog import model_names, published_parameters
from costsim.hardware.experts import Dispatcher
from costsim.hardware.systems import System
from costsim.stacks.stack import Meter
from costsim.training.optimizers import OPTIMIZERS
from costsim.training.recompute import RECOMPUTE, Recompute
from costsim.training.schedule import SCHEDULES, Schedule
from costsim.training.software import Graphs
from costsim.validation.interconnect import scale_out_bytes_per_s, slices
from costsim.validation.runs import Run
from costsim.validation.words import meaning, understood

Routing: TypeAlias = Literal["drop", "dropless"]

_SAME_PARAMETERS = 0.03  # of counts of one model, as people round and count them
_OTHER_MODEL = 0.10


def graphs_of(run: Run) -> Graphs | None:
    """Return what is captured in CUDA graphs; None where the row says nothing."""
    return cast("Graphs | None", meaning(run, "graphs"))


def routing_of(run: Run) -> Routing | None:
    """Return what becomes of tokens beyond an expert's share; None where the row says nothing."""
    return cast("Routing | None", meaning(run, "routing"))


def dispatcher_of(run: Run) -> Dispatcher | None:
    """Return how tokens travel to their experts; None where the row says nothing."""
    return cast("Dispatcher | None", meaning(run, "dispatcher"))


def meter_of(run: Run) -> Meter | None:
    """Return which memory was measured; None where the row says nothing."""
    return cast("Meter | None", meaning(run, "memory_kind"))


def packs_of(run: Run) -> bool | None:
    """Return whether documents fill sequences end to end; None where the row says nothing."""
    found = meaning(run, "sequence_packing")
    return None if found is None else found == "yes"


def release_of(run: Run) -> tuple[int, ...] | None:
    """Return the release of the framework as numbers, (26, 4, 1); None where it states none."""
    parts = run.text.get("release", "").split(".")
    if all(part.isdecimal() and part.isascii() for part in parts):
        return tuple(int(part) for part in parts)
    if any(parts):
        run.account.note("unknown", f"release `{run.text['release'][:60]}`", column="release")
    return None


def parts_of(run: Run, column: str) -> tuple[str, ...]:
    """Return the parts of a cell that lists several: overlap, offload, adapter_targets."""
    words = run.text.get(column, "").replace(";", "+").replace(",", "+")
    return tuple(part for part in (one.strip() for one in words.split("+")) if part)


def optimizer_of(run: Run) -> str | None:
    """Return the optimizer by the name that the evaluator knows; None where none is stated."""
    return meaning(run, "optimizer", OPTIMIZERS)


def recompute_of(run: Run) -> Recompute | None:
    """Return what is made again; None where the row says nothing.

    Words that nobody knows are taken for whole layers, and noted.
    """
    if not run.text.get("recompute"):
        return None
    return cast("Recompute", meaning(run, "recompute", RECOMPUTE) or "full")


def schedule_of(run: Run) -> Schedule | None:
    """Return the pipeline's schedule; None where the row says nothing."""
    return cast("Schedule | None", meaning(run, "schedule", SCHEDULES))


def sharding_of(run: Run, devices: int, devices_per_node: int) -> tuple[int | None, int]:
    """Return the ZeRO stage, None where the row says nothing, and over how many copies (HSDP)."""
    found = understood(run, "zero_or_fsdp")
    if found is None:
        return None, 1
    says, match = found
    number = {
        "all": 1,
        "slice": slices(run.text.get("interconnect", "")),
        "node": devices // devices_per_node,
    }
    copies = devices // int(match[1]) if says["over"] == "group" else number[says["over"]]
    return says["zero"], max(1, copies)


def accumulates_as_stated(run: Run, ranks: int, micro_batch: int, batch: float) -> None:
    """Note a stated accumulation that is not what batch and ranks leave."""
    stated = run.number.get("grad_accum")
    follows = batch / (ranks * micro_batch)
    if stated and abs(stated / max(1.0, follows) - 1) > _SAME_PARAMETERS:
        text = f"grad_accum {stated:g}, where batch and ranks leave {follows:g}"
        run.account.note("contradiction", text, column="grad_accum")


def network_as_stated(run: Run, system: System) -> float:
    """Return the stated bytes a second between nodes, per device and one way; 0 where none is.

    Where the words of `interconnect` name other ports, those count, and the column is noted.
    """
    if system.count <= system.devices_per_node:
        return 0.0  # nothing is sent between nodes
    stated = run.number.get("network_gbps_per_device", 0.0) * 1e9 / 8
    words = run.text.get("interconnect", "")
    named = scale_out_bytes_per_s(words, system.devices_per_node) if words else None
    if stated and named and abs(stated / named - 1) > _SAME_PARAMETERS:
        text = (
            f"network_gbps_per_device {stated * 8e-9:g}, where interconnect says {named * 8e-9:g}"
        )
        run.account.note("contradiction", text, column="network_gbps_per_device")
    return stated


def nodes_as_stated(run: Run, system: System) -> None:
    """Note stated nodes that are not those of the system."""
    stated, follows = run.number.get("nodes"), ceil(system.count / system.devices_per_node)
    if stated and stated != follows:
        text = f"nodes {stated:g}, taken as {follows} of {system.devices_per_node} devices"
        run.account.note("unused", text, column="nodes")


def parameters_differ(run: Run, model: Architecture, counted: float = 0.0) -> str:
    """Return why a model cannot be the one of a row, which has another number of parameters.

    Smaller differences are noted. People count with and without embeddings: the nearest counts; so
    does what a table is known to have `counted`.
    """
    embedded = model.embedding_parameters
    counts = {model.parameters, model.parameters - embedded}
    if model.name in model_names():
        counts.add(published_parameters(model.name) or model.parameters)
    active = model.active_parameters
    passed = {active, active - embedded, active - embedded // 2}
    if counted:  # billions, as the tables of its maker have it
        counts, passed = counts | {counted * 1e9}, passed | {counted * 1e9}
    for column, known in (("params_B", counts), ("active_params_B", passed)):
        stated = run.number.get(column, 0.0)
        if not stated:
            continue
        ratio = min((count / 1e9 / stated for count in known), key=lambda r: abs(r - 1))
        text = f"{column} {stated:,.4g}, of {model.name or 'this shape'} {ratio * stated:,.4g}"
        if column == "params_B" and abs(ratio - 1) > _OTHER_MODEL:
            return f"not the model that is stated: {text}"
        if abs(ratio - 1) > _SAME_PARAMETERS:
            run.account.note("parameters", text, column=column, width=abs(log(ratio)))
    return ""
