"""What a compressed model holds and does, beside what the model did before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from costsim.architectures import Architecture
from costsim.architectures.activations import kept_bytes
from costsim.architectures.block import Block
from costsim.architectures.formats import bytes_for
from costsim.architectures.operators import ChannelNorm, Experts, Norm, Operator
from costsim.architectures.tensors import Weight
from costsim.architectures.workload import FUSED, REFERENCE, Workload
from costsim.compression.compressing import Compression
from costsim.compression.formats import Format
from costsim.compression.selection import is_convolution, unwrapped
from costsim.compression.sparsity import Packing, Pattern, Unstructured
from costsim.hardware import Accelerator
from costsim.hardware.kernels import load_kernel_model

# torch.save: an entry of a zip archive for each tensor, with its pickled record, aligned to 64.
FILE_BYTES = 1000
TENSOR_FILE_BYTES = 350
"""Of a file and of each tensor in it; 0.3 to 0.5 kB a tensor were measured."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A model's totals; FLOPs, activations and cache are of `batch` sequences of `sequence` tokens.

    `weights_bytes` are those in device memory, `disk_bytes` those of the tensors in a file, and
    `file_bytes` with the file's own structure. `parts` splits the weights' bytes by where they
    stand (embedding, attention, feed_forward, …), `contents` by what they are (elements of each
    format, scales and zeros, indices of sparse values). FLOPs count zeros that a mask left, as the
    reference does; by format they are those of products in each.
    """

    parameters: int
    trainable_parameters: int
    nonzero_parameters: int
    active_parameters: int
    weights_bytes: int
    disk_bytes: int
    file_bytes: int
    parts: dict[str, int]
    contents: dict[str, int]
    forward_flops: int
    flops_by_format: dict[str, int]
    training_flops: int
    activation_bytes: int
    cache_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values, keys with their units."""
        return {
            "parameters": self.parameters,
            "trainable_parameters": self.trainable_parameters,
            "nonzero_parameters": self.nonzero_parameters,
            "active_parameters": self.active_parameters,
            "weights_bytes": self.weights_bytes,
            "weights_bytes_by_part": self.parts,
            "weights_bytes_by_content": self.contents,
            "disk_bytes": self.disk_bytes,
            "file_bytes": self.file_bytes,
            "forward_flops": self.forward_flops,
            "forward_flops_by_format": self.flops_by_format,
            "training_flops": self.training_flops,
            "activation_bytes": self.activation_bytes,
            "cache_bytes": self.cache_bytes,
        }


@dataclass(frozen=True, slots=True)
class Effects:
    """Figures before and after, on the same work."""

    compression: Compression
    batch: int
    sequence: int
    before: Figures
    after: Figures
    notes: tuple[str, ...] = ()


def effects(
    compression: Compression,
    *,
    batch: int = 1,
    sequence: int | None = None,
    accelerator: Accelerator | None = None,
) -> Effects:
    """Return what a compression changes.

    Args:
        compression: the model and its recipes.
        batch: sequences, or images.
        sequence: tokens in each; 2,048 if not given, or the longest that both models are made for.
        accelerator: where it runs; says which formats its products run in.

    Raises:
        UnknownNameError: if the accelerator has no products of what a recipe asks for.
    """
    limits = [m.context_limit for m in (compression.before, compression.after)]
    tokens = sequence or min(2048, *(limit for limit in limits if limit is not None), 2048)
    dtype = compression.dtype
    notes = list(compression.after.notes)
    notes += sparse_notes(compression.after)
    if accelerator is not None:
        notes += kernel_notes(compression.after, accelerator)
    return Effects(
        compression,
        batch,
        tokens,
        figures(compression.before, dtype, batch, tokens, accelerator),
        figures(compression.after, dtype, batch, tokens, accelerator),
        tuple(dict.fromkeys(notes)),
    )


def figures(
    model: Architecture,
    dtype: str = "bf16",
    batch: int = 1,
    sequence: int = 2048,
    accelerator: Accelerator | None = None,
) -> Figures:
    """Return the totals of a model whose weights, where no recipe packed them, are in `dtype`."""
    element = bytes_for(dtype)
    parts: dict[str, int] = defaultdict(int)
    contents: dict[str, int] = defaultdict(int)
    trained, nonzero, disk, tensors = 0, 0, 0, 0
    for count, part, weight in _weights(model):
        stored = int(count * weight.stored_elements)
        trained += 0 if weight.frozen else stored
        nonzero += count * nonzero_elements(weight)
        tensors += count * tensor_count(weight)
        parts[part] += int(count * weight.stored_bytes(element))
        disk += int(count * disk_bytes(weight, element))
        for content, size in _contents(weight, dtype, element):
            contents[content] += count * size
    workload = Workload(batch, sequence)
    blocks = model.blocks(workload)
    return Figures(
        parameters=model.parameters,
        trainable_parameters=trained,
        nonzero_parameters=nonzero,
        active_parameters=model.active_parameters,
        weights_bytes=sum(parts.values()),
        disk_bytes=disk,
        file_bytes=disk + FILE_BYTES + TENSOR_FILE_BYTES * tensors,
        parts=dict(parts),
        contents={name: size for name, size in contents.items() if size},
        forward_flops=model.forward_flops(batch, sequence),
        flops_by_format=_flops_by_format(blocks, dtype, accelerator),
        training_flops=model.training_flops(batch, sequence),
        activation_bytes=int(kept_bytes(model, workload, FUSED, dtype)),
        cache_bytes=model.cache_bytes(batch, sequence, _cached_in(dtype)),
    )


def _weights(model: Architecture) -> Iterator[tuple[int, str, Weight]]:
    """Yield each weight of a layer with how many there are and the part that it belongs to."""
    for block in model.blocks():
        for operator in block.operators:
            part = part_of(operator, block)
            for weight in operator.stored_weights():
                yield int(block.count), part, weight


