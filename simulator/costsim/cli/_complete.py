"""Names that a shell completes: packaged scenarios, models, devices and systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def scenarios(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return packaged scenarios that begin so; files beside them, as the shell finds them."""
    from click.shell_completion import CompletionItem

    from costsim.resources import data_folder

    found = sorted(path.stem for path in data_folder("scenarios").glob("*.yaml"))
    named = [CompletionItem(name) for name in found if name.startswith(incomplete)]
    return [*named, CompletionItem(incomplete, type="file")]


def models(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return models of the catalogue that begin so."""
    from costsim.architectures import model_names

    return [name for name in model_names() if name.startswith(incomplete)]


def hardware(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return accelerators and systems of the catalogue that begin so."""
    from costsim.hardware import accelerator_ids, system_ids

    known = {*accelerator_ids(), *system_ids()}
    return sorted(name for name in known if name.startswith(incomplete))
