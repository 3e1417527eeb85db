"""Small PyTorch modules that work as some layers are described, with attention spelled out."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def heads_of(x: Tensor, heads: int) -> Tensor:
    batch, tokens, width = x.shape
    return x.view(batch, tokens, heads, width // heads).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    mixed = torch.softmax(query @ key.transpose(-1, -2), dim=-1) @ value
    return mixed.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, source: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(source or width, width)
        self.value = nn.Linear(source or width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        read = x if source is None else source
        parts = ((self.query, x), (self.key, read), (self.value, read))
        return self.output(attend(*(heads_of(linear(y), self.heads) for linear, y in parts)))


class Network(nn.Sequential):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))


class EncoderLayer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.attention, self.network = Attention(width, heads), Network(width, inner)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](x + self.attention(x))
        return self.norms[1](x + self.network(x))


class DecoderLayer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.attention, self.network = Attention(width, heads), Network(width, inner)
        self.cross = Attention(width, heads)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        x = self.norms[0](x + self.attention(x))
        x = self.norms[1](x + self.cross(x, source))
        return self.norms[2](x + self.network(x))


class Bart(nn.Module):
    """An encoder-decoder with one table of tokens, which scores them too."""

    def __init__(
        self,
        vocabulary: int,
        width: int,
        heads: int,
        inner: int,
        depths: tuple[int, int],
        rows: int,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.ModuleList(nn.Embedding(rows, width) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.encoder = nn.ModuleList(EncoderLayer(width, heads, inner) for _ in range(depths[0]))
        self.decoder = nn.ModuleList(DecoderLayer(width, heads, inner) for _ in range(depths[1]))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        read, written = (
            norm(self.tokens(ids) + table(torch.arange(ids.shape[1])))
            for ids, table, norm in zip((source, target), self.positions, self.norms, strict=True)
        )
        for layer in self.encoder:
            read = layer(read)
        for layer in self.decoder:
            written = layer(written, read)
        return written @ self.tokens.weight.T


class Albert(nn.Module):
    """One layer applied again and again, over embeddings narrower than its stream."""

    def __init__(
        self, vocabulary: int, narrow: int, width: int, heads: int, inner: int, times: int
    ) -> None:
        super().__init__()
        self.times = times
        self.tokens = nn.Embedding(vocabulary, narrow)
        self.tables = nn.ModuleList((nn.Embedding(64, narrow), nn.Embedding(2, narrow)))
        self.norm, self.entry = nn.LayerNorm(narrow), nn.Linear(narrow, width)
        self.layer = EncoderLayer(width, heads, inner)
        self.transform = nn.Sequential(nn.Linear(width, narrow), nn.GELU(), nn.LayerNorm(narrow))
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, ids: Tensor) -> Tensor:
        positions, types = self.tables
        places = positions(torch.arange(ids.shape[1]))
        x = self.entry(self.norm(self.tokens(ids) + places + types(torch.zeros_like(ids))))
        for _ in range(self.times):
            x = self.layer(x)
        return self.transform(x) @ self.tokens.weight.T + self.bias


class SlidingChunks(nn.Module):
    """Attention to half a window either way, by products of overlapping chunks."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.half = heads, window // 2
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.seeing_all = nn.ModuleList(nn.Linear(width, width) for _ in range(3))  # idle
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        half = self.half
        query, key, value = (
            heads_of(linear(x), self.heads).flatten(0, 1)
            for linear in (self.query, self.key, self.value)
        )
        left, right = (y.unfold(1, 2 * half, half).transpose(-1, -2) for y in (query, key))
        scores = torch.einsum("bcxd,bcyd->bcxy", left, right)
        around = nn.functional.pad(value, (0, 0, half, half)).unfold(1, 3 * half, half)
        seen = nn.functional.pad(scores[:, :, :half], (0, half, 0, 0, 0, 1))
        mixed = torch.einsum("bcwd,bcdh->bcwh", seen, around.transpose(-1, -2))
        batch = x.shape[0]
        return self.output(
            mixed.flatten(1, 2)
            .view(batch, self.heads, *x.shape[1:2], -1)
            .transpose(1, 2)
            .flatten(2)
        )


class Disentangled(nn.Module):
    """Attention whose scores add those of contents with distances, by the same weights."""

    def __init__(self, width: int, heads: int, span: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.distances = nn.Parameter(torch.randn(1, 2 * span, width))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            heads_of(linear(x), self.heads) for linear in (self.query, self.key, self.value)
        )
        batch = x.shape[0]
        to_key = heads_of(self.key(self.distances), self.heads).repeat(batch, 1, 1, 1)
        to_query = heads_of(self.query(self.distances), self.heads).repeat(batch, 1, 1, 1)
        scores = query @ key.transpose(-1, -2)
        places = torch.zeros(*scores.shape, dtype=torch.long)
        scores = scores + (query @ to_key.transpose(-1, -2)).gather(-1, places)
        scores = scores + (key @ to_query.transpose(-1, -2)).gather(-1, places).transpose(-1, -2)
        mixed = torch.softmax(scores, dim=-1) @ value
        return self.output(mixed.transpose(1, 2).flatten(2))
