"""Time and energy of pipelines that make images and video: steps of a denoiser, a decoder.

A step runs the denoiser once or, with guidance, twice. Its tokens may be divided over devices:
Ulysses exchanges heads for positions around attention, a ring passes keys and values on. Latents
are then decoded to pixels. Products run on matrix units at the power limit; the rest draws less.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from costsim.hardware.attention import attention_time_s
from costsim.hardware.collectives import collective_time_s
from costsim.hardware.gemm import gemm_time_s
from costsim.hardware.kernels import KernelModel, load_kernel_model
from costsim.hardware.streaming import streaming_time_s
from costsim.hardware.systems import System
from costsim.inference.pipelines import Pipeline
from costsim.resources import packaged_yaml

_BYTES = 2.0  # of an activation
# Operations that a multiprocessor does in one clock by mma.sync in 16 bits: 312 TFLOP/s over 108 of
# them at 1.41 GHz on A100.
_SYNC_FLOPS = 2048.0


@dataclass(frozen=True, slots=True)
class MediaStack:
    """What a framework costs beside kernels.

    Attributes:
        kernel_ratio: time of a step over that of its products and attention timed alone.
        passes: times that a block reads or writes the residual stream beside products: norms,
            modulation, rotations, gates, each a kernel of its own unless they are compiled.
        launch_s: between kernels of a block that the device waits for.
        request_s: of a request beside steps: text, scheduler, moving pixels.
        decoder_ratio: rate of the decoder's convolutions over the peak of products.
        issue_ratio: share that attention reaches of the rate of the matrix instructions that
            PyTorch's fused attention (FlashAttention-2) issues, which are those of Ampere on every
            later device.
    """

    kernel_ratio: float
    passes: float
    launch_s: float
    request_s: float
    decoder_ratio: float
    issue_ratio: float


@dataclass(frozen=True, slots=True)
class Power:
    """Shares of a device's power limit by what it does.

    Attributes:
        products: while matrix units are busy.
        memory: while memory alone is.
        waiting: while it waits for the host, other devices or the network.
    """

    products: float
    memory: float
    waiting: float


@dataclass(frozen=True, slots=True)
class MediaJob:
    """One batch of images or clips.

    Attributes:
        ulysses: devices that divide the heads around attention.
        ring: devices that pass keys and values on.
        dtype: of products; "w8a16" and such unpack weights on the way.
        stack: "eager", "compiled" (element-wise work is fused) or "tuned" (engines built for one
            device, with attention written for it).
    """

    pipeline: Pipeline
    system: System
    batch: int
    steps: int
    height: int
    width: int
    frames: int = 1
    ulysses: int = 1
    ring: int = 1
    dtype: str = "bf16"
    stack: str = "eager"

    @property
    def devices(self) -> int:
        """Devices that work on one batch."""
        return self.ulysses * self.ring


@dataclass(frozen=True, slots=True)
class MediaEstimate:
    """Seconds of a batch from text to pixels, and power of a device."""

    latency_s: float
    samples_per_s: float
    power_w: float
    energy_j_per_sample: float
    step_s: float
    decoder_s: float
    products_s: float
    exchange_s: float


@cache
def _table() -> dict[str, Any]:
    return packaged_yaml("hardware_specs", "calibration/media.yaml")


def media_stack(name: str) -> MediaStack:
    """Return the constants of "eager", "compiled" or "tuned" pipelines."""
    return MediaStack(**_table()["stacks"][name])


def phase_power(kind: str = "media") -> Power:
    """Return the shares of power of "media" or "text" services."""
    return Power(**_table()["power"][kind])


def estimate_media(
    job: MediaJob, stack: MediaStack | None = None, power: Power | None = None
) -> MediaEstimate:
    """Return the time and energy of one batch.

    Args:
        job: what is made, and on what.
        stack: constants of the framework; calibrated ones if not given.
        power: of the device; calibrated if not given.
    """
    stack = stack or media_stack(job.stack)
    power = power or phase_power()
    model = load_kernel_model(job.system.accelerator)
    pipeline = job.pipeline
    products_s, attention_s, other_s, exchange_s = _pass_s(job, model, stack)
    passes = float(pipeline.passes * job.steps)
    busy_s = stack.kernel_ratio * (products_s + attention_s)
    step_s = busy_s + other_s + exchange_s
    # 1. Pixels: every device decodes, as most pipelines do, or one while the others wait.
    pixels = float(job.batch * job.height * job.width * job.frames)
    rate = stack.decoder_ratio * model.peak_flops_per_s("bf16")
    decoder_s = pixels * pipeline.decoder_flops / rate
    text_s = 2.0 * pipeline.text_params * pipeline.text * job.batch * pipeline.passes / rate
    latency_s = passes * step_s + decoder_s + text_s + stack.request_s
    # 2. Power by what the device does meanwhile.
    matrix_s = passes * busy_s + decoder_s + text_s
    memory_s = passes * other_s
    waiting_s = latency_s - matrix_s - memory_s
    shares = (power.products, power.memory, power.waiting)
    spent = sum(p * t for p, t in zip(shares, (matrix_s, memory_s, waiting_s), strict=True))
    limit_w = job.system.accelerator.tdp_w or 0.0
    power_w = limit_w * spent / latency_s
    return MediaEstimate(
        latency_s=latency_s,
        samples_per_s=job.batch / latency_s,
        power_w=power_w,
        energy_j_per_sample=power_w * job.devices * latency_s / job.batch,
        step_s=step_s,
        decoder_s=decoder_s,
        products_s=matrix_s,
        exchange_s=passes * exchange_s,
    )


def _pass_s(
    job: MediaJob, model: KernelModel, stack: MediaStack
) -> tuple[float, float, float, float]:
    """Return seconds of one pass of the denoiser: products, attention, the rest, exchanges."""
    pipeline = job.pipeline
    if pipeline.unet_flops:
        flops = pipeline.unet_flops * job.batch * job.height * job.width / job.devices
        # Convolutions of a U-Net reach about half of the rate of large products.
        products_s = flops / (0.5 * model.peak_flops_per_s("bf16"))
        kernels = 700.0  # of one pass, about (FlopCounterMode over diffusers)
        other_s = kernels * (stack.launch_s + model.streaming.launch_s)
        return products_s, 0.0, other_s, 0.0
    latent = pipeline.tokens(job.height, job.width, job.frames)
    mixed = pipeline.joint + pipeline.single > 0  # text is among the tokens that attend
    tokens = float(latent + (pipeline.text if mixed else 0))
    rows = job.batch * tokens / job.devices
    hidden = float(pipeline.hidden)
    ups = 2.0 if pipeline.gated else 1.0
    layers = float(pipeline.layers)

    def product(m: float, n: float, k: float, count: float = 1.0) -> float:
        return count * float(gemm_time_s(model, m, n, k, job.dtype))

    # 1. Queries, keys and values in one product; output; up and down.
    block_s = product(rows, 3.0 * hidden, hidden) + product(rows, hidden, hidden)
    block_s += product(rows, ups * pipeline.ffn * hidden, hidden)
    block_s += product(rows, hidden, pipeline.ffn * hidden)
    products_s = layers * block_s
    if pipeline.cross:
        products_s += pipeline.cross * product(rows, hidden, hidden, 2.0)
    if pipeline.twice:
        again_s = product(rows, 3.0 * hidden, hidden) + product(rows, hidden, hidden)
        products_s += pipeline.twice * again_s
    # 2. Attention: heads are divided by Ulysses, queries by the ring.
    heads = max(pipeline.heads / job.ulysses, 1.0)
    dim = hidden / pipeline.heads

    def attend(queries: float, keys: float) -> float:
        found = attention_time_s(model, job.batch, heads, heads, queries, keys, dim, causal=False)
        flops = 4.0 * job.batch * heads * queries * keys * dim
        issued = stack.issue_ratio * _SYNC_FLOPS * model.compute_units * model.clock_hz
        return max(float(found), flops / issued)

    attention_s = 0.0
    if pipeline.linear:  # two products of [dim, tokens] with [tokens, dim] a head, bound by memory
        moved = 6.0 * rows * hidden * _BYTES
        attention_s += layers * float(streaming_time_s(model, moved, 4.0))
    else:
        queries = tokens / job.ring
        attention_s += (layers + pipeline.twice) * attend(queries, tokens)
    if pipeline.cross:
        attention_s += pipeline.cross * attend(tokens / job.ring, float(pipeline.text))
    # 3. Norms, modulation, rotations and gates.
    moved = stack.passes * rows * hidden * _BYTES
    launches = stack.passes / 2.0 * (model.streaming.launch_s + stack.launch_s)
    other_s = layers * (float(streaming_time_s(model, moved, 0.0)) + launches)
    return products_s, attention_s, other_s, layers * _exchange_s(job, rows * hidden * _BYTES)


def _exchange_s(job: MediaJob, payload: float) -> float:
    """Return seconds of exchanges around the attention of one block, for a rank's share."""
    total = 0.0
    if job.ulysses > 1:  # queries, keys, values; then outputs back
        each = collective_time_s(job.system, "all_to_all", payload, np.array(float(job.ulysses)))
        total += 4.0 * float(each)
    if job.ring > 1:
        hop = collective_time_s(
            job.system, "send_recv", 2.0 * payload, np.array(float(job.ring)), job.ulysses
        )
        # Passing on overlaps with attending to what is there; the first hop and starts do not.
        total += float(hop) * (1.0 + 0.25 * (job.ring - 2.0))
    return total
