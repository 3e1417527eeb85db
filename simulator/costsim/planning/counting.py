"""What a training run is counted in: tokens, or samples; and that a scenario says it once."""

from __future__ import annotations

from typing import Any, cast

from costsim.documents import Document
from costsim.errors import Problem, SpecError
from costsim.planning.scenario import COUNTED_IN_SAMPLES

_AMOUNTS = ("samples", "epochs", "dataset_samples")
_ONE = "`tokens` count texts of language models; `samples`, or `epochs`, images and texts as wholes"


def check_counted(document: Document) -> None:
    """Check that a workload says how much is trained in one way only, and wholly.

    Raises:
        SpecError: with every key that says it again, or says half of it.
    """
    workload: Any = cast("dict[str, Any]", document.value).get("workload")
    if not isinstance(workload, dict):
        return
    keys = list(cast("dict[str, Any]", workload))
    sampled = [key for key in keys if key in COUNTED_IN_SAMPLES]
    problems: list[Problem] = []

    def problem(key: str, message: str, hint: str) -> None:
        where = document.locate(("workload", key), key=True)
        problems.append(Problem(message, where, hint))

    if "tokens" in keys:
        for key in sampled:
            if key in _AMOUNTS:
                problem(key, f"`tokens` and `{key}` both say how much is trained", _ONE)
            else:
                problem(
                    key,
                    f"`{key}` belongs to training that is counted in samples, not in tokens",
                    "leave it out, or count `samples` instead of `tokens`",
                )
    elif "samples" in keys:
        for key in sampled:
            if key in _AMOUNTS and key != "samples":
                problem(
                    key,
                    f"`samples` and `{key}` both say how much is trained",
                    "keep `samples` of the whole run, or `epochs` and `dataset_samples`",
                )
    elif "epochs" in keys and "dataset_samples" not in keys:
        problem(
            "epochs",
            "`epochs` says how often a data set is gone through, not how large it is",
            "add `dataset_samples: 1281167`, the samples of one epoch",
        )
    elif "dataset_samples" in keys and "epochs" not in keys:
        problem(
            "dataset_samples",
            "`dataset_samples` says how large a data set is, not how often it is gone through",
            "add `epochs: 90`",
        )
    elif sampled and "epochs" not in keys:
        problem(
            sampled[0],
            "nothing says how much is trained",
            "add `samples: 115 M samples`, or `epochs` and `dataset_samples`",
        )
    if problems:
        raise SpecError(problems)
