"""costsim: analytic cost simulator and capacity planner for foundation models.

Every public name is loaded on first use, so that `import costsim` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from costsim.hooks import register

if TYPE_CHECKING:
    from costsim.architectures import from_torch as from_torch
    from costsim.architectures import load_model as load_model
    from costsim.decisions import compare as compare
    from costsim.decisions import diff as diff
    from costsim.decisions.solve import solve as solve
    from costsim.hardware import load_hardware as load_hardware
    from costsim.inference import estimate_inference as estimate_inference
    from costsim.planning import plan as plan
    from costsim.planning.fitting import fit as fit
    from costsim.sweeps import sweep as sweep
    from costsim.training import estimate_training as estimate_training

    __version__: str

_ROOMS = {
    "from_torch": "costsim.architectures.tracing",
    "load_model": "costsim.architectures",
    "load_hardware": "costsim.hardware",
    "fit": "costsim.planning.fitting",
    "compare": "costsim.decisions",
    "diff": "costsim.decisions",
    "plan": "costsim.planning",
    "sweep": "costsim.sweeps",
    "solve": "costsim.decisions.solve",
    "estimate_inference": "costsim.inference",
    "estimate_training": "costsim.training",
}

__all__ = [
    "__version__",
    "compare",
    "diff",
    "estimate_inference",
    "estimate_training",
    "fit",
    "from_torch",
    "load_hardware",
    "load_model",
    "plan",
    "solve",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("costsim")
    elif name in _ROOMS:
        value = getattr(import_module(_ROOMS[name]), name)
    else:
        raise AttributeError(f"module 'costsim' has no attribute {name!r}")
    globals()[name] = value
    return value


def _plan_html(plan: Any) -> str:
    """Return a plan as a notebook shows it: its report in a frame, so that no style leaks out."""
    from html import escape

    from costsim.reporting import render
    from costsim.reporting.plans import plan_report

    page = escape(render(plan_report(plan), "html"), quote=True)
    return (
        f'<iframe title="{escape(plan.name, quote=True)}" sandbox="allow-scripts" '
        f'style="width:100%;height:760px;border:0" srcdoc="{page}"></iframe>'
    )


register("plan_html", _plan_html)


def __dir__() -> list[str]:
    return __all__
