"""A model as it is published: matrices stored and multiplied as its quantization says.

One mechanism for estimates, plans and recipes: the blocks of a published model have packed
matrices, those of modules that the release keeps in 16 bits among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, TypeAlias

from costsim.algebra import Number
from costsim.architectures.architecture import Architecture, Description
from costsim.architectures.block import Block
from costsim.architectures.operators import Experts, Operator
from costsim.architectures.quantization import Quantization
from costsim.architectures.workload import Workload
from costsim.compression.adapters import Adapt
from costsim.compression.description import Cache, Compressed, with_pass
from costsim.compression.formats import Format, plain
from costsim.compression.modules import Modules, is_tower, names_of
from costsim.compression.selection import is_convolution, unwrapped
from costsim.hardware.kernels import FORMATS


@dataclass(frozen=True, slots=True)
class Published:
    """A description whose matrices are stored as a release stores them."""

    inner: Description
    quantization: Quantization
    _chooser: list[_Chooser] = field(
        default_factory=list["_Chooser"], init=False, compare=False, repr=False
    )

    @property
    def context_limit(self) -> Number | None:
        """Longest sequence that the model is made for."""
        return self.inner.context_limit

    @property
    def usual_workload(self) -> Workload | None:
        """The inputs of a traced module."""
        return getattr(self.inner, "usual_workload", None)

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return stem, layers and head as they work on `workload`."""
        if not self._chooser:
            self._chooser.append(_Chooser.of(self.quantization))
        return _packed(self.inner.blocks(workload), self._chooser[0])

    def cache(self, batch: Number, tokens: Number) -> Cache:
        """Return each cached tensor with how many layers hold one like it."""
        return self.inner.cache(batch, tokens)


def published_precision(model: Architecture) -> str:
    """Return the format that products of a published model run in: bf16 where it is not packed."""
    form = None if model.quantization is None else format_of(model.quantization)
    if form is None or not form.kernels:
        return "bf16" if model.quantization is None else model.quantization.wide
    return form.kernels[0]


def published_wide(model: Architecture) -> str:
    """Return the format of what a published model keeps as it is."""
    return "bf16" if model.quantization is None else model.quantization.wide


def as_published(model: Architecture, precision: str | None = None) -> Architecture:
    """Return `model` with its matrices as they are published.

    Args:
        model: as it was read.
        precision: format that was asked for, where one was. Another than the published one means
            weights that are converted to it first, and the model is returned as it is.
    """
    stored = _with_formats(model, precision)
    if model.adapter is None:
        return stored
    added = model.adapter
    step = Adapt(added.rank, added.targets, added.magnitudes)
    return with_pass(replace(stored, adapter=None), step)


def is_published(model: Architecture) -> bool:
    """Return whether matrices are packed as a release packs them."""
    held = model.description
    return isinstance(held.inner if isinstance(held, Compressed) else held, Published)


def _with_formats(model: Architecture, precision: str | None) -> Architecture:
    held = model.quantization
    if held is None or is_published(model):
        return model
    form = format_of(held)
    if form is None or (precision is not None and not _same(form, precision)):
        return model
    return replace(model, description=Published(model.description, held))


def _same(form: Format, precision: str) -> bool:
    """Return whether `precision` is a name for the published format, or how it is multiplied."""
    kernel = FORMATS.get(precision)
    if precision in form.kernels or precision == form.name:
        return True
    if kernel is None:
        return False
    floats = not precision.startswith(("int", "w"))
    return round(8 * kernel.weight_bytes) == form.bits and floats == form.floats


def format_of(held: Quantization) -> Format | None:
    """Return the storage format of the matrices that are quantized; None where it is not known."""
    if held.bits is None:
        return None
    bits, floats = held.bits, held.kind == "float"
    scope = "tensor"
    if held.group is not None:
        scope = "flat" if held.flat else "tile" if held.rows > 1 else "group"
    elif held.channel:
        scope = "channel"
    return Format(
        name=_name(held),
        bits=bits,
        kernels=_kernels(held),
        scope=scope,
        group=held.group or 1,
        rows=held.rows if held.rows > 1 else None,
        scale_bits=held.scale_bits or (32 if scope == "tensor" else 0),
        zero_bits=held.zero_bits,
        scales_per_constant=held.scales_per_constant,
        column_bits=32 if held.method.lower().startswith("gptq") else 0,  # each input's group
        activation_bits=held.activation_bits,
        floats=floats,
        published=True,
        source=str(held),
    )


def _name(held: Quantization) -> str:
    kind = "fp" if held.kind == "float" else "int"
    group = f"-g{held.group}" if held.group is not None else ""
    return f"{held.method} {kind}{held.bits}{group}"


