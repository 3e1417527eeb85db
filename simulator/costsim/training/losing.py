"""Logits and loss: what is held of them while they are made, kept, and differentiated.

Bytes a logit, of which b are those of the compute format. As written in eager PyTorch
(`logits.float()`, then cross-entropy) the log-softmax is kept in fp32 (4); beside it stand logits
and their fp32 copy while it is made, and two fp32 gradients while it is differentiated. One
compiled kernel keeps the logits as they are and writes their gradient. Chunks hold that of one of
n at a time. Head and loss in one hold one chunk, and the gradients of what enters and of the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costsim.stacks.stack import Loss

_FLOAT = 4.0


@dataclass(frozen=True, slots=True)
class LossMemory:
    """Bytes by moment; the gradient of the head's weight is in them.

    `forward` while the loss is made, `backward` at the worst until the head's input has its
    gradient, and `kept` between the two.
    """

    forward: np.ndarray
    kept: np.ndarray
    backward: np.ndarray


@dataclass(frozen=True, slots=True)
class Head:
    """The head at the loss: how many logits, and bytes around its weight.

    `made` are those of its weight's gradient as its product makes it, `gradient` as it is kept,
    `cast` of the copy that autocast makes of the weight, `entering` of the gradient of its input;
    `capped` logits keep their tanh besides. `wide` are those of the
    weight's gradient in fp32.
    """

    logits: np.ndarray
    made: np.ndarray
    gradient: np.ndarray
    cast: np.ndarray
    entering: np.ndarray
    capped: np.ndarray
    wide: np.ndarray


def loss_memory(
    loss: Loss,
    chunks: int,
    head: Head,
    compute_bytes: float,
    *,
    upcast: bool,
    persistent: bool,
) -> LossMemory:
    """Return what the loss over logits holds.

    Args:
        loss: how it is computed.
        chunks: that it is computed in.
        head: what it is computed of.
        compute_bytes: of a logit as the head makes it.
        upcast: whether the softmax is in fp32.
        persistent: whether gradients have a buffer of their own that is held anyway.
    """
    b, logits, part = compute_bytes, head.logits, head.logits / chunks
    soft = _FLOAT if upcast else b
    wide = _FLOAT if upcast and b < _FLOAT else 0.0  # of a copy in fp32
    made = np.zeros_like(head.made) if persistent else head.made
    # Logits' gradient beside the gradients of what the head read.
    last = b * logits + made + head.entering
    cap = b * head.capped
    match loss:
        case "eager":
            kept = soft * logits + cap
            forward = kept + (b + wide) * logits
            backward = np.maximum(kept + 2 * soft * logits, last)
        case "compiled":
            kept = b * logits
            forward, backward = kept, np.maximum(2 * kept, last)
        case "chunked":
            # Every chunk adds to the weight's gradient, out of place.
            kept = _FLOAT * logits + cap
            forward = kept + _FLOAT * part
            added = 3 * made + kept * max(chunks - 2, 0) / chunks + head.entering
            backward = np.maximum(kept + 2 * _FLOAT * part, added)
        case "checkpointed":
            kept = -head.cast
            forward = 2 * _FLOAT * part + cap / chunks
            added = np.where(head.cast > 0, made + head.gradient, 3 * made) + head.entering
            backward = np.maximum(3 * _FLOAT * part + made, added) + kept
        case "fused_linear":
            kept = head.gradient * (made > 0) + head.entering - head.cast
            forward = kept + (2 * b + 2 * _FLOAT) * part + head.entering + 2 * head.cast
            backward = kept + head.gradient * (made > 0) + head.entering
        case "tiled":  # both gradients in fp32, and cast when all tiles are done
            kept = -head.cast
            forward = kept
            cast = np.where(head.wide > head.gradient, head.gradient, 0.0)
            backward = kept + head.wide + cast + (1 + _FLOAT / b) * head.entering
        case "vocab_parallel":
            kept = _FLOAT * logits
            forward, backward = 2 * kept, 2 * kept
    return LossMemory(forward, kept, backward)
