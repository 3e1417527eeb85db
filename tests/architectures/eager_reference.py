"""Small Llama-like and GPT-2-like models in plain PyTorch, and a meter of what autograd keeps.

Each module does the elementary operations that the reference code of Hugging Face transformers
does, in the same order and formats; the meter counts unique storages, parameters left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from costsim.architectures.architecture import Architecture
from costsim.architectures.layers import FeedForward, HeadNorm, Layer, NormStyle, SelfAttention
from costsim.architectures.transformer import Transformer
from costsim.architectures.workload import Execution, Workload

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "swish": F.silu,
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "gelu_fast": lambda x: 0.5 * x * (1 + torch.tanh(x * 0.79788456 * (1 + 0.044715 * x * x))),
}
"""Activation functions as the reference code of transformers writes them, without powers."""


@dataclass(frozen=True)
class Case:
    """A model and how it is run; `attention` is "eager" or "sdpa"."""

    family: str = "llama"
    attention: str = "eager"
    precision: str = "fp32"
    checkpoint: bool = False
    dropout: float = 0.0
    layers: int = 2
    hidden: int = 64
    inner: int = 160
    heads: int = 4
    kv_heads: int = 4
    vocabulary: int = 300
    sequence: int = 48
    batch: int = 3
    head_norms: bool = False

    @property
    def dtype(self) -> str:
        """The format of products."""
        return "fp32" if self.precision == "fp32" else "bf16"

    @property
    def workload(self) -> Workload:
        return Workload(self.batch, self.sequence)

    @property
    def execution(self) -> Execution:
        return Execution(
            style="eager",
            attention="unfused" if self.attention == "eager" else "sdpa",
            autocast=self.precision == "autocast",
            low_precision=self.precision != "fp32",
            dropout=self.dropout > 0,
            device="cpu",
        )

    @property
    def architecture(self) -> Architecture:
        """The same model as costsim describes it."""
        llama = self.family == "llama"
        norm = NormStyle(kind="rms" if llama else "layer")
        layer = Layer(
            mixer=SelfAttention(
                heads=self.heads,
                kv_heads=self.kv_heads,
                head_dim=self.hidden // self.heads,
                bias=not llama,
                output_bias=not llama,
                fused_projection=not llama,
                float32_softmax=llama,
                rotary=llama,
                query_key_norm=HeadNorm() if self.head_norms else None,
                dropout=self.dropout > 0,
            ),
            feed_forward=FeedForward(
                width=self.inner,
                gated=llama,
                bias=not llama,
                activation="silu" if llama else "gelu_new",
            ),
            norm=norm,
            dropout=self.dropout > 0 and not llama,
        )
        return Architecture(
            self.family,
            Transformer(
                vocabulary=self.vocabulary,
                hidden=self.hidden,
                layers=((layer, self.layers),),
                positions=0 if llama else self.sequence,
                final_norm=norm,
                tied=not llama,
                dropout=self.dropout > 0 and not llama,
            ),
        )


def attend(case: Case, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(QKᵀ/√d)V joined over heads."""
    if case.attention == "sdpa":
        joined = F.scaled_dot_product_attention(
            query, key, value, dropout_p=case.dropout, is_causal=True, enable_gqa=True
        )
    else:
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5 + mask
        if case.family == "llama":
            shares = F.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        else:
            shares = F.softmax(scores, dim=-1).type(value.dtype)
        joined = F.dropout(shares, case.dropout) @ value
    return joined.transpose(1, 2).contiguous().flatten(2)


class RmsNorm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * wide.to(x.dtype)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return x * cosine + torch.cat((-right, left), -1) * sine


class LlamaLayer(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        self.case = case
        self.head_dim = case.hidden // case.heads
        kv = case.kv_heads * self.head_dim
        self.norms = nn.ModuleList(RmsNorm(case.hidden) for _ in range(2))
        self.query = nn.Linear(case.hidden, case.hidden, bias=False)
        self.key = nn.Linear(case.hidden, kv, bias=False)
        self.value = nn.Linear(case.hidden, kv, bias=False)
        self.output = nn.Linear(case.hidden, case.hidden, bias=False)
        self.gate = nn.Linear(case.hidden, case.inner, bias=False)
        self.up = nn.Linear(case.hidden, case.inner, bias=False)
        self.down = nn.Linear(case.inner, case.hidden, bias=False)
        if case.head_norms:
            self.head_norms = nn.ModuleList(RmsNorm(self.head_dim) for _ in range(2))

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim))

    def forward(
        self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor | None, positions: Tensor
    ) -> Tensor:
        inner = self.norms[0](x)
        query, key = self.heads(self.query(inner)), self.heads(self.key(inner))
        if self.case.head_norms:
            query, key = self.head_norms[0](query), self.head_norms[1](key)
        query, key = query.transpose(1, 2), key.transpose(1, 2)
        value = self.heads(self.value(inner)).transpose(1, 2)
        query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        x = x + self.output(attend(self.case, query, key, value, mask))
        inner = self.norms[1](x)
        return x + self.down(F.silu(self.gate(inner)) * self.up(inner))


