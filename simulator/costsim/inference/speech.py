"""Speech recognition: an encoder over half a minute of sound, then a text token by token."""

from __future__ import annotations

from dataclasses import dataclass, replace

from costsim.architectures.architecture import Architecture
from costsim.hardware.kernels import load_kernel_model
from costsim.hardware.systems import System

FRAMES = 1500  # positions of 30 s of sound after the convolutions, 50 a second
TOKENS = 100.0  # of the text of 30 s of speech: some 75 words
_ENCODER_RATE = 0.25  # of the peak that an encoder's products reach in large batches
_DECODER_RATE = 0.2  # of the bandwidth that steps of small batches reach


@dataclass(frozen=True, slots=True)
class SpeechJob:
    """A model that `devices` run on batches of 30 s of sound each."""

    model: Architecture
    system: System
    devices: int
    batch: int
    dtype: str


def speech_rate(job: SpeechJob) -> float:
    """Return tokens of text a second that all devices write, which is what benchmarks count.

    About half of the weights are the encoder's, which works on all positions at once; the others
    are read once for each token of a batch.
    """
    model = load_kernel_model(replace(job.system, count=1).accelerator)
    peak = model.peak_flops_per_s("fp16")
    half = job.model.parameters / 2.0
    encoder_s = 2.0 * half * FRAMES * job.batch / (_ENCODER_RATE * peak)
    step_s = max(
        2.0 * half / (_DECODER_RATE * model.bandwidth_bytes_per_s),
        2.0 * half * job.batch / (_ENCODER_RATE * peak),
    )
    whole_s = encoder_s + TOKENS * step_s
    return job.devices * job.batch * TOKENS / whole_s
