"""The web application: the same answers as the command, and limits that hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")
from starlette.testclient import TestClient

from costsim.answers.guard import check_self_contained
from costsim.errors import SpecError
from costsim.planning import plan
from costsim.reporting.styles import script
from costsim.web.app import make_app
from costsim.web.worker import TimeLimitError, Worker

TRAINING: dict[str, Any] = {
    "name": "a small model",
    "model": "llama-3-8b",
    "workload": {
        "kind": "training",
        "tokens": "1 B tokens",
        "sequence": 4096,
        "global_batch": 64,
    },
    "hardware": {"system": "nvidia-h100-sxm5-80gb", "devices": 8},
}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = make_app(largest_body_bytes=20_000, time_limit_s=120)
    with TestClient(app, base_url="http://127.0.0.1:8321") as made:
        yield made


def test_plan_is_that_of_python(client: TestClient) -> None:
    reply = client.post("/api/plan", json={"scenario": TRAINING, "report": True})
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    assert answer["plan"] == json.loads(plan(TRAINING).to_json())
    assert answer["over_limits"] == []
    assert answer["report"].lstrip().lower().startswith("<!doctype html")


def test_limits_are_said(client: TestClient) -> None:
    scenario = {**TRAINING, "limits": {"cost": "1 $"}}
    answer = client.post("/api/plan", json={"scenario": scenario}).json()
    assert len(answer["over_limits"]) == 1
    assert "over $1" in answer["over_limits"][0]


def test_problems_come_all_at_once_with_hints(client: TestClient) -> None:
    scenario = {**TRAINING, "model": "lama-3-8b", "hardware": {"system": "h10000", "devices": 8}}
    reply = client.post("/api/plan", json={"scenario": scenario})
    assert reply.status_code == 400
    messages = " ".join(one["message"] for one in reply.json()["problems"])
    assert "lama-3-8b" in messages
    assert "h10000" in messages
    assert all(one["hint"] for one in reply.json()["problems"])


def test_what_does_not_fit_is_422(client: TestClient) -> None:
    scenario = {**TRAINING, "model": "llama-3-70b"}
    scenario["hardware"] = {"system": "nvidia-h100-sxm5-80gb", "devices": 1}
    scenario["workload"] = {**TRAINING["workload"], "global_batch": 1}
    reply = client.post("/api/plan", json={"scenario": scenario})
    assert reply.status_code == 422, reply.text


def test_catalogues_and_estimate(client: TestClient) -> None:
    assert "llama-3-8b" in client.get("/api/models").json()["models"]
    devices = client.get("/api/hardware").json()["accelerators"]
    h100 = next(one for one in devices if one["id"] == "nvidia-h100-sxm5-80gb")
    assert h100["memory_bytes"] == 80 * 2**30 or h100["memory_bytes"] == 80e9
    price = client.get("/api/prices", params={"accelerator": "h100"}).json()
    assert price["low_usd_per_device_hour"] <= price["usd_per_device_hour"]
    assert client.get("/api/prices").status_code == 400
    assert client.get("/api/hardware", params={"nam": "h100"}).status_code == 400
    asked = {"model": "llama-3-8b", "hardware": "h100", "phase": "prefill", "sequence": 1024}
    found = client.post("/api/estimate", json=asked).json()
    # Two FLOPs a parameter and token, and attention above: what Kaplan et al. 2020 count.
    assert 1.7 * 8e9 * 1024 < found["flops"] < 2.5 * 8e9 * 1024
    assert client.post("/api/estimate", json={**asked, "batch": True}).status_code == 400
    assert client.post("/api/estimate", json={**asked, "batch": 0}).status_code == 400


@pytest.mark.parametrize(
    "change",
    [
        {"model": "/etc/passwd"},
        {"model": "../secret/config.json"},
        {"model": "folder/config"},
        {"model": "config.json"},
        {"model": {"extends": "own.yaml"}},
        {"model": {"extends": "/srv/own"}},
        {"calibration": "overlay"},
        {"compression": ["none", "/srv/recipe.yaml"]},
        {"compression": ["distill:student=/srv/model"]},
        {"compression": [["int8", {"recipe": "~/own"}]]},
        {"workload": {**TRAINING["workload"], "trace": "requests.csv"}},
        {"hardware": {"system": "C:\\systems\\own", "devices": 8}},
    ],
)
def test_files_of_the_server_are_refused(client: TestClient, change: dict[str, Any]) -> None:
    reply = client.post("/api/plan", json={"scenario": {**TRAINING, **change}})
    assert reply.status_code == 400
    (problem,) = reply.json()["problems"]
    assert "may name a file" in problem["message"]


def test_a_bare_name_of_a_file_beside_the_server_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text('{"model_type": "llama"}')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="may name a file"):
        check_self_contained({"model": "own"})


def test_units_and_titles_are_no_files() -> None:
    check_self_contained(
        {
            "name": "8B / 70B: which? /etc is fine here",
            "price": "2.5 $/h",
            "site": {"grid": "25 g/kWh", "pue": 1.2},
            "compression": ["none", "2:4+int8", "awq-int4"],
        }
    )


def test_deep_and_large_mappings_are_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(SpecError, match="levels"):
        check_self_contained(deep)
    with pytest.raises(SpecError, match="values"):
        check_self_contained({"a": ["b"] * 30_000})


def test_bodies_have_limits(client: TestClient) -> None:
    large = {"scenario": {**TRAINING, "name": "x" * 20_000}}
    assert client.post("/api/plan", json=large).status_code == 413
    head = {"content-type": "application/json"}
    assert client.post("/api/plan", content="{", headers=head).status_code == 400
    assert client.post("/api/plan", content="[" * 10_000, headers=head).status_code == 400
    assert client.post("/api/plan", content="[]", headers=head).status_code == 400
    assert client.post("/api/plan", content='{"scenario": NaN}', headers=head).status_code == 400
    assert client.post("/api/plan", json={"scenari": {}}).status_code == 400


def test_other_origins_and_hosts_are_refused(client: TestClient) -> None:
    def status(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.post("/api/validate", json={"scenario": TRAINING}, headers=named).status_code

    assert status(origin="http://127.0.0.1:8321") == 200
    assert status(origin="http://127.0.0.1:9999") == 403
    assert status(origin="http://evil.example") == 403
    assert status(origin="null") == 403
    assert status(sec_fetch_site="cross-site") == 403
    assert status(host="evil.example") == 403
    plain = client.post(
        "/api/validate",
        content=json.dumps({"scenario": TRAINING}),
        headers={"content-type": "text/plain"},
    )
    assert plain.status_code == 415
    assert client.get("/", headers={"host": "rebound.example"}).status_code == 403


def test_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/page.js", "/page.css"):
        reply = client.get(path)
        assert reply.status_code == 200
        assert "http://" not in reply.text
        assert "https://" not in reply.text
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        what_if = script("what_if.js")[1]  # of the report, whose frame inherits the policy
        assert f"script-src 'self' '{what_if}';" in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
    assert client.get("/../pyproject.toml").status_code == 404


def test_openapi_names_every_route_and_its_schemas_hold(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    served = {one.path for one in client.app.routes if one.path.startswith("/api/")}  # type: ignore[attr-defined]
    assert set(document["paths"]) == served
    jsonschema = pytest.importorskip("jsonschema")
    schema = document["components"]["schemas"]["Scenario"]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(TRAINING, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**TRAINING, "modell": "x"}, schema)


def test_what_takes_too_long_is_ended() -> None:
    worker = Worker(limit_s=0.01)
    with pytest.raises(TimeLimitError):
        worker.ask(
            "plan", {"scenario": {**TRAINING, "hardware": {"system": "h100", "devices": 4096}}}
        )
    assert worker._process is None  # type: ignore[reportPrivateUsage]
    worker.limit_s = 60
    assert worker.ask("models", {})["models"]  # the next question has a process of its own
    worker.close()


def test_explain_has_formula_and_source(client: TestClient) -> None:
    body = {"scenario": TRAINING, "quantity": "cost_usd"}
    (entry,) = client.post("/api/explain", json=body).json()["quantities"]
    assert entry["value"] > 0
    assert entry["sources"]
    body["quantity"] = "costs"
    assert client.post("/api/explain", json=body).status_code == 400
