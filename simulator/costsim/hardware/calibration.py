"""Constants of kernels and links that measurement gave, read from hardware_specs/calibration.

One file a class of accelerators (`hopper.yaml`), named by the architectures that share its
kernels; `classes.yaml` says which architecture belongs to which class. A class states only what was
measured on it and inherits the rest through `extends`, at last from `generic.yaml`, the medians of
all measured GPU classes. What a constant means and its unit stands in `glossary.yaml` and beside
the attributes here; how well it fits stands in each file under `fit` and in docs/kernels.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from costsim.errors import CatalogError, Location
from costsim.resources import data_folder


@dataclass(frozen=True, slots=True)
class GemmConstants:
    """How matrix products of one number format run on a class of accelerators.

    Attributes:
        compute_ratio: share of the dense peak that a full wave of large tiles sustains.
        memory_ratio: share of the nameplate memory bandwidth that operands stream at.
        launch_s: fixed time of a launch inside a captured graph.
        overlap_exponent: p of the soft maximum of compute and memory time; 1 adds them, large
            values overlap them fully.
        fill_k: prologue and epilogue of a tile, in steps along k that would take as long.
        wave_share: share of a partial last wave of tiles that is paid as a full one.
        tile_half: tile extent (harmonic, elements) at which operand delivery halves the rate.
        split_ratio: bandwidth of the partial sums of split-k, over memory bandwidth.
        quantize_passes: passes over the activations to quantize them, in their own traffic.
        register_tile: side of the tiles that a core of a CPU keeps in its registers, which fit any
            shape; 0 for matrix units.
    """

    compute_ratio: float
    memory_ratio: float
    launch_s: float
    overlap_exponent: float
    fill_k: float
    wave_share: float
    tile_half: float
    split_ratio: float
    quantize_passes: float
    register_tile: float = 0.0


@dataclass(frozen=True, slots=True)
class AttentionConstants:
    """How fused (flash) attention over many query tokens runs.

    Attributes:
        compute_ratio: share of the dense peak of the two matrix products.
        memory_ratio: share of memory bandwidth for queries, keys, values and output.
        launch_s: fixed time of a launch.
        overlap_exponent: p of the soft maximum of compute and memory time.
        softmax_dim: head dimension whose products take as long as the exponentials of a score.
        fill_tokens: fixed cost of a block of queries, in keys that would take as long.
        balance_exponent: q of the soft maximum of the mean load of a compute unit and the longest
            block of queries.
        backward_ratio: rate of the five products of the backward over that of the forward.
        query_block_tokens: queries that one block holds.
        key_block_tokens: keys that one step of a block reads, masked or not.
    """

    compute_ratio: float
    memory_ratio: float
    launch_s: float
    overlap_exponent: float
    softmax_dim: float
    fill_tokens: float
    balance_exponent: float
    backward_ratio: float
    query_block_tokens: float = 128.0
    key_block_tokens: float = 128.0


@dataclass(frozen=True, slots=True)
class DecodeConstants:
    """How attention of a few query tokens over a cache runs (split over the context).

    Attributes:
        memory_ratio: share of memory bandwidth that a long cache streams at.
        compute_ratio: share of the dense peak for the products of few query rows.
        launch_s: fixed time of a launch.
        split_s: extra time to combine the parts of a split context.
        split_tokens: context length from which the whole of `split_s` is paid.
        overlap_exponent: p of the soft maximum of memory, compute and block time.
        kv_head_s: time of one block on one compute unit, a sequence and key-value head.
        query_head_s: the same, a query head.
        splits: parts into which a context is cut at most; few sequences with few heads then
            leave compute units idle.
        cache_ratio: bandwidth of a context already in the last-level cache, over memory's.
    """

    memory_ratio: float
    compute_ratio: float
    launch_s: float
    split_s: float
    split_tokens: float
    overlap_exponent: float
    kv_head_s: float
    query_head_s: float
    splits: float
    cache_ratio: float


@dataclass(frozen=True, slots=True)
class StreamingConstants:
    """How kernels that do little work for each byte run.

    They are bound by memory or, with row sums, gathers and transcendental functions, by how many
    bytes a compute unit gets through in a clock; the latter carries over between generations.

    Attributes:
        launch_s: fixed time of a launch.
        memory_ratio: share of memory bandwidth of additions, copies and optimizer updates.
        overlap_exponent: p of the soft maximum of memory and issue time.
        activation_per_clock: bytes a unit and clock of gated activations (silu(x)·y).
        normalization_per_clock: the same of layer and RMS normalization over rows.
        rotary_per_clock: the same of rotary position embedding.
        embedding_per_clock: the same of gathering rows of a table.
        softmax_per_clock: the same of softmax over rows and of the loss.
    """

    launch_s: float
    memory_ratio: float
    overlap_exponent: float
    activation_per_clock: float
    normalization_per_clock: float
    rotary_per_clock: float
    embedding_per_clock: float
    softmax_per_clock: float


@dataclass(frozen=True, slots=True)
class GroupedConstants:
    """How the products of routed experts run, from sorting tokens to combining outputs.

    Attributes:
        memory_ratio: share of memory bandwidth that the weights of touched experts stream at.
        compute_ratio: share of the dense peak of full tiles.
        launch_s: fixed time of sorting, two products, activation and combination.
        overlap_exponent: p of the soft maximum of compute and memory time.
        expert_s: time that a touched expert costs beside its bytes.
        token_passes: passes over the rows that experts work on, in 16 bits (gather, quantize,
            activation).
        resident_passes: passes over the tokens on the rank (sort, combine).
        slot_passes: passes over every choice of every token on the rank.
    """

    memory_ratio: float
    compute_ratio: float
    launch_s: float
    overlap_exponent: float
    expert_s: float
    token_passes: float
    resident_passes: float
    slot_passes: float


@dataclass(frozen=True, slots=True)
class LinkConstants:
    """How collectives run over one kind of link.

    Attributes:
        ring_ratio: share of the printed bandwidth that a long ring sustains.
        pair_share: extra time of a ring of two over a long one, falling with ranks - 1.
        pipeline_ratio: weight of the square-root term of a chunked pipeline.
        base_s: fixed time of a collective.
        step_s: time of one step of a ring or one level of a tree.
        in_network_ratio: share of the bandwidth when switches reduce; 0 = they do not.
        in_network_s: fixed time of a reduction in the switches.
        all_to_all_ratio: share of the bandwidth in an all-to-all.
        all_to_all_s: fixed time of an all-to-all.
        peer_s: time of each peer of an all-to-all beyond the first.
        direct_s: fixed time of a one-shot kernel that reads its peers' memory; 0 = none.
        direct_ratio: share of the bandwidth of such a kernel.
    """

    ring_ratio: float
    pair_share: float
    pipeline_ratio: float
    base_s: float
    step_s: float
    in_network_ratio: float
    in_network_s: float
    all_to_all_ratio: float
    all_to_all_s: float
    peer_s: float
    direct_s: float
    direct_ratio: float


@dataclass(frozen=True, slots=True)
class ExchangeConstants:
    """How tokens travel to their experts and back.

    Attributes:
        dispatch_s: fixed time of sending tokens to their experts.
        combine_s: fixed time of bringing outputs back and adding them.
        node_s: extra where a network is crossed.
        unit_bytes_per_s: what one compute unit moves.
        link_ratio: share of the innermost links that many units reach.
        network_ratio: share of the links further out.
    """

    dispatch_s: float
    combine_s: float
    node_s: float
    unit_bytes_per_s: float
    link_ratio: float
    network_ratio: float


@dataclass(frozen=True, slots=True)
class ClassConstants:
    """All constants of one class, with where each group of them comes from.

    Attributes:
        name: of the class, "hopper".
        measured: ids of the accelerators that its constants were fitted on.
        compute_units: independent matrix engines, for sheets that do not print them.
        clock_hz: likewise.
        gemm: constants by number format.
        attention: constants by number format of queries, keys and values.
        decode: constants by number format of the cache; "latent" = one shared compressed head.
        grouped: constants by number format.
        origin: class that states each group ("gemm.bf16": "hopper").
        sources: sources of the files read.
    """

    name: str
    measured: tuple[str, ...]
    compute_units: int
    clock_hz: float
    gemm: Mapping[str, GemmConstants]
    attention: Mapping[str, AttentionConstants]
    decode: Mapping[str, DecodeConstants]
    streaming: StreamingConstants
    grouped: Mapping[str, GroupedConstants]
    origin: Mapping[str, str]
    sources: tuple[str, ...]


Record = TypeVar(
    "Record",
    GemmConstants,
    AttentionConstants,
    DecodeConstants,
    StreamingConstants,
    GroupedConstants,
    LinkConstants,
    ExchangeConstants,
)


def calibration_folder() -> Path:
    """Return the folder of the packaged calibration."""
    return data_folder("hardware_specs") / "calibration"


@cache
def class_of(architecture: str) -> str:
    """Return the class whose kernels an architecture runs; "generic" if none is known."""
    table = cast(dict[str, str], _read("classes"))
    matches = [prefix for prefix in table if architecture.startswith(prefix)]
    return table[max(matches, key=len)] if matches else "generic"


def class_names() -> tuple[str, ...]:
    """Return the names of all classes, "generic" first."""
    table = cast(dict[str, str], _read("classes"))
    return ("generic", *sorted({*table.values()} - {"generic"}))


@cache
def load_class(name: str) -> ClassConstants:
    """Return the constants of class `name` with those that it inherits.

    Raises:
        CatalogError: if its file lacks a constant or has one that does not exist.
    """
    chain = [_read(name)]
    while "extends" in chain[-1]:
        chain.append(_read(cast(str, chain[-1]["extends"])))
    origin: dict[str, str] = {}

    def tables(group: str) -> dict[str, dict[str, float]]:
        merged: dict[str, dict[str, float]] = {}
        for document in reversed(chain):
            for key, row in cast(dict[str, dict[str, float]], document.get(group, {})).items():
                merged[key] = {**merged.get(key, {}), **row}
                origin[f"{group}.{key}"] = cast(str, document["class"])
        return merged

    def records(record: type[Record], group: str) -> dict[str, Record]:
        return {key: _record(record, row, name, group) for key, row in tables(group).items()}

    streaming: dict[str, float] = {}
    for document in reversed(chain):
        if "streaming" in document:
            streaming |= cast(dict[str, float], document["streaming"])
            origin["streaming"] = cast(str, document["class"])
    return ClassConstants(
        name=name,
        measured=tuple(cast(list[str], chain[0].get("measured", []))),
        compute_units=int(next(d["compute_units"] for d in chain if "compute_units" in d)),
        clock_hz=float(next(d["clock_hz"] for d in chain if "clock_hz" in d)),
        gemm=records(GemmConstants, "gemm"),
        attention=records(AttentionConstants, "attention"),
        decode=records(DecodeConstants, "decode"),
        streaming=_record(StreamingConstants, streaming, name, "streaming"),
        grouped=records(GroupedConstants, "grouped"),
        origin=origin,
        sources=tuple(cast(str, document["source"]) for document in chain),
    )


@cache
def load_link(kind: str, class_name: str) -> LinkConstants:
    """Return the constants of links of `kind` between accelerators of class `class_name`.

    Raises:
        CatalogError: if no row of links.yaml covers the kind.
    """
    rows = cast(list[dict[str, Any]], _read("links")["links"])
    of_kind = [row for row in rows if kind in row["kinds"]]
    for row in of_kind:
        if class_name in row.get("classes", ()):
            return _record(LinkConstants, row["constants"], "links", kind)
    for row in of_kind:
        if "classes" not in row:
            return _record(LinkConstants, row["constants"], "links", kind)
    raise CatalogError(
        f"no constants for links of kind `{kind}`",
        location=Location(str(calibration_folder() / "links.yaml")),
    )


@cache
def load_exchange() -> ExchangeConstants:
    """Return the constants of moving tokens to experts, which fit all devices measured.

    Raises:
        CatalogError: if exchange.yaml lacks a constant or has one that does not exist.
    """
    return _record(ExchangeConstants, _read("exchange")["constants"], "exchange", "constants")


def _record(record: type[Record], row: Mapping[str, float], name: str, group: str) -> Record:
    known = {field.name for field in fields(record)}
    stated = {field.name for field in fields(record) if field.default is MISSING}
    if wrong := (stated - row.keys()) | (row.keys() - known):
        raise CatalogError(
            f"`{group}` of class `{name}` has missing or unknown constants: "
            + ", ".join(f"`{key}`" for key in sorted(wrong)),
            location=Location(str(calibration_folder() / f"{name}.yaml")),
        )
    return record(**{key: float(value) for key, value in row.items()})


@cache
def _read(name: str) -> dict[str, Any]:
    import yaml

    with (calibration_folder() / f"{name}.yaml").open("rb") as handle:
        return cast(dict[str, Any], yaml.load(handle, Loader=yaml.CSafeLoader))
