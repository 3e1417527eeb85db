"""Which degrees of tensor parallelism divide a model: one law for training and serving.

Megatron-LM, vLLM, SGLang and TensorRT-LLM refuse the same degrees when they start: query heads must
divide over the ranks, and heads of keys and values must divide, or the ranks divide over them, each
of which is then held by several ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from costsim.architectures.architecture import Architecture
from costsim.architectures.operators import Attention
from costsim.architectures.operators.wrapping import unwrapped


@dataclass(frozen=True, slots=True)
class Heads:
    """Heads of a model's attention: what tensor parallelism divides.

    Attributes:
        queries: the most ranks that query heads of all layers divide over; 1 without attention.
        groups: heads of keys and values, each number that a layer has.
    """

    queries: int = 1
    groups: tuple[int, ...] = ()

    def divide(self, ranks: int) -> bool:
        """Return whether all heads divide over `ranks`."""
        return self.queries % ranks == 0 and all(
            group % ranks == 0 or ranks % group == 0 for group in self.groups
        )

    @property
    def degrees(self) -> tuple[int, ...]:
        """Every number of ranks that the heads divide over, ascending."""
        return tuple(ranks for ranks in divisors(self.queries) if self.divide(ranks))

    def refusal(self, ranks: int) -> str:
        """Return why `ranks` are refused; empty where they are not."""
        if self.divide(ranks):
            return ""
        counted = f"{self.queries} attention heads"
        if self.queries % ranks == 0:
            wrong = [group for group in self.groups if group % ranks and ranks % group]
            counted = f"{wrong[0]} heads of keys and values"
        return f"{counted} do not divide over {ranks} devices"

    @property
    def hint(self) -> str:
        """Which numbers of ranks would be right."""
        *others, last = (str(ranks) for ranks in self.degrees)
        return f"use {', '.join(others)} or {last}" if others else f"use {last}"


def divisors(number: int) -> list[int]:
    """Return the divisors of a positive integer, ascending."""
    found, rest, prime = [1], number, 2
    while rest > 1:
        if prime * prime > rest:  # what is left is a prime itself
            prime = rest
        powers = [1]
        while rest % prime == 0:
            rest //= prime
            powers.append(powers[-1] * prime)
        if len(powers) > 1:
            found = [one * power for one in found for power in powers]
        prime += 1 if prime == 2 else 2
    return sorted(found)


def heads_of(model: Architecture) -> Heads:
    """Return what tensor parallelism has to divide of `model`."""
    queries, groups = 0, set[int]()
    for block in model.blocks():
        for operator in block.operators:
            bare = unwrapped(operator)
            if isinstance(bare, Attention):
                queries = math.gcd(queries, int(bare.query_heads))
                groups.add(int(bare.kv_heads))
    return Heads(max(queries, 1), tuple(sorted(groups)))
