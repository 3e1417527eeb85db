"""Scripts of a service: what starts a replica, and the benchmark that measures it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costsim.launching.writing.service import Replicas
from costsim.launching.writing.text import one_line, quoted

_SECONDS = 300.0  # of a benchmark: long beside a request, short enough to be repeated
_FEWEST, _MOST = 200, 20_000


def script(service: Replicas) -> dict[str, str]:
    """Return the script that starts one replica."""
    lines = [
        "#!/bin/bash",
        f"# {one_line(service.title)}",
        f"# One of {service.needed} replicas, of {service.devices} devices.",
        *(f"# {one_line(remark)}" for remark in service.remarks),
        "set -euo pipefail",
        f"exec {service.served}" if "<(" not in service.served else service.served,
    ]
    return {f"{service.software}.sh": "\n".join(lines) + "\n"}


def benchmark(service: Replicas) -> dict[str, str]:
    """Return the command that measures one replica at its share of the traffic.

    Its result names device, layout and formats, so that `costsim validate` reads it back.
    """
    work = service.workload
    prompts = int(min(max(service.rate_per_s * _SECONDS, _FEWEST), _MOST))
    options: dict[str, Any] = {
        "backend": "vllm" if service.software == "vllm" else "openai",
        "base-url": f"${{BASE_URL:-http://localhost:{service.port}}}",
        "endpoint": "/v1/completions",
        "model": quoted(service.checkpoint),
        **_lengths(work),
        "request-rate": f"{service.rate_per_s:.6g}",
        "burstiness": f"{float(work.get('burstiness', 1.0)):g}",
        "num-prompts": prompts,
        "percentile-metrics": "ttft,tpot,itl,e2el",
        "metric-percentiles": "50,90,95,99",
    }
    facts = " ".join(quoted(f"{name}={value}") for name, value in service.facts.items() if value)
    lines = [
        "#!/bin/bash",
        f"# {one_line(service.title)}: one replica at {service.rate_per_s:.4g} requests a second.",
        "# Then: costsim validate bench.json",
        *_unsaid(work),
        "set -euo pipefail",
        "vllm bench serve \\",
        *(f"    --{name} {value} \\" for name, value in options.items()),
        "    --ignore-eos --save-result --result-filename bench.json \\",
        f"    --metadata {facts}",
    ]
    return {"bench.sh": "\n".join(lines) + "\n"}


def _lengths(work: Mapping[str, Any]) -> dict[str, Any]:
    if "trace" in work:
        return {"dataset-name": "custom", "dataset-path": "${DATASET}"}
    cached = round(float(work.get("cached", 0.0)) * float(work["input_tokens"]))
    found = {
        "dataset-name": "random",
        "random-input-len": int(work["input_tokens"]) - cached,
        "random-output-len": int(work["output_tokens"]),
        "random-range-ratio": f"{float(work.get('spread', 0.0)):g}",
    }
    return found | ({"random-prefix-len": cached} if cached else {})


def _unsaid(work: Mapping[str, Any]) -> list[str]:
    """Return comments on what of a traffic the benchmark's options cannot say."""
    if "trace" in work:
        return [
            f"# The plan's requests are those of {one_line(str(work['trace']))}: DATASET is such a "
            "file in the benchmark's own format (JSON lines with a prompt each)."
        ]
    if work.get("cached"):
        return ["# Every prompt begins with the same tokens: the share that the plan has cached."]
    return []
