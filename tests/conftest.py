"""Fixtures for all tests: golden files, and the shared validation data where it is at hand."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).resolve().parent / "golden"

# A suite that passes today passes tomorrow, on a machine of any speed.
settings.register_profile("costsim", deadline=None, derandomize=True)
settings.load_profile("costsim")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what is printed to tests/golden"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Return `check(name, text)`: `text` must equal tests/golden/<name>.

    `pytest --update-golden` writes the file instead; read the diff before committing it.
    """
    update = bool(request.config.getoption("--update-golden"))

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
            return
        assert path.is_file(), f"{path} is missing: run pytest --update-golden and read it"
        wanted = path.read_bytes().decode("utf-8")
        if text != wanted:
            diff = difflib.unified_diff(
                wanted.splitlines(), text.splitlines(), f"golden/{name}", "now", lineterm=""
            )
            pytest.fail("\n".join(diff) or "only line ends differ", pytrace=False)

    return check


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of shared measured data: $COSTSIM_SHARED or `../shared` of the checkout."""
    folder = Path(os.environ.get("COSTSIM_SHARED", ROOT.parent / "shared"))
    if not (folder / "validation").is_dir():
        pytest.skip(f"the shared validation data is not at {folder} (COSTSIM_SHARED names it)")
    return folder
