"""A row of the language-model oracle beside what a model counts, figure by figure."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from costsim.architectures import Architecture, load_model
from costsim.architectures.architecture import forward_flops
from costsim.architectures.encoder_decoder import EncoderDecoder
from costsim.architectures.workload import FUSED, Workload

Row = Mapping[str, Any]
SPELLINGS = ("lm_configs", "lm_configs_short")


def shape(text: str) -> tuple[int, int]:
    """Return batch, and tokens written (or samples heard), of a shape as the oracle spells it."""
    first, *parts = text.split("_")
    lengths = {
        key: int(part.removeprefix(key))
        for part in parts
        for key in ("dec", "enc", "wav", "s")
        if part.removeprefix(key).isdigit()
    }
    tokens = next(lengths[key] for key in ("dec", "s", "wav") if key in lengths)
    return int(first.removeprefix("b")), tokens


def figures(model: Architecture, row: Row) -> Iterator[tuple[str, int, int]]:
    """Yield (figure, ours, theirs) of everything that `row` states about `model`."""

    def stated(column: str) -> str:
        return str(row.get(column) or "")

    def pair(figure: str, ours: Callable[[], int], theirs: str) -> Iterator[tuple[str, int, int]]:
        if theirs:
            yield figure, ours(), int(float(theirs))

    yield from pair("parameters", lambda: model.parameters, stated("total_params"))
    embedded = stated("embedding_params")
    yield from pair("embedding parameters", lambda: model.embedding_parameters, embedded)
    yield from pair("active parameters", lambda: model.active_parameters, stated("active_params"))
    for name in ("fwd1", "fwd2"):
        if not stated(f"{name}_flops"):
            continue
        size = shape(row[f"{name}_shape"])
        yield from pair(name, lambda s=size: model.forward_flops(*s), stated(f"{name}_flops"))
        yield from pair(
            f"{name} of routed experts",
            lambda s=size: int(forward_flops(model.blocks(Workload(*s)), FUSED)),
            stated(f"{name}_flops_sparse"),
        )
        if name == "fwd1":
            both = stated("fwdbwd1_flops_convfix") or stated("fwdbwd1_flops")
            yield from pair("forward and backward", lambda s=size: model.training_flops(*s), both)
    for index in (1, 2, 3):
        if past := stated(f"decode{index}_past"):
            yield from pair(
                f"decode after {past}",
                lambda p=past: model.decode_flops(1, int(float(p))),
                stated(f"decode{index}_flops"),
            )
    for entry in filter(None, stated("cache_at").split(";")):
        tokens, sizes = entry.split("=")
        elements, size = sizes.split("/")
        description = model.description
        if isinstance(description, EncoderDecoder) and int(tokens) % 2:
            # One token more was written than read.
            held = description.cache(1, int(tokens), int(tokens) - 1)
            count = sum(tensor.elements * many for tensor, many in held)
            yield from pair(f"cache elements after {tokens}", lambda c=count: int(c), elements)
        else:
            yield from pair(
                f"cache after {tokens}", lambda t=tokens: model.cache_bytes(1, int(t)), size
            )


def differences(
    model: Architecture,
    row: Row,
    not_met: Collection[tuple[str, str]] = (),
    within: Mapping[str, float] | None = None,
) -> list[str]:
    """Return what differs, one line a figure.

    Args:
        model: as read from the row's config.
        row: of the oracle.
        not_met: (row name, figure) that are known to differ.
        within: figures of which the oracle is inexact, and how far it may be off.
    """
    found: list[str] = []
    for figure, ours, theirs in figures(model, row):
        off = abs(ours / theirs - 1) if theirs else float(ours != theirs)
        if off > (within or {}).get(figure, 0) and (row["name"], figure) not in not_met:
            found.append(f"{row['name']}: {figure} is {ours}, PyTorch says {theirs}")
    return found


def oracle_rows(shared: Path, wanted: Callable[[Row], bool]) -> Iterator[tuple[Row, Architecture]]:
    """Yield every wanted row with the model of each spelling of its config."""
    oracle = shared / "validation" / "oracle"
    csv.field_size_limit(1_000_000)
    with (oracle / "lm_oracle.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            if not wanted(row):
                continue
            for spelling in SPELLINGS:
                folder = oracle / spelling / row["name"]
                if folder.is_dir():
                    yield row, load_model(folder)
