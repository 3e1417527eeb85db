"""Training stacks: what a framework keeps of states, layers and logits."""

from costsim.stacks.catalog import load_stack, stack_for, stack_names
from costsim.stacks.stack import Stack

__all__ = ["Stack", "load_stack", "stack_for", "stack_names"]
