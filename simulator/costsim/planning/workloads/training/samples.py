"""Training counted in samples: what a model makes of them, and what brings them."""

from __future__ import annotations

from dataclasses import replace

from costsim.architectures.architecture import Architecture
from costsim.architectures.pictures import native_image, sees_latents
from costsim.errors import SpecError
from costsim.planning.workloads.training.spec import SampleTraining, Training
from costsim.remarks import Excluded
from costsim.training.samples import InputPipeline, pipelines, sample_software
from costsim.training.software import Software, software, under_effort

NO_WAIT = InputPipeline(0.0, 0.0)


def profile_of(workload: Training | SampleTraining, name: str) -> Software:
    """Return the software profile called `name` for a workload, with the traits that it states.

    Raises:
        UnknownNameError: where none of that name trains what the workload counts.
    """
    if not isinstance(workload, Training):
        return sample_software(name)
    found = under_effort(software(name), workload.effort)
    return replace(
        found,
        graphs=workload.graphs or found.graphs,
        dispatcher=workload.dispatcher or found.dispatcher,
        routing=workload.routing or found.routing,
    )


def check_text(model: Architecture) -> None:
    """Check that `model` can be trained on tokens.

    Raises:
        SpecError: where it sees images.
    """
    if native_image(model) is not None:
        raise SpecError(
            f"{model.name} sees images, which are not counted in tokens",
            hint="state `samples`, or `epochs` and `dataset_samples`, instead of `tokens`",
        )


def within_context(model: Architecture, sequence: int) -> int:
    """Return `sequence`, the tokens that `model` is given at a time.

    Raises:
        SpecError: where it has positions for fewer.
    """
    limit = model.context_limit
    if limit is not None and sequence > limit:
        raise SpecError(
            f"{model.name} has positions for {limit:,} tokens, not {sequence:,}",
            hint=f"use a sequence of at most {limit}",
        )
    return sequence


def sequence_of(model: Architecture, workload: SampleTraining) -> int:
    """Return the tokens of a sample that are computed; 1 of a net of images alone.

    Raises:
        SpecError: where a text has no length, a picture has one, or it is beyond the model's.
    """
    if native_image(model) is not None and not model.reads_tokens:
        if workload.sequence is not None or workload.real_tokens != 1:
            raise SpecError(
                f"{model.name} sees images, which have no `sequence`",
                hint="leave `sequence` and `real_tokens` out; `image` is the size of an image",
            )
        return 1
    if workload.sequence is None:
        raise SpecError(
            f"{model.name} reads sequences: how long a sample is must be said",
            hint="add `sequence: 512`, the tokens of a sample",
        )
    within_context(model, workload.sequence)
    return max(1, round(workload.sequence * workload.real_tokens))


def input_of(model: Architecture, workload: SampleTraining, profile: str) -> InputPipeline | None:
    """Return the pipeline that brings samples, or None where nothing can wait for it.

    What the workload leaves out is as measured with that software for pictures; latents and texts
    are taken as read ahead.
    """
    decodes = native_image(model) is not None and not sees_latents(model)
    usual = pipelines()[profile] if decodes else NO_WAIT
    stated = workload.input
    found = InputPipeline(
        usual.device_sample_s if stated.sample is None else stated.sample,
        usual.node_sample_s if stated.node_sample is None else stated.node_sample,
    )
    return None if found == NO_WAIT else found


def left_out(model: Architecture) -> tuple[str, ...]:
    """Return what of the training of `model` is not counted."""
    if sees_latents(model):
        return (
            Excluded(
                "frozen encoders of images and texts are left out: latents and embeddings are made "
                "once and kept"
            ),
        )
    return ()
