"""What a row measured, in the units that predictions are in."""

from __future__ import annotations

from costsim.validation.predict import Prediction
from costsim.validation.runs import Run

_TERA = 1e12


def measured_step_time_s(run: Run, prediction: Prediction) -> float | None:
    """Return the seconds of a step: measured, or from tokens or samples a second, or TFLOP/s.

    TFLOP/s are converted only where nothing else is stated, with the FLOPs of the model in full
    (no saving for causal masks, no recomputation), which is what most frameworks count. Of an
    assumed batch or sequence, the step takes what these rates say; a measured one is another's.
    """
    number, job = run.number, prediction.configuration.job
    if not prediction.configuration.complete:
        return None
    if number.get("step_time_s") and prediction.configuration.own_step:
        return number["step_time_s"]
    devices = job.system.count
    if number.get("tokens_per_s_per_gpu"):
        return prediction.tokens_per_step / (number["tokens_per_s_per_gpu"] * devices)
    if number.get("samples_per_s_per_gpu"):
        return job.global_batch / (number["samples_per_s_per_gpu"] * devices)
    if number.get("tflops_per_gpu"):
        flops = float(job.model.training_flops(1, job.sequence)) * job.global_batch
        return flops / (number["tflops_per_gpu"] * _TERA * devices)
    return None
