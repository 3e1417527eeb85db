"""The tools: each is a question of `costsim.answers`, so that an assistant hears what others do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from costsim import answers
from costsim.errors import CostsimError

P = ParamSpec("P")
Answer = dict[str, Any]

_INSTRUCTIONS = """costsim estimates what a foundation model costs to train, fine-tune and serve.
Write a scenario as a mapping (see the tool `scenario_schema`), check it with `validate`, then
`plan` it. Keys of answers end in their unit. `low` and `high` bound a figure in 8 of 10 cases.
Scenarios name catalogue entries or hold descriptions; no file is read."""


def make_server() -> MCPServer[Any]:
    """Return the server with all of its tools; nothing is served yet."""
    from costsim import __version__

    server: MCPServer[Any] = MCPServer(
        "costsim", instructions=_INSTRUCTIONS, version=__version__, log_level="WARNING"
    )

    def plan(scenario: dict[str, Any]) -> Answer:
        """Find the best way to run a scenario (training, serving, passes, a job) and its costs."""
        return _told(answers.plan_scenario, scenario)

    def validate(scenario: dict[str, Any]) -> Answer:
        """Check a scenario: every unknown key and name and every wrong value, with hints."""
        return _told(answers.check_scenario, scenario)

    def explain(scenario: dict[str, Any], quantity: str | None = None) -> Answer:
        """Show formula, numbers, interval and sources of a figure (cost_usd, days, …) of a plan."""
        return _told(answers.explain_scenario, scenario, quantity)

    def estimate(
        model: str | dict[str, Any],
        hardware: str,
        phase: str = "forward",
        batch: int = 1,
        sequence: int | None = None,
        precision: str | None = None,
        optimizer: str = "adam",
        devices: int = 1,
    ) -> Answer:
        """Estimate FLOPs, memory, throughput and latency of one pass or training step.

        `model` is a catalogue name or the content of a config.json; `phase` is training, forward,
        prefill or decode; layers are divided over `devices` (tensor parallelism).
        """
        return _told(
            answers.estimate,
            model,
            hardware,
            phase,
            batch=batch,
            sequence=sequence,
            precision=precision,
            optimizer=optimizer,
            devices=devices,
        )

    def models() -> Answer:
        """List the names of the model catalogue."""
        return _told(answers.models)

    def hardware(name: str | None = None) -> Answer:
        """List accelerators, or show one device or system with the source of each figure."""
        return _told(answers.hardware, name)

    def prices(
        accelerator: str,
        provider: str | None = None,
        region: str | None = None,
        term: answers.Term = "on_demand",
    ) -> Answer:
        """Give the price of a device-hour that a plan takes: range, rule, date and source."""
        return _told(answers.prices, accelerator, provider, region, term)

    def scenario_schema() -> Answer:
        """Give the JSON schema of a scenario of any kind."""
        from costsim.planning.workload import scenario_schema as schema

        return schema()

    for tool in (plan, validate, explain, estimate, models, hardware, prices, scenario_schema):
        server.tool()(tool)
    return server


def _told(ask: Callable[P, Answer], *arguments: P.args, **named: P.kwargs) -> Answer:
    """Return an answer, or what is wrong with the question in words.

    Raises:
        ToolError: where the question must change or nothing fits.
    """
    try:
        return ask(*arguments, **named)
    except CostsimError as error:
        raise ToolError("\n".join(str(problem) for problem in error.problems)) from None
