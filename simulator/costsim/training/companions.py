"""Models beside the one that is trained: references, rewards, values, teachers, by method.

DPO (Rafailov et al. 2023, arXiv 2305.18290) compares with a reference; KTO (Ethayarajh et al. 2024,
arXiv 2402.01306, §4) estimates a divergence besides, by answers of other prompts that policy and
reference pass forward. ORPO (Hong et al. 2024, arXiv 2403.07691) and reward modelling need neither.
PPO (Ouyang et al. 2022, arXiv 2203.02155) has a reference, a reward and a value model, which is
trained as the policy is; distillation a teacher.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Method: TypeAlias = Literal["sft", "dpo", "kto", "orpo", "reward", "ppo", "grpo", "rloo", "distill"]
"""What a step does."""
TRAINING_METHODS: tuple[Method, ...] = get_args(Method)

Reference: TypeAlias = Literal["none", "shared", "separate", "precomputed"]
"""A reference: none; the base under adapters; weights of its own; its answers kept from before."""

PAIRED = frozenset({"dpo", "orpo", "reward"})
"""Methods whose samples are pairs that pass through the model together."""
REFERENCED = frozenset({"dpo", "kto", "ppo"})
"""Methods that compare with a reference where nothing else is said."""
ROLLED = frozenset({"ppo", "grpo", "rloo"})
"""Methods that generate what they train on."""

_FROZEN_BYTES = 2.0  # of a parameter that only scores: 16 bits


@dataclass(frozen=True, slots=True)
class Companions:
    """What stands beside a model that is trained.

    Attributes:
        held: parameters of models that only score, by name.
        forwards: passes forward over the tokens of a step without gradients, by model.
        values: models as large that are trained in turn.
    """

    held: dict[str, float]
    forwards: dict[str, int]
    values: int = 0

    @property
    def frozen_bytes(self) -> float:
        """Bytes of models that only score, over all devices that share a copy."""
        return _FROZEN_BYTES * sum(self.held.values())


def usual_reference(method: str, *, adapts: bool) -> Reference:
    """Return the reference where none is stated: the base itself under adapters."""
    if method not in REFERENCED:
        return "none"
    return "shared" if adapts else "separate"


def companions(
    method: str,
    reference: Reference,
    parameters: float,
    *,
    teacher_parameters: float | None = None,
    cached: bool = False,
) -> Companions:
    """Return what a method needs beside its model.

    Args:
        method: one of `TRAINING_METHODS`.
        reference: what it compares with.
        parameters: of the model that is trained.
        teacher_parameters: of what is distilled; the model's own where it is not stated.
        cached: whether a teacher's answers were kept from before.
    """
    held: dict[str, float] = {}
    forwards: dict[str, int] = {}
    if reference == "separate":
        held["reference"] = parameters
    if reference in ("shared", "separate"):
        forwards["reference"] = 2 if method == "kto" else 1
    if method == "kto":
        forwards["policy"] = 1
    if method == "ppo":
        held["reward"] = parameters
        forwards |= {"policy": 1, "reward": 1, "value": 1}
    if method == "distill" and not cached:
        held["teacher"] = teacher_parameters or parameters
        forwards["teacher"] = 1
    return Companions(held, forwards, values=int(method == "ppo"))
