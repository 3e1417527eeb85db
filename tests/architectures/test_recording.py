"""A layer is a program: it records in order; new kinds are short, and count as in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode

from costsim.algebra import Number
from costsim.architectures import Architecture, load_model
from costsim.architectures.huggingface.config import Config
from costsim.architectures.huggingface.decoders.stack import attention, compose, network
from costsim.architectures.layers import RMS, FeedForward, HeadNorm, Layer
from costsim.architectures.layers.recording import INPUT, Tensor, recorded
from costsim.architectures.operators import Columns
from costsim.architectures.operators.wrapping import Reused, unwrapped
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.transformer import Transformer
from costsim.architectures.workload import Workload
from costsim.documents import read_document

RECORDED = ("llama-3-8b", "deepseek-v3", "mixtral-8x7b", "gemma-2-9b", "qwen3-next-80b-a3b")


@pytest.mark.parametrize("name", [*RECORDED, "bert-base", "t5-base", "bart-base"])
def test_operators_read_what_was_made_before(name: str) -> None:
    outside = {INPUT, "encoder.output", "condition", "input.first"}
    for block in load_model(name).blocks(Workload(2, 16)):
        made = outside | set(unwrapped(block.operators[0]).reads)  # a stem reads what enters it
        for operator in block.operators:
            reads = unwrapped(operator).reads
            assert reads, operator.name
            assert set(reads) <= made, (block.name, operator.name, reads)
            made.add(operator.name)


def test_what_is_wrapped_is_what_is_recorded_inside() -> None:
    @dataclass(frozen=True)
    class Twice:
        def build(self, x: Tensor) -> Tensor:
            first = x.linear("first", 4)
            with x.recorder.wrapped(Reused.around):
                return first.linear("second", x.width)

    first, second = recorded(Twice(), Workload(1, 3), 8)
    assert (first.reads, unwrapped(second).reads) == ((INPUT,), ("first",))
    assert isinstance(second, Reused)
    assert [weight.stored_elements for weight in second.weights()] == [0]


def _dense_variant(config: Config) -> Transformer:
    """Read a made-up model type: Llama with squared ReLUs, norms of heads, plain networks."""
    return compose(
        config,
        attention(config, bias=False, output_bias=True, query_key_norm=HeadNorm(), kv_heads=2),
        network(config, gated=False, bias=False, activation="relu2", width=96),
        tied=True,
    )


def test_a_new_dense_variant_takes_a_few_lines() -> None:
    values = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4}
    document = read_document("{}", "config.json")
    description = _dense_variant(Config({**values, "vocab_size": 50}, document))
    model = Architecture("variant", description)
    projections = 32 * 32 + 2 * 2 * 8 * 32 + 32 * 32 + 32
    assert model.parameters == 50 * 32 + 32 + 3 * (projections + 2 * 8 + 2 * 32 * 96 + 2 * 32)
    assert model.cache_bytes(1, 10) == 3 * 2 * 10 * 2 * 8 * 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorizedAttention:
    """Queries by way of a narrow vector, one key and value for all heads (Step-3, 2507.19427)."""

    heads: Number
    head_dim: Number
    rank: Number

    def build(self, x: Tensor) -> Tensor:
        """Record the mixer."""
        heads, dim, at = self.heads, self.head_dim, x.within("attention")
        low = at.linear("low", self.rank).norm("low_norm", RMS)
        query = low.linear("query", Columns(heads * dim, heads), split="column")
        made = at.linear("key_value", Columns(dim, 1), Columns(dim, 1), separate=True)
        rotated = query.rotary((heads + 1) * dim, dim, made)
        context = rotated.attend(heads, dim, made, kv_heads=1)
        return context.linear("output", x.width, split="row")

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return one key and one value of each position."""
        elements = batch * tokens * self.head_dim
        return tuple(CacheTensor(name, elements, heads=1) for name in ("key", "value"))


def test_a_new_kind_of_attention_counts_as_in_pytorch() -> None:
    batch, tokens, hidden, heads, dim, rank, width = 2, 12, 24, 4, 8, 6, 40
    mixer = FactorizedAttention(heads=heads, head_dim=dim, rank=rank)
    layer = Layer(mixer=mixer, feed_forward=FeedForward(width=width, gated=True), norm=RMS)
    model = Architecture(
        "factorized", Transformer(vocabulary=30, hidden=hidden, layers=((layer, 2),))
    )

    def weight(outputs: int, inputs: int) -> torch.Tensor:
        return torch.randn(outputs, inputs)

    def run(x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            query = linear(linear(x, weight(rank, hidden)), weight(heads * dim, rank))
            query = query.view(batch, tokens, heads, dim).transpose(1, 2)
            key, value = (
                linear(x, weight(dim, hidden)).unsqueeze(1).expand(-1, heads, -1, -1)
                for _ in range(2)
            )
            context = (query @ key.mT).softmax(-1) @ value
            x = linear(context.transpose(1, 2).flatten(2), weight(hidden, heads * dim))
            gate, up = (linear(x, weight(width, hidden)) for _ in range(2))
            x = linear(gate * up, weight(hidden, width))
        return linear(x, weight(30, hidden))

    with FlopCounterMode(display=False) as counter:
        run(torch.randn(batch, tokens, hidden))
    assert model.forward_flops(batch, tokens) == counter.get_total_flops()
    each = rank * (hidden + 1) + heads * dim * rank + 2 * dim * hidden + hidden * heads * dim
    assert model.parameters == 2 * (each + 3 * width * hidden + 2 * hidden) + 2 * 30 * hidden
    assert model.cache_bytes(1, 100) == 2 * 2 * 100 * dim * 2
