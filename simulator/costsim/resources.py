"""Where the packaged data lies: beside the package in a wheel, at the top of a checkout.

The one module that knows the difference.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

Folder = Literal["hardware_specs", "scenarios", "reports"]


@cache
def data_folder(name: Folder) -> Path:
    """Return the folder of packaged data called `name`.

    Raises:
        FileNotFoundError: if the installation lacks it, which is a packaging fault.
    """
    package = Path(__file__).resolve().parent
    for root in (package / "_data", package.parent.parent):
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"costsim is installed without its data folder {name!r}")


@cache
def packaged_yaml(folder: Folder, path: str) -> Any:
    """Return the content of a packaged YAML file, read once: not to be changed by the caller."""
    import yaml

    text = (data_folder(folder) / path).read_bytes()
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
