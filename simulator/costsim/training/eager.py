"""Steps of plain PyTorch on one device: one kernel an operation, nothing fused, nothing divided.

For small models on a laptop or one GPU; `evaluate` times what frameworks for many devices do.
"""

from __future__ import annotations

from dataclasses import replace

from costsim.architectures.architecture import Architecture
from costsim.architectures.workload import Execution, Workload
from costsim.errors import UnknownNameError, suggestion
from costsim.hardware.accelerators import Accelerator
from costsim.hardware.blocks import Formats, block_times
from costsim.hardware.kernels import load_kernel_model
from costsim.hardware.streaming import streaming_time_s
from costsim.training.optimizers import UPDATE_KERNELS, UPDATE_PASSES

_VALUE_BYTES = 4  # parameters, gradients and states of fp32 training


def as_measured(
    accelerator: Accelerator, *, flops_per_s: float, bytes_per_s: float, units: int
) -> Accelerator:
    """Return a device described by what it measures in place of what its sheet says.

    Args:
        accelerator: whose kernels it runs, such as a CPU of its generation.
        flops_per_s: of large matrix products in fp32.
        bytes_per_s: of large copies, read and written bytes counted.
        units: threads of a CPU.
    """
    return replace(
        accelerator,
        id=f"{accelerator.id}-measured",
        name=f"{accelerator.name}, as measured",
        peaks_flops_per_s={"fp32": flops_per_s},
        memory_bandwidth_bytes_per_s=bytes_per_s,
        compute_units=units,
    )


def eager_time_s(
    model: Architecture,
    accelerator: Accelerator,
    *,
    batch: int,
    sequence: int = 1,
    image: int | tuple[int, ...] | None = None,
    optimizer: str | None = None,
) -> float:
    """Return seconds of a forward pass in fp32, or of a whole step with an optimizer's update.

    Args:
        model: what runs.
        accelerator: one device; that the model fits is not asked.
        batch: samples.
        sequence: tokens of each; 1 where samples have none.
        image: size of an image, a side or each of its dimensions, where it is not the one that a
            vision model is made for.
        optimizer: one of `UPDATE_PASSES`; None: forward alone.

    Raises:
        UnknownNameError: for another optimizer, or a device without a rate of fp32.
    """
    if optimizer is not None and optimizer not in UPDATE_PASSES:
        raise UnknownNameError(
            f"no count of what PyTorch's `{optimizer}` moves",
            hint=suggestion(optimizer, UPDATE_PASSES),
        )
    kernels = load_kernel_model(accelerator)
    execution = Execution(
        style="eager",
        attention="flash",
        low_precision=False,
        device="cpu" if accelerator.form_factor == "CPU" else "gpu",
    )
    blocks = model.blocks(Workload(batch, sequence, image=image))
    times = block_times(kernels, blocks, 1, execution, Formats("fp32", "fp32", 4.0))
    forward_s, backward_s = (
        sum(float(block.count) * float(s) for block, s in zip(blocks, way[:, 0], strict=True))
        for way in times.total_s
    )
    if optimizer is None:
        return forward_s
    moved = float(model.parameters) * _VALUE_BYTES * UPDATE_PASSES[optimizer]
    # A CPU updates one tensor after another; a GPU's operations each take all of them.
    tensors = 1
    if execution.device == "cpu":
        tensors = sum(
            int(block.count) * sum(len(weight.tensors) for weight in block.weights())
            for block in blocks
        )
    launches = tensors * UPDATE_KERNELS[optimizer]
    return forward_s + backward_s + float(streaming_time_s(kernels, moved, launches))
