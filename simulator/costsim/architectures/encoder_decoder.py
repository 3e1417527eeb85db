"""The encoder-decoder: one stack reads a sequence, another writes one and looks at the first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from costsim.algebra import Number
from costsim.architectures.block import Block
from costsim.architectures.layers.recording import recorded
from costsim.architectures.stacks import Head, Stack
from costsim.architectures.tensors import Activation, CacheTensor
from costsim.architectures.workload import Workload


@runtime_checkable
class DecoderLayer(Protocol):
    """A layer that keeps something of its own positions and of the encoder's."""

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what one layer keeps after `tokens` positions of `batch` sequences."""
        ...

    def source_cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return what one layer keeps of `tokens` encoded positions of `batch` sequences."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderDecoder:
    """Two stacks and a head over the second.

    `source_tokens` is the length of what the encoder reads where the input has a fixed one (30 s of
    sound); otherwise the workload says it, or it is as long as what is written.
    """

    encoder: Stack
    decoder: Stack
    head: Head
    source_tokens: Number | None = None
    context_limit: Number | None = None

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return the blocks of both stacks and the head as they work on `workload`.

        While generating, the encoder has done its work; its weights are still there.
        """
        source = self._source(workload)
        encoded = self.encoder.stem.inside(source)
        blocks = list(self.encoder.blocks(source, "encoder"))
        closing = self.encoder.closing(source, "encoder", "stem")
        if closing is not None:
            blocks.append(closing)
        if workload.generates:
            blocks = [block.idle() for block in blocks]
        written = workload
        if encoded.context is None or workload.source_tokens is not None:
            written = replace(workload, source_tokens=encoded.tokens)
        blocks.extend(self.decoder.blocks(written, "decoder"))
        closing = self.decoder.closing(written, "decoder", "head")
        operators = () if closing is None else closing.operators
        hidden = self.decoder.hidden
        head = (*operators, *recorded(self.head, written, hidden))
        entry = Activation("input", written.rows * hidden)
        return (*blocks, Block("head", head, entry, part="head"))

    def _source(self, workload: Workload) -> Workload:
        """Return what the encoder reads: as much as is written, or what the workload says."""
        if self.source_tokens is not None:
            return Workload(workload.batch, self.source_tokens)
        if workload.source_tokens is not None:
            return Workload(workload.batch, workload.source_tokens)
        return replace(workload, generates=False)

    def cache(
        self, batch: Number, tokens: Number, source_tokens: Number | None = None
    ) -> tuple[tuple[CacheTensor, Number], ...]:
        """Return each cached tensor of one layer with how many layers hold one like it.

        `source_tokens` is what the encoder read, where that is not as long as what is written.
        """
        read = Workload(batch, tokens if source_tokens is None else source_tokens)
        encoded = self.encoder.stem.inside(self._source(read)).tokens
        return tuple(
            (tensor, count)
            for layer, count in _decoding(self.decoder.layers)
            for tensor in (*layer.cache(batch, tokens), *layer.source_cache(batch, encoded))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """The second of two stacks by itself, with nothing to look at."""

    decoder: Stack
    head: Head
    context_limit: Number | None = None

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return the blocks of the stack and the head."""
        closing = self.decoder.closing(workload, "decoder", "head")
        operators = () if closing is None else closing.operators
        hidden = self.decoder.hidden
        head = (*operators, *recorded(self.head, workload, hidden))
        entry = Activation("input", workload.rows * hidden)
        blocks = self.decoder.blocks(workload, "decoder")
        return (*blocks, Block("head", head, entry, part="head"))

    def cache(self, batch: Number, tokens: Number) -> tuple[tuple[CacheTensor, Number], ...]:
        """Return each cached tensor of one layer with how many layers hold one like it."""
        return tuple(
            (tensor, count)
            for layer, count in _decoding(self.decoder.layers)
            for tensor in layer.cache(batch, tokens)
        )


def _decoding(layers: tuple[tuple[object, Number], ...]) -> list[tuple[DecoderLayer, Number]]:
    return [(layer, count) for layer, count in layers if isinstance(layer, DecoderLayer)]