class Llama(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        self.case = case
        self.tokens = nn.Embedding(case.vocabulary, case.hidden)
        self.layers = nn.ModuleList(LlamaLayer(case) for _ in range(case.layers))
        self.norm = RmsNorm(case.hidden)
        self.head = nn.Linear(case.hidden, case.vocabulary, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        positions = torch.arange(ids.shape[1])[None]
        dim = self.case.hidden // self.case.heads
        angles = positions[..., None] / 10000 ** (torch.arange(0, dim, 2) / dim)
        angles = torch.cat((angles, angles), -1)[:, None]
        cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        shared = (cosine, sine, causal_mask(self.case, x), positions)
        for layer in self.layers:
            x = run(self.case, layer, x, *shared)
        return self.head(self.norm(x))


def gelu_new(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x.pow(3))))


class Gpt2Layer(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        self.case = case
        self.norms = nn.ModuleList(nn.LayerNorm(case.hidden) for _ in range(2))
        self.query_key_value = nn.Linear(case.hidden, 3 * case.hidden)
        self.output = nn.Linear(case.hidden, case.hidden)
        self.up = nn.Linear(case.hidden, case.inner)
        self.down = nn.Linear(case.inner, case.hidden)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        drop = self.case.dropout
        parts = self.query_key_value(self.norms[0](x)).split(x.shape[-1], -1)
        heads = [part.unflatten(-1, (self.case.heads, -1)).transpose(1, 2) for part in parts]
        x = x + F.dropout(self.output(attend(self.case, *heads, mask)), drop)
        return x + F.dropout(self.down(gelu_new(self.up(self.norms[1](x)))), drop)


class Gpt2(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        self.case = case
        self.tokens = nn.Embedding(case.vocabulary, case.hidden)
        self.positions = nn.Embedding(case.sequence, case.hidden)
        self.layers = nn.ModuleList(Gpt2Layer(case) for _ in range(case.layers))
        self.norm = nn.LayerNorm(case.hidden)
        self.head = nn.Linear(case.hidden, case.vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1])[None])
        x = F.dropout(x, self.case.dropout)
        mask = causal_mask(self.case, x)
        for layer in self.layers:
            x = run(self.case, layer, x, mask)
        return self.head(self.norm(x))


def causal_mask(case: Case, x: Tensor) -> Tensor | None:
    if case.attention == "sdpa":
        return None
    full = torch.full((case.batch, 1, case.sequence, case.sequence), -math.inf)
    return full.triu(1).to(x.dtype)


def run(case: Case, layer: nn.Module, x: Tensor, *shared: Tensor | None) -> Tensor:
    if case.checkpoint:
        return checkpoint(layer, x, *shared, use_reentrant=True)
    return layer(x, *shared)


def model(case: Case) -> nn.Module:
    """Return the model of `case` with parameters in its format."""
    torch.manual_seed(0)
    made = Llama(case) if case.family == "llama" else Gpt2(case)
    return made.to(torch.bfloat16) if case.precision == "bf16" else made


class Meter:
    """Bytes of the unique storages that autograd saves inside the context."""

    def __init__(self, parameters: list[nn.Parameter]):
        self._outside = {p.untyped_storage().data_ptr() for p in parameters}
        self._held: dict[int, Tensor] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    def _keep(self, tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in self._outside:
            self._held.setdefault(address, tensor)  # alive, so that no address is used twice
        return tensor

    def keep(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that are held besides."""
        for tensor in tensors:
            self._keep(tensor)

    def __enter__(self) -> Meter:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)

    @property
    def total_bytes(self) -> int:
        return sum(tensor.untyped_storage().nbytes() for tensor in self._held.values())


def measured_bytes(case: Case) -> int:
    """Return what autograd keeps after a forward pass and its loss."""
    network = model(case)
    ids = torch.randint(case.vocabulary, (case.batch, case.sequence))
    targets = torch.randint(case.vocabulary, (case.batch, case.sequence))
    with (
        Meter(list(network.parameters())) as meter,
        torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "autocast"),
    ):
        logits = network(ids)
        F.cross_entropy(logits.float().view(-1, case.vocabulary), targets.view(-1))
    return meter.total_bytes
