"""Published runs that come with costsim, so that anyone can score it without data of their own."""

from __future__ import annotations

from pathlib import Path

from costsim.resources import data_folder


def packaged_runs() -> Path:
    """Return the packaged runs file; each row names its source."""
    return data_folder("hardware_specs") / "runs" / "training_runs.csv"
