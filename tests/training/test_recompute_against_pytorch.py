"""What recomputation keeps and repeats: against PyTorch's checkpointing, to the byte and FLOP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
    set_checkpoint_early_stop,
)
from torch.utils.flop_counter import FlopCounterMode

import architectures.eager_reference as reference
from architectures.eager_reference import Case, Meter, gelu_new, model
from costsim.architectures.activations import activation_bytes
from costsim.training.recompute import Recompute
from costsim.training.remaking import remade

WEIGHT_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
ATTENTION = (torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,)


class LlamaNetworkAgain(reference.LlamaLayer):
    """A layer whose feed-forward network alone is checkpointed, as Megatron-LM does it."""

    def forward(self, x: Tensor, *shared: Tensor | None) -> Tensor:
        def network(inner: Tensor) -> Tensor:
            return self.down(F.silu(self.gate(inner)) * self.up(inner))

        x = self.attended(x, *shared)
        return x + checkpoint(network, self.norms[1](x), use_reentrant=True)

    def attended(self, x: Tensor, cosine: Tensor, sine: Tensor, mask, positions) -> Tensor:
        inner = self.norms[0](x)
        query, key = self.heads(self.query(inner)), self.heads(self.key(inner))
        query, key = query.transpose(1, 2), key.transpose(1, 2)
        value = self.heads(self.value(inner)).transpose(1, 2)
        query, key = reference.rotate(query, cosine, sine), reference.rotate(key, cosine, sine)
        return x + self.output(reference.attend(self.case, query, key, value, mask))


class Gpt2NetworkAgain(reference.Gpt2Layer):
    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        parts = self.query_key_value(self.norms[0](x)).split(x.shape[-1], -1)
        heads = [part.unflatten(-1, (self.case.heads, -1)).transpose(1, 2) for part in parts]
        x = x + self.output(reference.attend(self.case, *heads, mask))
        inner = self.norms[1](x)
        again = checkpoint(lambda y: self.down(gelu_new(self.up(y))), inner, use_reentrant=True)
        return x + again


class Saved:
    """Runs layers under a policy that saves the results of `operations`; remembers them."""

    def __init__(self, operations: tuple[object, ...]):
        self.operations = operations
        self.caches: list[object] = []

    def contexts(self):
        def policy(context, operation, *arguments, **named) -> CheckpointPolicy:
            saved = operation in self.operations
            return CheckpointPolicy.MUST_SAVE if saved else CheckpointPolicy.PREFER_RECOMPUTE

        caching, cached = create_selective_checkpoint_contexts(policy)
        self.caches.append(caching)
        return caching, cached

    def run(self, case: Case, layer: nn.Module, x: Tensor, *shared: Tensor | None) -> Tensor:
        return checkpoint(layer, x, *shared, use_reentrant=False, context_fn=self.contexts)

    def tensors(self) -> Iterator[Tensor]:
        """Yield what the caches hold."""
        for cache in self.caches:
            for leaf in tree_leaves(dict(cache.storage)):  # type: ignore[attr-defined]
                if isinstance(held := getattr(leaf, "val", None), Tensor):
                    yield held


@contextmanager
def instead(name: str, replacement: object) -> Iterator[None]:
    """Replace something of the reference code for a while."""
    kept = getattr(reference, name)
    setattr(reference, name, replacement)
    try:
        yield
    finally:
        setattr(reference, name, kept)


def trained(case: Case, network: nn.Module) -> Callable[[], Tensor]:
    ids = torch.randint(case.vocabulary, (case.batch, case.sequence))
    targets = torch.randint(case.vocabulary, (case.batch, case.sequence))

    def loss() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "autocast"):
            logits = network(ids)
            return F.cross_entropy(logits.float().view(-1, case.vocabulary), targets.view(-1))

    return loss


def kept_bytes(case: Case, mode: Recompute, *, whole: bool) -> int:
    """Return what costsim says is kept; `whole` layers are checkpointed functions."""
    total, shared = 0, {}
    for block in case.architecture.blocks(case.workload):
        kept = remade(block, block.saved(case.execution), mode, case.execution).kept
        total += block.count * activation_bytes(kept, case.dtype, case.execution)
        for operator in block.operators:
            for tensor in operator.shared(case.execution, recomputed=whole):
                shared[tensor.name] = tensor
    return total + activation_bytes(shared.values(), case.dtype, case.execution)


def repeated_flops(case: Case, mode: Recompute) -> int:
    blocks = case.architecture.blocks(case.workload)
    return sum(
        block.count
        * remade(block, block.saved(case.execution), mode, case.execution)
        .again(block)
        .flops(case.execution)
        for block in blocks
    )


def counted_flops(loss: Callable[[], Tensor]) -> int:
    with FlopCounterMode(display=False) as counter, set_checkpoint_early_stop(False):
        loss().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "autocast"])
def test_a_checkpointed_network(family: str, attention: str, precision: str) -> None:
    case = Case(family, attention, precision)
    name, layer = ("LlamaLayer", LlamaNetworkAgain) if family == "llama" else (
        "Gpt2Layer", Gpt2NetworkAgain
    )  # fmt: skip
    with instead(name, layer):
        network = model(case)
    with Meter(list(network.parameters())) as meter:
        trained(case, network)()
    assert meter.total_bytes == kept_bytes(case, "feed_forward", whole=False)


PRODUCTS = {
    "save_weight_products": WEIGHT_PRODUCTS,
    "save_products": (*WEIGHT_PRODUCTS, *ATTENTION),
}
SAVING = [
    (mode, Case(family, attention, precision, dropout=dropout))
    for mode, attention, dropout in (
        ("save_weight_products", "eager", 0.0),
        ("save_weight_products", "eager", 0.1),
        ("save_weight_products", "sdpa", 0.0),
        ("save_weight_products", "sdpa", 0.1),
        ("save_products", "sdpa", 0.0),  # dropped on a CPU, it is made of other operations
    )
    for family in ("llama", "gpt2")
    for precision in ("fp32", "bf16", "autocast")
] + [
    ("save_weight_products", Case("llama", "sdpa", precision, kv_heads=2, head_norms=True))
    for precision in ("fp32", "bf16")
]


@pytest.mark.parametrize(("mode", "case"), SAVING, ids=str)
def test_saved_products(mode: Recompute, case: Case) -> None:
    saved = Saved(PRODUCTS[mode])
    network = model(case)
    with instead("run", saved.run), Meter(list(network.parameters())) as meter:
        loss = trained(case, network)()
        meter.keep(saved.tensors())
    assert loss.requires_grad
    # PyTorch saves the network's output too, which no gradient needs: compilers leave it out.
    width = 4 if case.dtype == "fp32" else 2
    unneeded = case.layers * case.batch * case.sequence * case.hidden * width
    assert meter.total_bytes - unneeded == kept_bytes(case, mode, whole=True)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_repeated_flops(family: str) -> None:
    case = Case(family, "eager")
    plain = counted_flops(trained(case, model(case)))
    layer = {"llama": ("LlamaLayer", LlamaNetworkAgain), "gpt2": ("Gpt2Layer", Gpt2NetworkAgain)}
    with instead(*layer[family]):
        network = model(case)
    assert counted_flops(trained(case, network)) - plain == repeated_flops(case, "feed_forward")
    saved = Saved(WEIGHT_PRODUCTS)
    with instead("run", saved.run):
        found = counted_flops(trained(case, model(case))) - plain
    assert found == repeated_flops(case, "save_weight_products") > 0
    whole = replace(case, checkpoint=True)
    assert counted_flops(trained(whole, model(whole))) - plain == repeated_flops(whole, "full")
