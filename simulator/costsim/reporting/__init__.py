"""The report: one model of what is said, and many renderers of how it looks.

`render` and `render_files` are the door; the records of `costsim.reporting.model` are what goes in.
"""

from costsim.reporting.registry import (
    FORMATS,
    Rendered,
    RenderOptions,
    format_for_path,
    render,
    render_files,
)

__all__ = [
    "FORMATS",
    "RenderOptions",
    "Rendered",
    "format_for_path",
    "render",
    "render_files",
]
