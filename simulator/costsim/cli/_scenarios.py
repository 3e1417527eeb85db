"""What commands that read a scenario have in common."""

from __future__ import annotations

import json
from pathlib import Path


def with_calibration(settings: tuple[str, ...], calibration: Path | None) -> tuple[str, ...]:
    """Return `settings` with an overlay file, whose path starts where the command runs."""
    if calibration is None:
        return settings
    return (*settings, f"calibration={json.dumps(str(calibration.resolve()))}")
