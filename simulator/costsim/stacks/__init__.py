"""Training stacks: what a framework keeps of states, layers and logits."""

from costsim.stacks.catalog import load_stack, stack_for, stack_names, under_recipe
from costsim.stacks.stack import Meter, Stack, beside_adapters, recompute_of

__all__ = [
    "Meter",
    "Stack",
    "beside_adapters",
    "load_stack",
    "recompute_of",
    "stack_for",
    "stack_names",
    "under_recipe",
]
