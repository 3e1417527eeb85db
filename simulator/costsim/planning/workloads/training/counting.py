"""What a training run is counted in: tokens, or samples; and that a scenario says it once."""

from __future__ import annotations

from typing import Any, cast

from costsim.documents import Document
from costsim.errors import Problem, SpecError
from costsim.planning.lookup import Lookup
from costsim.planning.workloads.training.spec import (
    COUNTED_IN_SAMPLES,
    SampleTraining,
    Training,
)

_AMOUNTS = ("samples", "epochs", "dataset_samples")
_ONE = "keep `tokens` for language models, or `samples` (or `epochs`) of images or whole texts"
_WHOLE = "keep `samples` of the whole run, or `epochs` and `dataset_samples`"


def check_counted_once(document: Document) -> None:
    """Check that a workload does not say in two ways how much is trained.

    Raises:
        SpecError: with every key that says it again, or belongs to the other way.
    """
    workload: Any = cast("dict[str, Any]", document.value).get("workload")
    if not isinstance(workload, dict):
        return
    keys = list(cast("dict[str, Any]", workload))
    problems: list[Problem] = []
    for key in keys:
        if "tokens" in keys and key in _AMOUNTS:
            message, hint = f"`tokens` and `{key}` both say how much is trained", _ONE
        elif "tokens" in keys and key in COUNTED_IN_SAMPLES:
            message = f"`{key}` belongs to training that is counted in samples, not in tokens"
            hint = "leave it out, or count `samples` instead of `tokens`"
        elif "samples" in keys and key in _AMOUNTS[1:]:
            message, hint = f"`samples` and `{key}` both say how much is trained", _WHOLE
        else:
            continue
        problems.append(Problem(message, document.locate(("workload", key), key=True), hint))
    if problems:
        raise SpecError(problems)


def check_counted(workload: Training | SampleTraining, lookup: Lookup) -> None:
    """Note where a workload counts samples and does not say how many."""
    if isinstance(workload, Training) or workload.total_samples:
        return
    if workload.epochs is not None:
        key, message = "epochs", "`epochs` says how often data are gone through, not how many"
        hint = "add `dataset_samples: 1281167`, the samples of one epoch"
    elif workload.dataset_samples is not None:
        key = "dataset_samples"
        message = "`dataset_samples` says how many the data are, not how often gone through"
        hint = "add `epochs: 90`"
    else:
        key, message = "kind", "the workload does not say how much is trained"
        hint = "add `samples: 115 M samples`, or `epochs` and `dataset_samples`"
    lookup.note(message, ("workload", key), hint, key=True)
