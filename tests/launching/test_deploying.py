"""A service → what starts it → `init --from` → the same service; flags that the engines know."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

import costsim
from costsim.cli import main
from costsim.errors import SpecError
from costsim.launching import read_launch_text
from costsim.launching.writing import launch_files
from costsim.planning.launch import launch_table
from costsim.planning.study import read
from costsim.resources import packaged_yaml

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
FLAGS = json.loads((Path(__file__).parents[1] / "data" / "engine_flags.json").read_text())
SERVED = [
    path
    for path in sorted(SCENARIOS.glob("*.yaml"))
    if read(path)[0].value["workload"]["kind"] in ("inference", "job")
]
CHAT: dict[str, Any] = {
    "name": "a small service",
    "model": "qwen3-8b",
    "workload": {
        "kind": "inference",
        "requests_per_s": 8,
        "input_tokens": 1000,
        "output_tokens": 200,
        "cached": "20 %",
    },
    "hardware": {"system": "nvidia-h100-sxm5-80gb", "precision": "bf16"},
}


@pytest.fixture(scope="module")
def shipped() -> dict[str, tuple[Any, dict[str, str]]]:
    """Every shipped service: its plan, and all its files."""
    found: dict[str, tuple[Any, dict[str, str]]] = {}
    for path in SERVED:
        plan = costsim.plan(path)
        found[path.stem] = (plan, launch_files(plan, read(path)[0].value, ["all"]))
    return found


def flags_in(command: str) -> set[str]:
    """The options of a command."""
    return set(re.findall(r"(?<!\S)--[a-z][\w-]+", command))


def command_of(script: str) -> str:
    return next(
        line
        for line in script.splitlines()
        if re.match(r"(exec )?[a-z0-9]+[ -]", line) and not line.startswith("set ")
    )


@pytest.mark.parametrize("name", [path.stem for path in SERVED])
@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm"])
def test_every_flag_of_every_shipped_service_is_known_to_its_engine(
    name: str, engine: str, shipped: dict[str, tuple[Any, dict[str, str]]]
) -> None:
    found = flags_in(command_of(shipped[name][1][f"{engine}.sh"]))
    assert found
    for version, facts in FLAGS[engine].items():
        assert found <= set(facts["flags"]), (version, found - set(facts["flags"]))


def test_every_flag_in_the_table_is_known_to_the_newest_release() -> None:
    """Whatever a plan may print, drafts and context parallelism included."""
    for engine, row in launch_table().items():
        newest = FLAGS[engine][max(FLAGS[engine], key=lambda v: [int(n) for n in v.split(".")])]
        printed = " ".join([row["command"], row["reached"], *(text for _, text in row["flags"])])
        assert set(re.findall(r"(?<!\S)--[a-z][\w-]+", printed)) <= set(newest["flags"]), engine


def test_what_cards_ask_names_parsers_that_there_are() -> None:
    for row in packaged_yaml("hardware_specs", "checkpoints.yaml")["asks"]:
        for engine, newest in (("vllm", "0.33.0"), ("sglang", "0.5.23")):
            words = shlex.split(row.get(engine, ""))
            known = FLAGS[engine][newest]
            assert {w for w in words if w.startswith("--")} <= set(known["flags"])
            for flag, parsers in (
                ("--tool-call-parser", "tool_parsers"),
                ("--reasoning-parser", "reasoning_parsers"),
            ):
                if flag in words:
                    assert words[words.index(flag) + 1] in known[parsers], (row["words"], engine)


@pytest.mark.parametrize("name", [path.stem for path in SERVED])
def test_the_benchmark_has_flags_that_it_knows(
    name: str, shipped: dict[str, tuple[Any, dict[str, str]]]
) -> None:
    command = " ".join(
        line
        for line in shipped[name][1]["bench.sh"].replace("\\\n", " ").splitlines()
        if line.startswith("vllm bench")
    )
    for facts in FLAGS["vllm bench serve"].values():
        assert flags_in(command) <= set(facts["flags"])


@pytest.mark.parametrize("name", [path.stem for path in SERVED])
def test_a_service_comes_back(name: str, shipped: dict[str, tuple[Any, dict[str, str]]]) -> None:
    plan, files = shipped[name]
    own = plan.best.run.launch.software
    for file in {f"{own}.sh", "vllm.sh"}:
        again = costsim.plan(read_launch_text(files[file], Path(file)).scenario)
        assert again.best.run.replica.layout == plan.best.run.replica.layout, file
        assert again.best.run.replica.quantization == plan.best.run.replica.quantization
        assert again.best.devices == plan.best.devices
        assert again.best.value("cost_usd") == plan.best.value("cost_usd")


def test_the_checkpoint_and_what_its_card_asks() -> None:
    files = launch_files(costsim.plan(CHAT), CHAT, ["vllm", "sglang"])
    assert "vllm serve Qwen/Qwen3-8B" in files["vllm.sh"]
    assert "--reasoning-parser qwen3" in files["vllm.sh"]
    assert "--max-model-len 1280" in files["vllm.sh"]
    assert "planned for vllm, not for sglang" in files["sglang.sh"]


def test_an_edited_limit_is_planned() -> None:
    text = launch_files(costsim.plan(CHAT), CHAT)["vllm.sh"]
    edited = text.replace("--max-num-seqs 1024", "--max-num-seqs 4")
    found = read_launch_text(edited, Path("vllm.sh")).scenario
    assert found["workload"]["max_num_seqs"] == 4
    assert costsim.plan(found).best.devices > costsim.plan(CHAT).best.devices


def test_kubernetes_starts_as_many_replicas_as_are_planned(
    shipped: dict[str, tuple[Any, dict[str, str]]],
) -> None:
    """What the API server requires of these two objects (apps/v1 Deployment, v1 Service)."""
    for plan, files in shipped.values():
        deployment, service = yaml.safe_load_all(files["kubernetes.yaml"])
        assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
        spec = deployment["spec"]
        run = plan.best.run
        assert spec["replicas"] == run.replicas + run.spare
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", deployment["metadata"]["name"])
        (container,) = spec["template"]["spec"]["containers"]
        assert {"name", "image", "command", "args", "resources"} <= container.keys()
        (devices,) = container["resources"]["limits"].values()
        assert int(devices) == run.replica.layout.devices
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
        assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
        assert service["spec"]["selector"] == spec["selector"]["matchLabels"]
        assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
        assert "&id" not in files["kubernetes.yaml"]


def test_compose_fills_a_node_and_shares_no_device(
    shipped: dict[str, tuple[Any, dict[str, str]]],
) -> None:
    for plan, files in shipped.values():
        tree = yaml.safe_load(files["compose.yaml"])
        taken: list[str] = []
        ports: list[str] = []
        for service in tree["services"].values():
            assert service["image"]
            assert len(service["command"]) == 1
            (device,) = service["deploy"]["resources"]["reservations"]["devices"]
            assert device["capabilities"] == ["gpu"]
            taken += device["device_ids"]
            ports += [port.partition(":")[0] for port in service["ports"]]
            assert service["volumes"][0].partition(":")[0] in tree["volumes"]
        assert len(taken) == len(set(taken)) <= plan.best.system.devices_per_node
        assert len(ports) == len(set(ports))


def test_values_of_llm_d_and_dynamo(shipped: dict[str, tuple[Any, dict[str, str]]]) -> None:
    for plan, files in shipped.values():
        run = plan.best.run
        values = yaml.safe_load(files["llm-d.yaml"])
        assert values["decode"]["replicas"] == run.replicas + run.spare
        assert values["decode"]["parallelism"]["tensor"] == run.replica.layout.tp
        assert values["prefill"] == {"create": False}
        graph = yaml.safe_load(files["dynamo.yaml"])
        assert graph["kind"] == "DynamoGraphDeployment"
        worker = graph["spec"]["services"]["Worker"]
        assert worker["replicas"] == run.replicas + run.spare
        assert "python3 -m dynamo." in worker["extraPodSpec"]["mainContainer"]["args"][0]


def bench_result(files: dict[str, str]) -> dict[str, Any]:
    """What the command saves, by its own source: options, `--metadata`, and measured figures."""
    options = shlex.split(files["bench.sh"].replace("\\\n", " ").split("pipefail\n")[1])
    facts = dict(word.split("=", 1) for word in options[options.index("--metadata") + 1 :])
    count = int(options[options.index("--num-prompts") + 1])
    return {
        "date": "20261201-120000",
        "backend": "vllm",
        "label": None,
        "model_id": "Qwen/Qwen3-8B",
        "num_prompts": count,
        **facts,
        "request_rate": float(options[options.index("--request-rate") + 1]),
        "burstiness": 1.0,
        "max_concurrency": None,
        "duration": 300.0,
        "completed": count,
        "total_input_tokens": count * 1000,
        "total_output_tokens": count * 200,
        "request_throughput": 4.0,
        "output_throughput": 800.0,
        "total_token_throughput": 4800.0,
        "mean_ttft_ms": 80.0,
        "p99_ttft_ms": 300.0,
        "mean_tpot_ms": 9.0,
        "mean_itl_ms": 9.0,
    }


def test_validate_reads_what_the_benchmark_saves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = bench_result(launch_files(costsim.plan(CHAT), CHAT))
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(result), encoding="utf-8")
    assert main(["validate", str(path), "--format", "json"]) == 0
    rows = {row["quantity"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["ttft_ms"]["measured"] == 80.0
    assert rows["tpot_ms"]["measured"] == 9.0
    assert rows["output_tokens_per_s"]["measured"] == 800.0
    assert all(row["predicted"] > 0 for row in rows.values())
    path.write_text(json.dumps(result) + "\n" + json.dumps({**result, "date": "b"}), "utf-8")
    assert main(["validate", str(path), "--format", "json"]) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "no result of a benchmark"),
        ('{"a": 1}', "no result of a benchmark"),
        ('{"mean_ttft_ms": 1}', "does not say `accelerator_id` and `config`"),
    ],
)
def test_what_is_no_result_is_one_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text, encoding="utf-8")
    assert main(["validate", str(path)]) == 1
    assert said in capsys.readouterr().err


def test_what_cannot_be_started_is_refused() -> None:
    path = SCENARIOS / "resnet50-images.yaml"
    with pytest.raises(SpecError, match="no server"):
        launch_files(costsim.plan(path), read(path)[0].value)
    with pytest.raises(SpecError, match="no engine that launch files"):
        launch_files(costsim.plan(CHAT), CHAT, ["vlm"])
