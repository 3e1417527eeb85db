"""What a new model costs to describe: a dense variant in 12 lines, an attention in 60.

Both are written as a contributor would write them, and checked against modules of PyTorch.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import pytest

from costsim.algebra import Number
from costsim.architectures import load_model
from costsim.architectures.huggingface import READERS
from costsim.architectures.huggingface.config import Config
from costsim.architectures.huggingface.decoders.stack import attention, compose, network
from costsim.architectures.layers import HeadNorm, SelfAttention
from costsim.architectures.layers.recording import Tensor
from costsim.architectures.tensors import CacheTensor
from costsim.architectures.transformer import Transformer
from costsim.architectures.workload import Shard, Workload

torch = pytest.importorskip("torch")

HIDDEN, HEADS, GROUPS, WIDTH, LAYERS, VOCABULARY = 64, 4, 2, 16, 3, 128
VALUES = {
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "num_key_value_heads": GROUPS,
    "head_dim": WIDTH,
    "intermediate_size": 160,
    "num_hidden_layers": LAYERS,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "hidden_act": "relu2",
}


def _sandwiched(config: Config) -> Transformer:
    """Read a dense decoder with gated heads, normalized queries and norms on both sides."""
    mixer = attention(config, query_key_norm=HeadNorm(), gate="heads")
    fed = network(config, gated=False, activation="relu2")
    return compose(config, mixer, fed, mixer_output_norm=True, feed_forward_output_norm=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgettingAttention(SelfAttention):
    """Attention whose scores fade by a gate of each position and head (FoX, arXiv 2503.02130).

    The gates' running sums of logarithms are kept beside keys and values.
    """

    def attended(self, x: Tensor) -> Tensor:
        """Record gates and what they do to the scores, and attention itself."""
        x = x.within("attention")
        gate = x.linear("forget", self.heads, bias=True, split="column")
        fading = gate.elementwise("fading", function="logsigmoid", split="columns")
        query, key, value = self.projected(x)
        return self.over(x, query, key, value).elementwise("faded", fading, keeps=())

    def cache(self, batch: Number, tokens: Number) -> tuple[CacheTensor, ...]:
        """Return keys, values and the sums of the gates."""
        sums = CacheTensor("fading", batch * tokens * self.heads, heads=self.heads)
        return (*SelfAttention.cache(self, batch, tokens), sums)


def _forgetting(config: Config) -> Transformer:
    mixer = ForgettingAttention(
        heads=config.size("num_attention_heads"),
        kv_heads=config.size("num_key_value_heads"),
        head_dim=config.size("head_dim"),
    )
    return compose(config, mixer, network(config))


def lines(*written: object) -> int:
    return sum(len(inspect.getsource(one).rstrip().splitlines()) for one in written)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(READERS, "sandwiched", _sandwiched)
    monkeypatch.setitem(READERS, "forgetting", _forgetting)


class Mixed(torch.nn.Module):
    """One layer of either, as its code would be."""

    def __init__(self, gates: int, *, bias: bool, networks: int) -> None:
        super().__init__()
        linear = torch.nn.Linear
        self.q = linear(HIDDEN, HEADS * WIDTH, bias=False)
        self.k = linear(HIDDEN, GROUPS * WIDTH, bias=False)
        self.v = linear(HIDDEN, GROUPS * WIDTH, bias=False)
        self.o = linear(HEADS * WIDTH, HIDDEN, bias=False)
        self.gate = linear(HIDDEN, gates, bias=bias)
        self.up = torch.nn.ModuleList(linear(HIDDEN, 160, bias=False) for _ in range(networks))
        self.down = linear(160, HIDDEN, bias=False)

    def forward(self, x):
        batch, tokens, _ = x.shape
        q = self.q(x).view(batch, tokens, HEADS, WIDTH).transpose(1, 2)
        k, v = (
            one(x).view(batch, tokens, GROUPS, WIDTH).transpose(1, 2) for one in (self.k, self.v)
        )
        k, v = (one.repeat_interleave(HEADS // GROUPS, 1) for one in (k, v))
        scores = (q @ k.transpose(2, 3)).softmax(-1)
        made = self.o((scores @ v).transpose(1, 2).reshape(batch, tokens, HEADS * WIDTH))
        return self.down(sum(one(made) for one in self.up)) + self.gate(x).sum()


def counted(module, batch: int, tokens: int) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(batch, tokens, HIDDEN))
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("model_type", "bias", "networks", "norms"),
    [("sandwiched", False, 1, 4 * HIDDEN + 2 * WIDTH), ("forgetting", True, 2, 2 * HIDDEN)],
)
def test_it_is_what_pytorch_counts_of_its_layers(model_type, bias, networks, norms):
    module = Mixed(HEADS, bias=bias, networks=networks)
    model = load_model({"model_type": model_type, **VALUES})
    layer = sum(weight.numel() for weight in module.parameters()) + norms
    outside = 2 * VOCABULARY * HIDDEN + HIDDEN
    assert model.parameters == LAYERS * layer + outside
    head = 2 * 2 * 24 * HIDDEN * VOCABULARY
    assert model.forward_flops(2, 24) == LAYERS * counted(module, 2, 24) + head


def test_it_caches_divides_and_trains_like_any_other():
    model = load_model({"model_type": "forgetting", **VALUES})
    plain = load_model({"model_type": "llama", **VALUES, "hidden_act": "silu"})
    more = model.cache_bytes(2, 100) - plain.cache_bytes(2, 100)
    assert more == LAYERS * 2 * 100 * HEADS * 2
    block = model.blocks(Workload(1, 32))[1]
    part = block.shard(Shard(tp=2))
    matrices = [weight for weight in part.weights() if "norm" not in weight.name]
    assert 2 * sum(weight.elements for weight in matrices) == sum(
        weight.elements for weight in block.weights() if "norm" not in weight.name
    )
    assert model.training_flops(1, 32) > 2 * model.forward_flops(1, 32)


def test_a_dense_variant_is_twelve_lines_and_an_attention_sixty():
    assert lines(_sandwiched) <= 12
    assert lines(ForgettingAttention, _forgetting) <= 60
