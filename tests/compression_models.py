"""The models of the compression oracle, as costsim describes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from costsim.architectures import Architecture, load_model
from costsim.architectures.block import Block
from costsim.architectures.decoder import decoder
from costsim.architectures.operators import Linear
from costsim.architectures.tensors import Activation, CacheTensor
from costsim.architectures.workload import Workload


@dataclass(frozen=True, slots=True)
class Perceptron:
    """Linear layers with biases, one after the other."""

    widths: tuple[int, ...]
    context_limit: int | None = None

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        layers = tuple(
            Linear.of(f"linear.{i}", "input", workload.batch, inputs, outputs, bias=True)
            for i, (inputs, outputs) in enumerate(pairwise(self.widths))
        )
        return (Block("all", layers, Activation("input", workload.batch * self.widths[0])),)

    def cache(self, batch: int, tokens: int) -> tuple[tuple[CacheTensor, int], ...]:
        return ()


def llama(
    hidden: int, layers: int, heads: int, kv_heads: int, ffn: int, tied: bool = False
) -> Architecture:
    described = decoder(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        feed_forward=ffn,
        vocabulary=8000 if hidden == 512 else 4000,
        gated=True,
        activation="silu",
        bias=False,
        norm="rms",
        positions="rotary",
        max_positions=2048,
        tied=tied,
    )
    return Architecture(f"llama_h{hidden}", described)


def bert(hidden: int, layers: int) -> Architecture:
    return load_model(
        {
            "model_type": "bert",
            "architectures": ["BertForMaskedLM"],
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": 4 if hidden == 256 else 2,
            "intermediate_size": 4 * hidden,
            "vocab_size": 8000,
        }
    )


MODELS: dict[str, Callable[[], Architecture]] = {
    "mlp_512_2048_2048_10": lambda: Architecture("mlp", Perceptron((512, 2048, 2048, 10))),
    "llama_h256_l4_kv2": lambda: llama(256, 4, 4, 2, 704),
    "llama_h512_l6_kv8_tied": lambda: llama(512, 6, 8, 8, 1408, tied=True),
    "bert_h256_l4": lambda: bert(256, 4),
    "gpt2_small": lambda: load_model("gpt2"),
    "llama_h512_l6_a8_kv2_i1408_v8000": lambda: llama(512, 6, 8, 2, 1408),
}
