"""How long the parts of one pass take on a device, over columns of layouts and loads.

A step of a server mixes tokens that are generated with pieces of prompts. What acts on each token
alone (products, experts, exchanges) depends on how many there are in all; attention on whose they
are. So a step is the sum of four parts, each a function of one or two numbers, which everything
else interpolates (`steps.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from costsim.algebra import Number
from costsim.architectures.architecture import Architecture
from costsim.architectures.block import Block
from costsim.architectures.operators import (
    Attention,
    CrossEntropy,
    Experts,
    LatentAttention,
    Operator,
)
from costsim.architectures.workload import Execution, Shard, Workload
from costsim.hardware.attention import attention_time_s
from costsim.hardware.blocks import block_times
from costsim.hardware.collectives import collective_time_s
from costsim.hardware.decode import decode_attention_time_s, latent_attention_time_s
from costsim.hardware.grouped import (
    busiest_rows,
    busiest_touched,
    grouped_gemm_time_s,
    power_law_imbalance,
)
from costsim.hardware.kernels import Array, KernelModel, load_kernel_model
from costsim.hardware.systems import System
from costsim.hardware.timing import PARTS, TIMINGS
from costsim.inference.layout import Layouts, Quantization, ServedFormats

EXECUTION = Execution(style="fused", attention="flash", latent="absorbed")
_ACTIVATION_BYTES = 2.0
# Even routing holds for few tokens; from some thousands on the busiest rank of experts decides.
_EVEN_TOKENS = 512.0
_SKEWED_TOKENS = 4096.0
# Launches of kernels timed as one: experts sort, multiply twice, activate and combine; attention
# writes its keys to the cache and combines the parts of a split context.
_EXPERT_LAUNCHES = 5.0
_ATTENTION_LAUNCHES = 3.0


@dataclass(frozen=True)
class ServedModel:
    """A model on a kind of device, in some formats: what time depends on beside layout and load."""

    model: Architecture
    system: System
    quantization: Quantization
    grouped_attention: bool = True  # whether kernels read a key once for all heads that share it
    fused_attention: bool = True  # whether prompts attend without writing scores to memory

    @cached_property
    def kernels(self) -> KernelModel:
        """The device's kernel model."""
        return load_kernel_model(self.system.accelerator)

    def token_pass(self, layouts: Layouts, tokens: Array) -> TokenPass:
        """Return the time of all that acts on tokens one by one, for `tokens` of an attention rank.

        Args:
            layouts: one row each.
            tokens: new tokens of all requests in the step, one row each.
        """
        blocks = [b for b in self._blocks(_alone(tokens)) if b.part != "head"]
        return self._token_pass(blocks, layouts, tokens)

    def head_s(self, layouts: Layouts, rows: Array) -> Array:
        """Return seconds of the logits of `rows` positions."""
        blocks = [b for b in self._blocks(_alone(rows)) if b.part == "head"]
        found = self._token_pass(blocks, layouts, rows)
        return found.matrix_s + found.memory_s

    def decode_attention_s(self, layouts: Layouts, batch: Array, context: Array) -> Array:
        """Return seconds of attention of one new token in each of `batch` requests.

        Each of cp ranks attends to its positions of the cache; then their outputs are combined.

        Args:
            layouts: one row each.
            batch: requests of an attention rank.
            context: positions that each attends to, its own included.
        """
        workload = Workload(batch, 1.0, np.maximum(context / layouts.cp, 1.0), generates=True)

        def seconds(op: Attention) -> Array:
            outputs = batch * op.query_heads * op.value_dim * _ACTIVATION_BYTES
            return attend(op) + collective_time_s(
                self.system, "all_reduce", outputs, layouts.cp, layouts.tp, algorithm="one-shot"
            )

        def attend(op: Attention) -> Array:
            if isinstance(op, LatentAttention):
                seen = op.context if op.selected is None else np.minimum(op.context, op.selected)
                return latent_attention_time_s(
                    self.kernels,
                    op.batch,
                    op.query_heads,
                    seen,
                    op.latent_dim,
                    op.rotary_dim,
                    self.quantization.cache,
                )
            return decode_attention_time_s(
                self.kernels,
                op.batch,
                op.query_heads,
                op.kv_heads if self.grouped_attention else op.query_heads,
                op.context,
                op.head_dim,
                op.value_dim,
                self.quantization.cache,
                op.window if op.selected is None else op.selected,
            )

        return self._attention_s(workload, layouts, seconds)

    def prefill_attention_s(
        self, layouts: Layouts, tokens: Array, context: Array, batch: Array | float = 1.0
    ) -> Array:
        """Return seconds of attention of the last `tokens` of `context` positions of a prompt.

        Each of cp ranks holds two pieces of the prompt, one early and one late, and passes its keys
        and values on round a ring while it attends to those that it has (Liu et al. 2023; Brandon
        et al. 2023): in the first round to its own, in each further one, where the mask leaves half
        of the queries' pairs with new keys, to another rank's.
        """
        cp = layouts.cp
        workload = Workload(batch, tokens, context)

        def seconds(op: Attention) -> Array:
            def attend(queries: Number, keys: Number, causal: bool) -> Array:
                return attention_time_s(
                    self.kernels,
                    op.batch,
                    op.query_heads,
                    op.kv_heads,
                    queries,
                    keys,
                    op.head_dim,
                    op.value_dim,
                    self.quantization.other,
                    causal,
                    op.window,
                    implementation="flash" if self.fused_attention else "unfused",
                )

            if np.all(cp == 1):
                return attend(op.tokens, op.context, op.causal)
            queries, keys = op.tokens / cp, op.context / cp
            hop = self._ring_hop_s(op, layouts, keys)
            if op.window is not None:  # of all pieces only the neighbours' positions are seen
                return attend(queries, op.context, op.causal) + (cp - 1.0) * hop
            others = attend(queries, keys - queries / 2.0 if op.causal else keys, causal=False)
            own = attend(queries, keys, op.causal)
            return own + (cp - 1.0) * np.maximum(others, hop)

        return self._attention_s(workload, layouts, seconds)

    def _ring_hop_s(self, op: Attention, layouts: Layouts, positions: Number) -> Array:
        """Return seconds of passing the keys and values of `positions` to the next of cp ranks."""
        if isinstance(op, LatentAttention):
            width = op.latent_dim + op.rotary_dim
        else:
            width = op.kv_heads * (op.head_dim + op.value_dim)
        sent = op.batch * positions * width * _ACTIVATION_BYTES
        return collective_time_s(self.system, "send_recv", sent, layouts.cp, layouts.tp)

    @cached_property
    def launches(self) -> float:
        """Kernels that one pass of the whole model launches."""
        total = 0.0
        for block in self._blocks(_alone(1.0)):
            each = 0.0
            for op in block.operators:
                if isinstance(op, Experts):
                    each += _EXPERT_LAUNCHES
                elif isinstance(op, Attention):
                    each += _ATTENTION_LAUNCHES
                else:
                    works = op.work("forward", EXECUTION)
                    each += sum(TIMINGS[type(w)].kernels(w, EXECUTION) for w in works)
            total += float(block.count) * each
        return total

    def transfer_s(self, layouts: Layouts, tokens: Array) -> Array:
        """Return seconds of handing the residual stream of `tokens` from stage to stage, once."""
        hidden = self._width
        stride = layouts.tp * layouts.attention_dp * layouts.cp
        sent = tokens * hidden * _ACTIVATION_BYTES
        hop = collective_time_s(self.system, "send_recv", sent, 2.0, stride)
        return np.where(layouts.pp > 1, (layouts.pp - 1) * hop, 0.0)

    @cached_property
    def _width(self) -> float:
        return float(self.model.blocks(Workload(1, 1))[-1].source.elements)

    def _blocks(self, workload: Workload) -> list[Block]:
        """Return the blocks without a loss, layers that share their operators as one."""
        alike: dict[int, Block] = {}
        for block in self.model.blocks(workload):
            found = alike.setdefault(id(block.operators), replace(block, count=0))
            alike[id(block.operators)] = replace(found, count=found.count + block.count)
        return [_without(block, CrossEntropy) for block in alike.values()]

    def _token_pass(self, blocks: Sequence[Block], layouts: Layouts, tokens: Array) -> TokenPass:
        rows = len(tokens)
        shard = layouts.shard()
        local = [_without(b, (Attention, Experts)).shard(shard) for b in blocks]
        times = block_times(
            self.kernels,
            local,
            rows,
            EXECUTION,
            ServedFormats.from_quantization(self.quantization),
            ("forward",),
        )
        counts = np.array([float(b.count) for b in blocks])
        parts = {part: counts @ times.seconds[0, i] for i, part in enumerate(PARTS)}
        experts_s, exchange_s = np.zeros(rows), np.zeros(rows)
        for block in blocks:
            for op in block.operators:
                if isinstance(op, Experts):
                    experts_s += float(block.count) * self.experts_s(op, layouts, tokens)
            exchange_s += float(block.count) * self._exchange_s(block, layouts, tokens)
        return TokenPass(
            matrix_s=parts["matrix"] + parts["attention"],
            memory_s=parts["memory"],
            experts_s=experts_s,
            exchange_s=exchange_s,
        )

    def experts_s(self, op: Experts, layouts: Layouts, tokens: Array) -> Array:
        """Return seconds of the routed experts of one layer, from sorting tokens to adding outputs.

        Args:
            op: the experts of the whole model.
            layouts: one row each.
            tokens: of an attention rank, one row each.
        """
        everyone = tokens * layouts.attention_dp
        # All wait for the busiest rank: of few tokens by chance, of many by how routing is skewed.
        skewed = 1.0 + skewed_share(everyone) * (power_law_imbalance(layouts.ep) - 1.0)
        imbalance = np.maximum(skewed, busiest_rows(everyone, op.top_k, layouts.ep))
        return grouped_gemm_time_s(
            self.kernels,
            everyone,
            op.chosen_from,
            op.top_k,
            layouts.ep,
            op.hidden,
            op.width / layouts.moe_tp,
            self._experts_format(op),
            imbalance,
            gated=op.gated,
            touched=busiest_touched(everyone, op.chosen_from, op.top_k, layouts.ep),
        )

    def _experts_format(self, op: Experts) -> str:
        """Return the format of the products of experts: a recipe's, or the quantization's."""
        if op.packing is None:
            return self.quantization.experts
        return self.kernels.runs(op.packing.kernels)

    def _exchange_s(self, block: Block, layouts: Layouts, tokens: Array) -> Array:
        """Seconds of summing partial results within the groups of one layer."""
        routed = any(isinstance(op, Experts) for op in block.operators)
        exits = [c for c in block.collectives() if c.side == "exit"]
        if routed:  # outputs of routed and shared experts are added before they are summed
            exits = [c for c in exits if not c.name.startswith("feed_forward")]
        total = np.zeros(len(tokens))
        for exchange in exits:
            total += self._reduce_s(exchange.elements * _ACTIVATION_BYTES, layouts.tp)
        if routed:
            group = layouts.tp * layouts.attention_dp
            payload = tokens * self._width * _ACTIVATION_BYTES
            within = self._reduce_s(payload, layouts.tp)
            # Attention ranks gather each other's tokens, and scatter the sums of their experts.
            gathered = payload * layouts.attention_dp
            across = collective_time_s(self.system, "all_gather", gathered, group)
            across = across + collective_time_s(self.system, "reduce_scatter", gathered, group)
            total += np.where(layouts.attention_dp > 1, across, within)
        return total

    def _reduce_s(self, payload: Number, group: Array) -> Array:
        return collective_time_s(self.system, "all_reduce", payload, group, algorithm="one-shot")

    def _attention_s(
        self, workload: Workload, layouts: Layouts, seconds: Callable[[Attention], Array]
    ) -> Array:
        total = np.zeros(len(layouts))
        for block in self._blocks(workload):
            for op in block.operators:
                if isinstance(op, Attention):
                    total += float(block.count) * seconds(op.shard(Shard(tp=layouts.tp)))
        return total


@dataclass(frozen=True, slots=True)
class TokenPass:
    """Seconds of what acts on tokens one by one, by part."""

    matrix_s: Array
    memory_s: Array
    experts_s: Array
    exchange_s: Array

    @property
    def total_s(self) -> Array:
        return self.matrix_s + self.memory_s + self.experts_s + self.exchange_s


def skewed_share(tokens: Array) -> Array:
    """Return how far the load of experts is that of many tokens: 0 even, 1 as skewed as it gets."""
    share = np.log(tokens / _EVEN_TOKENS) / np.log(_SKEWED_TOKENS / _EVEN_TOKENS)
    return np.clip(share, 0.0, 1.0)


def _alone(tokens: Number) -> Workload:
    """Return a workload of `tokens` positions whose context is left to attention."""
    return Workload(tokens, 1.0, 1.0, generates=True)


def _without(block: Block, kinds: type[Operator] | tuple[type[Operator], ...]) -> Block:
    return replace(block, operators=tuple(o for o in block.operators if not isinstance(o, kinds)))
