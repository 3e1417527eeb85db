"""Which formats there are, which module renders each, and the one door to them.

A new format is one module with `render(report, options) -> Rendered` and one line in `FORMATS`.
Modules are imported on use, so that JSON costs no Jinja.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Protocol, cast

from costsim.errors import UnknownNameError, suggestion
from costsim.reporting.model import Report


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What the place of a report asks of its renderer; each uses what concerns it."""

    width: int = 80  # columns of a terminal
    color: bool = False  # ANSI colours in a terminal
    encoding: str = "utf-8"  # of a terminal
    brief: bool = False  # the answer alone, in a terminal
    asset_stem: str = ""  # charts may be written as files beside the report, named from this


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a report, and files that belong beside it, by name."""

    text: str
    assets: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Format:
    """A format: the module that renders it and the file suffixes that choose it."""

    module: str
    suffixes: tuple[str, ...]


class Renderer(Protocol):
    """What a format's module offers."""

    def render(self, report: Report, options: RenderOptions) -> Rendered:
        """Return the report in the module's format."""
        ...


FORMATS: dict[str, Format] = {
    "table": Format("costsim.reporting.terminal", (".txt",)),
    "json": Format("costsim.reporting.json", (".json",)),
    "markdown": Format("costsim.reporting.markdown", (".md", ".markdown")),
    "html": Format("costsim.reporting.html", (".html", ".htm")),
    "csv": Format("costsim.reporting.csv", (".csv",)),
}


def render(report: Report, format: str, options: RenderOptions | None = None) -> str:
    """Return `report` in `format` as one text.

    Raises:
        UnknownNameError: if there is no such format.
    """
    return _renderer(format).render(report, options or RenderOptions()).text


def render_files(
    report: Report, format: str, path: PurePath, options: RenderOptions | None = None
) -> dict[str, str]:
    """Return the files of a report to be written beside each other: name -> content.

    The first is `path`'s own name; charts follow where the format wants them as files.

    Raises:
        UnknownNameError: if there is no such format.
    """
    given = options or RenderOptions()
    with_stem = replace(given, asset_stem=path.stem)
    rendered = _renderer(format).render(report, with_stem)
    return {path.name: rendered.text, **rendered.assets}


def format_for_path(path: PurePath) -> str:
    """Return the format that a file name's suffix chooses.

    Raises:
        UnknownNameError: if no format has the suffix.
    """
    by_suffix = {suffix: name for name, entry in FORMATS.items() for suffix in entry.suffixes}
    suffix = path.suffix.lower()
    if suffix not in by_suffix:
        raise UnknownNameError(
            f"no report format has the suffix `{suffix}` of `{path.name}`",
            hint=f"use one of {', '.join(sorted(by_suffix))}, or name the format",
        )
    return by_suffix[suffix]


def _renderer(format: str) -> Renderer:
    if format not in FORMATS:
        raise UnknownNameError(
            f"unknown report format `{format}`", hint=suggestion(format, FORMATS)
        )
    return cast(Renderer, importlib.import_module(FORMATS[format].module))
