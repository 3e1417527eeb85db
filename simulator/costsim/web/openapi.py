"""The OpenAPI document of the JSON API, its scenarios by the same schema as files."""

from __future__ import annotations

from typing import Any

from costsim import answers
from costsim.answers.estimates import PHASES

_ERRORS = {
    "400": "The question must change: every problem, with a hint.",
    "403": "The request comes from a page of another origin.",
    "413": "The body is larger than it may be.",
    "422": "Nothing fits, or the scenario cannot be kept.",
    "503": "It took longer than it may, or others wait already.",
}


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    from costsim import __version__
    from costsim.planning.workload import scenario_schema

    count: dict[str, Any] = {"type": "integer", "minimum": 1}
    text = {"type": "string"}
    described = {"anyOf": [text, {"type": "object"}]}
    estimate: dict[str, Any] = {
        "type": "object",
        "required": ["model", "hardware"],
        "additionalProperties": False,
        "properties": {
            "model": described,
            "hardware": text,
            "phase": {"enum": list(PHASES), "default": "forward"},
            "batch": {**count, "default": 1},
            "sequence": count,
            "precision": text,
            "optimizer": {**text, "default": "adam"},
            "devices": {**count, "default": 1},
        },
    }
    scenario: dict[str, Any] = scenario_schema()
    # `$defs` of an embedded schema resolve against its own root only if it names itself.
    scenario = {"$id": "https://costsim.invalid/scenario.json", **scenario}
    asked: dict[str, Any] = {
        "type": "object",
        "required": ["scenario"],
        "properties": {"scenario": _SCENARIO},
    }
    report: dict[str, Any] = {
        **asked,
        "properties": {**asked["properties"], "report": {"type": "boolean"}},
    }
    explained: dict[str, Any] = {**asked, "properties": {**asked["properties"], "quantity": text}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "costsim", "version": __version__, "summary": answers.__doc__},
        "paths": {
            "/api/plan": _post("The best plan of a scenario and its costs.", report),
            "/api/explain": _post("Figures of a plan with formula and sources.", explained),
            "/api/validate": _post("Whether a scenario is right.", asked),
            "/api/estimate": _post("One model on one device or group.", estimate),
            "/api/models": _get("The models of the catalogue.", ()),
            "/api/hardware": _get("Accelerators, or one of them in full.", ("name",)),
            "/api/prices": _get(
                "The price of a device-hour.", ("accelerator", "provider", "region", "term")
            ),
        },
        "components": {"schemas": {"Scenario": scenario}},
    }


_SCENARIO = {"$ref": "#/components/schemas/Scenario"}


def _answers() -> dict[str, Any]:
    done = {"description": "The answer; keys end in their unit."}
    content = {"application/json": {"schema": {"type": "object"}}}
    errors = {code: {"description": text, "content": content} for code, text in _ERRORS.items()}
    return {"200": {**done, "content": content}, **errors}


def _post(summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"post": {"summary": summary, "requestBody": body, "responses": _answers()}}


def _get(summary: str, queries: tuple[str, ...]) -> dict[str, Any]:
    parameters = [
        {
            "name": name,
            "in": "query",
            "required": name == "accelerator",
            "schema": {"type": "string"},
        }
        for name in queries
    ]
    return {"get": {"summary": summary, "parameters": parameters, "responses": _answers()}}
