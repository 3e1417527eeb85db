"""`costsim plan`: the best way to run a scenario of any kind, and what it costs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from costsim.cli._console import UsageError, note
from costsim.cli._output import (
    choose_format,
    names_folder,
    report_formats,
    write_bytes,
    write_folder,
    write_result,
)
from costsim.cli._reports import write_report
from costsim.cli._scenarios import scenario_options
from costsim.cli._workload import scenario_of, workload_options

if TYPE_CHECKING:
    from costsim.planning.plans import Plan


@click.command()
@partial(scenario_options, required=False)
@workload_options
@click.option("--format", "format_name", metavar="NAME", help="Default: table.")
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="Write to this file (`budget.xlsx`: the budget with live formulas); into a folder "
    "(`launch/`) go the files that start the plan.",
)
@click.option(
    "--launch",
    "launched",
    multiple=True,
    metavar="NAME",
    help="Launch files to write into the folder: of training megatron, bridge, torchtitan, "
    "deepspeed, fsdp; of services vllm, sglang, tensorrt-llm; or all. Default: as the scenario "
    "runs. Repeatable.",
)
@click.option("--full", is_flag=True, help="Print the whole report; so does `--format table`.")
def command(
    scenario: Path | None,
    settings: tuple[str, ...],
    calibration: Path | None,
    allow_outside: bool,
    format_name: str | None,
    output: str | None,
    launched: tuple[str, ...],
    full: bool,
    **stated: Any,
) -> int:
    """Find the best way to run SCENARIO, a YAML file or the name of a packaged one, and its cost.

    Without SCENARIO, flags state it: `costsim plan --model llama-3.1-8b --hardware h100 --devices
    64 --tokens 1T --sequence 8192 --global-batch 512`, or `--requests-per-s 5 --input-tokens
    1000 --output-tokens 300` for a service; a file that says the same has the same answer.

    Exit code 3 where nothing fits, 4 where the best is over a limit that the scenario states.
    """
    from costsim.planning import plan
    from costsim.reporting.plans import plan_report

    folder = Path(output) if output is not None and names_folder(output) else None
    if launched and folder is None:
        raise UsageError("--launch writes into a folder", "name it, as in `-o launch/`")
    path = None if output is None or folder else Path(output)
    chosen = choose_format(format_name, path, {**report_formats(), "xlsx": (".xlsx",)})
    given = _asked(scenario, stated)
    found = plan(given, settings, calibration, allow_outside=allow_outside)
    if folder is not None:
        _write_launch(found, (given, settings, calibration), folder, launched)
    if chosen == "json":
        write_result(found.to_json(), path)
    elif chosen == "xlsx":
        from costsim.reporting.workbook import budget_workbook

        write_bytes(budget_workbook(found), path)
    else:
        brief = not full and format_name is None and path is None
        write_report(plan_report(found), chosen, path, brief=brief)
    found.check_limits()
    return 0


def _asked(scenario: Path | None, flags: dict[str, Any]) -> Path | dict[str, Any]:
    """Return what is to be planned: a file, or what flags say.

    Raises:
        UsageError: where it is neither or both.
    """
    if scenario is not None and any(value not in (None, ()) for value in flags.values()):
        raise UsageError(
            "SCENARIO and flags both say what to plan", "change a file's values by --set KEY=VALUE"
        )
    if scenario is not None:
        return scenario
    stated = scenario_of(flags)
    if stated is None:
        raise UsageError(
            "nothing to plan: name SCENARIO, or --model and --hardware", "costsim plan gpt3"
        )
    return stated


def _write_launch(
    found: Plan[Any, Any],
    given: tuple[Path | dict[str, Any], tuple[str, ...], Path | None],
    folder: Path,
    formats: tuple[str, ...],
) -> None:
    """Write the files that start the best of a plan, and say which."""
    from costsim.launching.writing import launch_files
    from costsim.planning.study import read

    document, _ = read(*given, allow_outside=True)  # looked at when it was planned
    files = launch_files(found, document.value, formats)
    write_folder(files, folder)
    note(f"wrote {', '.join(files)} into {folder}")
