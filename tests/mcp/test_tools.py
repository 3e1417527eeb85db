"""The tools, asked by the SDK's own client within the process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

sdk = pytest.importorskip("mcp")

from costsim import answers  # noqa: E402
from costsim.mcp.server import make_server  # noqa: E402
from costsim.planning import plan  # noqa: E402

SERVING: dict[str, Any] = {
    "name": "embedding",
    "model": "bert-base",
    "workload": {"kind": "forward", "requests_per_s": 500, "sequence": 256, "latency": "50 ms"},
    "hardware": {"system": "nvidia-l4"},
}


def ask(tool: str, **arguments: Any) -> Any:
    async def call() -> Any:
        async with sdk.Client(make_server()) as client:
            return await client.call_tool(tool, arguments)

    return asyncio.run(call())


def answer(tool: str, **arguments: Any) -> Any:
    result = ask(tool, **arguments)
    assert not result.is_error, result.content
    return json.loads(result.content[0].text)


def test_tools_are_listed_with_what_they_do() -> None:
    async def listed() -> Any:
        async with sdk.Client(make_server()) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(listed())}
    wanted = {"plan", "estimate", "explain", "hardware", "prices", "validate", "models"}
    assert wanted <= tools.keys()
    assert all(tool.description for tool in tools.values())
    assert tools["plan"].input_schema["required"] == ["scenario"]


def test_plan_is_that_of_python() -> None:
    assert answer("plan", scenario=SERVING)["plan"] == json.loads(plan(SERVING).to_json())


def test_estimate_and_prices_are_those_of_the_answers() -> None:
    found = answer("estimate", model="bert-base", hardware="l4", batch=8, sequence=128)
    assert found["flops"] == answers.estimate("bert-base", "l4", batch=8, sequence=128)["flops"]
    assert answer("prices", accelerator="l4") == answers.prices("l4")
    assert answer("hardware", name="l4")["accelerator"]["id"] == "nvidia-l4"


def test_explain_shows_formula_and_sources() -> None:
    (entry,) = answer("explain", scenario=SERVING, quantity="cost_usd")["quantities"]
    assert entry["unit"] == "usd"
    assert entry["sources"]


def test_validate_says_everything_that_is_wrong() -> None:
    assert answer("validate", scenario=SERVING)["valid"] is True
    wrong = {**SERVING, "model": "bert-bse", "hardware": {"system": "l44"}}
    result = ask("validate", scenario=wrong)
    assert result.is_error
    text = result.content[0].text
    assert "bert-bse" in text
    assert "l44" in text
    assert "did you mean" in text


def test_files_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "config.json"
    secret.write_text('{"model_type": "llama", "password": "hunter2"}')
    for tool, arguments in (
        ("plan", {"scenario": {**SERVING, "model": str(secret)}}),
        ("estimate", {"model": str(secret), "hardware": "l4"}),
        ("hardware", {"name": str(secret)}),
    ):
        result = ask(tool, **arguments)
        assert result.is_error
        assert "may name a file" in result.content[0].text
        assert "hunter2" not in result.content[0].text


def test_the_schema_accepts_a_scenario() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(SERVING, answer("scenario_schema"))
