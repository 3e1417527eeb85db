"""Small PyTorch modules written out by hand, to be compressed for real and counted."""

from __future__ import annotations

import torch
from torch import nn


class Attention(nn.Module):
    """Grouped-query attention in elementary operations, as eager reference code has it."""

    def __init__(self, hidden: int, heads: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.q_proj = nn.Linear(hidden, heads * head_dim, bias=False)
        self.k_proj = nn.Linear(hidden, kv_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(hidden, kv_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(heads * head_dim, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, _ = x.shape
        shape = (batch, tokens, -1, self.head_dim)
        q = self.q_proj(x).view(shape).transpose(1, 2)
        k = self.k_proj(x).view(shape).transpose(1, 2)
        v = self.v_proj(x).view(shape).transpose(1, 2)
        groups = self.heads // self.kv_heads
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        scores = (q @ k.transpose(2, 3)) / self.head_dim**0.5
        context = scores.softmax(-1) @ v
        return self.o_proj(context.transpose(1, 2).reshape(batch, tokens, -1))


class Mlp(nn.Module):
    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(
        self,
        hidden: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        width: int,
        parallel: bool = False,
    ) -> None:
        super().__init__()
        self.parallel = parallel
        self.norm1, self.norm2 = nn.RMSNorm(hidden), nn.RMSNorm(hidden)
        self.attention = Attention(hidden, heads, kv_heads, head_dim)
        self.mlp = Mlp(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.parallel:
            return x + self.attention(self.norm1(x)) + self.mlp(self.norm2(x))
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Decoder(nn.Module):
    """What `costsim.architectures.decoder` describes with RMS norms."""

    def __init__(
        self,
        *,
        vocabulary: int = 300,
        hidden: int = 64,
        layers: int = 3,
        heads: int = 4,
        kv_heads: int = 2,
        head_dim: int = 16,
        width: int = 96,
        parallel: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.layers = nn.ModuleList(
            Layer(hidden, heads, kv_heads, head_dim, width, parallel) for _ in range(layers)
        )
        self.norm = nn.RMSNorm(hidden)
        self.head = nn.Linear(hidden, vocabulary, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


class Adapter(nn.Module):
    """LoRA by hand: a frozen linear layer and two thin ones beside it."""

    def __init__(self, frozen: nn.Linear, rank: int) -> None:
        super().__init__()
        self.frozen = frozen
        self.a = nn.Linear(frozen.in_features, rank, bias=False)
        self.b = nn.Linear(rank, frozen.out_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.frozen(x) + self.b(self.a(x))


def adapt(model: nn.Module, rank: int, targets: set[str]) -> nn.Module:
    """Freeze `model` and put adapters in the place of the layers called so."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if name in targets:
                setattr(parent, name, Adapter(child, rank))
    return model


def slice_linear(layer: nn.Linear, rows: torch.Tensor | None, columns: torch.Tensor | None) -> None:
    """Keep the outputs `rows` and the inputs `columns` of a linear layer."""
    weight = layer.weight.data
    weight = weight if rows is None else weight[rows]
    weight = weight if columns is None else weight[:, columns]
    layer.weight = nn.Parameter(weight.clone())
    layer.out_features, layer.in_features = layer.weight.shape
