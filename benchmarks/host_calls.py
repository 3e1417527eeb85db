"""Measure what the host spends on a layer of a decoder, by calls as costsim counts them.

    python benchmarks/host_calls.py

Tensors are so small that PyTorch on the processor does little but dispatch. Printed are seconds a
call of a forward pass that keeps no graph, as serving engines run it, and of a training step that
recomputes each layer; their ratio carries the launch constant of engines.yaml over to training.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from costsim.architectures.decoder import decoder
from costsim.architectures.workload import Execution, Workload
from costsim.hardware.blocks import Formats, block_times
from costsim.hardware.catalog import load_accelerator
from costsim.hardware.kernels import load_kernel_model

LAYERS, HIDDEN, HEADS, TOKENS = 12, 16, 2, 4
CHECKPOINT_CALLS = 8  # torch.utils.checkpoint: two states saved; two saved, set, and set back


class Layer(nn.Module):
    """A layer as Megatron-LM of 2022 ran it: scores in memory, dropout in three places."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.network_norm = nn.LayerNorm(HIDDEN), nn.LayerNorm(HIDDEN)
        self.query_key_value, self.output = nn.Linear(HIDDEN, 3 * HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.up, self.down = nn.Linear(HIDDEN, 4 * HIDDEN), nn.Linear(4 * HIDDEN, HIDDEN)
        self.register_buffer("mask", torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        tokens, batch, hidden = x.shape
        heads = self.query_key_value(self.attention_norm(x)).view(tokens, batch * HEADS, -1)
        query, key, value = (part.transpose(0, 1) for part in heads.chunk(3, -1))
        scores = torch.bmm(query, key.transpose(1, 2)).masked_fill(self.mask, -1e4)
        dropped = functional.dropout(scores.softmax(-1), 0.1, self.training)
        context = torch.bmm(dropped, value).transpose(0, 1).contiguous().view(tokens, batch, hidden)
        x = x + functional.dropout(self.output(context), 0.1, self.training)
        network = self.down(functional.gelu(self.up(self.network_norm(x))))
        return x + functional.dropout(network, 0.1, self.training)


def seconds(action: Callable[[], object], times: int = 100) -> float:
    for _ in range(20):
        action()
    start = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - start) / times


def counted() -> tuple[float, float]:
    """Return calls of one layer forward and backward, as the training evaluator counts them."""
    model = decoder(
        layers=LAYERS, hidden=HIDDEN, heads=HEADS, vocabulary=32, max_positions=TOKENS, dropout=True
    )
    layers = [b for b in model.blocks(Workload(1, TOKENS)) if b.part == "layer"]
    execution = Execution(attention="unfused", dropout=True)
    kernels = load_kernel_model(load_accelerator("nvidia-a100-sxm4-80gb"))
    times = block_times(kernels, layers, 1, execution, Formats("fp16", "fp16", 2.0))
    return float(times.launches[0, 0]), float(times.launches[1, 0])


def main() -> None:
    torch.set_num_threads(1)
    layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def serve() -> None:
        with torch.no_grad():
            x = torch.randn(TOKENS, 1, HIDDEN)
            for layer in layers:
                x = layer(x)

    def train() -> None:
        x = torch.randn(TOKENS, 1, HIDDEN, requires_grad=True)
        for layer in layers:
            x = checkpoint(layer, x, use_reentrant=True)
        x.sum().backward()

    forward, backward = counted()
    served_s = seconds(serve) / LAYERS / forward
    trained_s = seconds(train) / LAYERS / (2 * forward + backward + CHECKPOINT_CALLS)
    print(f"calls of a layer: {forward:.0f} forward, {backward:.0f} backward")
    print(f"a call of a forward pass without a graph: {served_s * 1e6:.1f} µs")
    print(f"a call of a step that recomputes:         {trained_s * 1e6:.1f} µs")
    print(f"ratio: {trained_s / served_s:.2f}")


if __name__ == "__main__":
    main()