def part_of(operator: Operator, block: Block) -> str:
    """Return what part of a model an operator belongs to."""
    if ".lora_" in operator.name or operator.name.endswith(".dora"):
        return "adapters"
    if block.part != "layer":
        return "embedding" if block.part == "stem" else "head"
    bare = unwrapped(operator)
    if isinstance(bare, Norm | ChannelNorm):
        return "norms"
    if isinstance(bare, Experts):
        return "experts"
    if is_convolution(bare):
        return "convolutions"
    return operator.name.partition(".")[0]


def _cached_in(dtype: str) -> str:
    """Return the format of a cache beside weights of `dtype`: keys are activations."""
    return dtype if bytes_for(dtype) >= 2 else "bf16"


def packing_of(weight: Weight) -> Packing | None:
    """Return how a weight is stored, where a recipe says so."""
    return cast("Packing | None", weight.packing)


def nonzero_elements(weight: Weight) -> int:
    """Return how many values of a weight a mask left."""
    packing = packing_of(weight)
    if isinstance(packing, Unstructured):
        return sum(packing.kept(shape) for shape in weight.tensors)
    if isinstance(packing, Pattern):
        return sum(packing.kept_values(shape) for shape in weight.tensors)
    return int(weight.stored_elements)


def disk_bytes(weight: Weight, element_bytes: int) -> int:
    """Return bytes of a weight's tensors in a file."""
    packing = packing_of(weight)
    if packing is None:
        return int(weight.stored_bytes(element_bytes))
    return int(sum(packing.disk_bytes(shape) for shape in weight.tensors))


def tensor_count(weight: Weight) -> int:
    """Return how many tensors a file has of a weight: scales, zeros and indices are their own."""
    packing = packing_of(weight)
    form = packing if isinstance(packing, Format) else getattr(packing, "values", None)
    each = 1
    if form is not None:
        each += bool(form.scale_bits) + bool(form.zero_bits) + bool(form.column_bits)
    if isinstance(packing, Unstructured | Pattern):
        each += 1
    return each * len(weight.tensors)


def _contents(weight: Weight, dtype: str, element_bytes: int) -> list[tuple[str, int]]:
    packing = packing_of(weight)
    if packing is None:
        return [(dtype, int(weight.stored_bytes(element_bytes)))]
    form = packing if isinstance(packing, Format) else packing.values
    scales = sum(int(form.scale_bytes(shape)) for shape in weight.tensors)
    indices = 0
    if isinstance(packing, Pattern) and packing.native:
        indices = sum(int(packing.index_bytes(shape)) for shape in weight.tensors)
    total = int(weight.stored_bytes(element_bytes))
    return [
        (form.name, total - scales - indices),
        ("scales and zeros", scales),
        ("indices", indices),
    ]


def _flops_by_format(
    blocks: tuple[Block, ...], dtype: str, accelerator: Accelerator | None
) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    kernels = None if accelerator is None else load_kernel_model(accelerator)
    for block in blocks:
        for operator in block.operators:
            flops = sum(work.flops for work in operator.work("forward", REFERENCE))
            if not flops:
                continue
            name = dtype
            if operator.packing is not None:
                wanted = operator.packing.kernels
                first = wanted[0] if wanted else "not modelled"
                name = first if kernels is None else kernels.runs(wanted)
            found[name] += int(block.count * flops)
    return dict(found)


def sparse_notes(model: Architecture) -> list[str]:
    """Return what is not gained by zeros in the weights of `model`."""
    notes: list[str] = []
    for packing in _packings(model):
        if isinstance(packing, Unstructured):
            notes.append(
                f"{packing.ratio:.0%} zeros anywhere: no speed-up here, and no memory saved on "
                "the device: no kernel of matrix units skips them; files shrink"
            )
        elif isinstance(packing, Pattern) and not packing.native:
            notes.append(
                f"{packing.kept}:{packing.of} zeros in {packing.values.name}: no speed-up here: "
                "matrix units skip 2 of 4 values of 8 or 16 bits only; files shrink"
            )
        elif isinstance(packing, Pattern):
            notes.append(
                "2:4 products are timed at 0.7 of the doubled rate (measured: 1.2 to 1.6 times "
                "dense ones where compute binds; small products gain less)"
            )
    return notes


def kernel_notes(model: Architecture, accelerator: Accelerator) -> list[str]:
    """Return where products run in other formats than the recipes ask for, and what that costs.

    Raises:
        UnknownNameError: where the accelerator has products in none of them.
    """
    kernels, notes = load_kernel_model(accelerator), list[str]()
    for packing in _packings(model):
        form = packing if isinstance(packing, Format) else packing.values
        chosen, wanted = kernels.runs(packing.kernels), packing.kernels[0]
        if chosen != wanted:
            notes.append(
                f"{accelerator.name} has no {wanted} products: {form.name} is timed as {chosen}, "
                "which saves memory and its traffic, not compute"
            )
        elif form.scale_bits and form.activation_bits is None:
            notes.append(
                f"{form.name} holds weights alone: products run in 16 bits; decoding gains, "
                "prefill and training do not"
            )
        if form.bits not in (4, 8, 16, 32) and form.scale_bits:
            notes.append(f"no kernel of {form.bits}-bit weights was measured: timed as {chosen}")
        elif form.scope == "flat":
            notes.append(f"no kernel of {form.name} was measured: timed as int4 in groups")
    return notes


def _packings(model: Architecture) -> list[Packing]:
    found = {
        cast("Packing", operator.packing): None
        for block in model.blocks()
        for operator in block.operators
        if operator.packing is not None
    }
    return list(found)