def _kernels(held: Quantization) -> tuple[str, ...]:
    """Formats of products, the best first: of activations as narrow, else of 16 bits."""
    bits, group = held.bits or 16, held.group
    weights = "w4a16" if bits <= 4 else "w8a16" if bits <= 8 else held.wide
    if bits > 8:
        return (weights,)
    if held.kind == "float" and bits == 8 and held.activation_bits:
        if group == 32:
            return ("mxfp8", weights)
        return ("fp8_block" if group else "fp8", weights)
    if held.kind == "float" and bits == 4 and (held.activation_bits == 4 or group == 32):
        if held.flat:
            return (weights,)
        return ("nvfp4" if group == 16 else "mxfp4", weights)
    if held.kind == "integer" and bits == 8 and held.activation_bits == 8:
        return ("int8", weights)
    return (weights,)


Choice: TypeAlias = tuple[Format | None, ...]
"""The format of an operator's matrices in each layer of a block; one where they are all alike."""


@dataclass(slots=True)
class _Chooser:
    """What each operator of a model is stored in, found once."""

    held: Quantization
    modules: Modules[Quantization | None]
    known: dict[tuple[object, ...], Choice] = field(default_factory=dict[Any, Any])

    @classmethod
    def of(cls, held: Quantization) -> _Chooser:
        kept = tuple((name, None) for name in held.kept)
        return cls(held, Modules((*kept, *held.rules)))

    def choice(self, operator: Operator, block: Block, layers: range, *, apart: bool) -> Choice:
        """Return the formats of an operator's matrices; None where it has none to store."""
        bare = unwrapped(operator)
        weights = [weight for weight in bare.weights() if weight.matrix]
        if not weights or operator.packing is not None:
            return (None,)
        if is_convolution(bare):
            return (replace(plain(self.held.wide), filters=True),)
        table = all(weight.lookup or weight.tied_to is not None for weight in weights)
        key = (operator.name, block.name, block.part, layers, type(bare), table, apart)
        if key not in self.known:
            usual = _reached(bare, block, self.held, table=table)
            names = names_of(operator.name, block.name, block.part, apart=apart)
            self.known[key] = self._choice(names, layers, usual=usual, table=table)
        return self.known[key]

    def _choice(self, names: tuple[str, ...], layers: range, *, usual: bool, table: bool) -> Choice:
        wide = None if table else plain(self.held.wide)
        form = format_of(self.held) if usual else wide
        named = self.modules.of(names, layers) if self.modules else {}
        if not named:
            return (form,)
        chosen = {
            layer: wide if said is None else format_of(said) or wide
            for layer, said in named.items()
        }
        found = tuple(chosen.get(layer, form) for layer in layers)
        return found[:1] if len(set(found)) == 1 else found


def _packed(blocks: tuple[Block, ...], chooser: _Chooser) -> tuple[Block, ...]:
    """Return `blocks` with packed matrices; layers that are stored unlike become blocks apart."""
    found: list[Block] = []
    counted: dict[str, int] = {}
    for block in blocks:
        section = block.name.partition(".")[0] if is_tower(block.name) else "text"
        first = counted.get(section, 0)
        layers = range(first, first + (int(block.count) if block.part == "layer" else 1))
        if block.part == "layer":
            counted[section] = layers.stop
        found += _runs(block, layers, chooser)
    return tuple(found)


def _runs(block: Block, layers: range, chooser: _Chooser) -> Iterator[Block]:
    """Yield `block` in runs of layers whose operators are stored alike."""
    held = {operator.name for operator in block.operators}
    apart = {"feed_forward.up", "feed_forward.experts"} <= held
    choices = [chooser.choice(one, block, layers, apart=apart) for one in block.operators]
    if all(len(choice) == 1 for choice in choices):
        forms = tuple(form for choice in choices for form in choice)
        yield replace(block, operators=_stored(block.operators, forms))
        return
    columns = [choice if len(choice) > 1 else choice * len(layers) for choice in choices]
    each = list(zip(*columns, strict=True))
    made: dict[tuple[Format | None, ...], tuple[Operator, ...]] = {}
    start, stem = layers.start, block.name.rpartition(".")[0] or block.name
    for forms, run in groupby(each):
        length = sum(1 for _ in run)
        if forms not in made:
            made[forms] = _stored(block.operators, forms)
        name = f"{stem}.{start}"
        yield replace(block, name=name, operators=made[forms], count=length)
        start += length


def _stored(
    operators: tuple[Operator, ...], forms: tuple[Format | None, ...]
) -> tuple[Operator, ...]:
    return tuple(
        operator if form is None else replace(operator, packing=form)
        for operator, form in zip(operators, forms, strict=True)
    )


def _reached(operator: Operator, block: Block, held: Quantization, *, table: bool) -> bool:
    """Return whether a tool quantizes an operator of which it says nothing."""
    if table or operator.role == "router":
        return table and held.tables
    if block.part == "head":
        return held.head
    if held.reach == "named":
        return False
    if held.reach == "experts":
        return isinstance(operator, Experts)
    tower = is_tower(block.name)
    if held.reach == "text":
        return block.part == "layer" and not tower
    return block.part == "layer" or tower
