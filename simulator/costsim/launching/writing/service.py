"""The chosen plan of a service: what its engine is started with, and the scenario that plans it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, cast

from costsim.hardware import load_hardware
from costsim.planning.launch import Launch, launch, launch_table
from costsim.planning.plans import Candidate, Plan
from costsim.planning.workloads.serving.fleet import Fleet, ServiceDetails, busiest_requests_per_s


@dataclass(frozen=True, slots=True)
class Replicas:
    """The replicas of a service as they are started.

    Attributes:
        software: row of `engines/launch.yaml`.
        command: that starts one, without where it listens.
        port: that it listens on.
        image: of a container with the engine.
        needed: replicas at the busiest time, spare ones included.
        devices: of a replica.
        per_node: devices of a node.
        vendor: of the devices.
        remarks: what the files cannot say.
        rate_per_s: requests a second of one replica at the busiest time.
        scenario: that plans the same service again.
    """

    title: str
    software: str
    command: str
    port: int
    image: str
    checkpoint: str
    needed: int
    devices: int
    tensor: int
    data: int
    per_node: int
    vendor: str
    remarks: tuple[str, ...]
    rate_per_s: float
    workload: Mapping[str, Any]
    facts: Mapping[str, str]
    scenario: Mapping[str, Any]

    @property
    def served(self) -> str:
        """The command with where the server listens."""
        reached = launch_table()[self.software]["reached"].format(port=self.port)
        return f"{self.command} {reached}"

    @property
    def label(self) -> str:
        """A name that Kubernetes and Compose take."""
        word = self.checkpoint.rpartition("/")[2].lower()
        return re.sub(r"[^a-z0-9]+", "-", word).strip("-")[:50].strip("-") or "model"


def replicas_of(
    plan: Plan[Any, Any], written: Mapping[str, Any], software: str | None
) -> Replicas | None:
    """Return the best fleet as an engine starts it; None where no engine's flags are known.

    Args:
        plan: of a service.
        written: its scenario as given.
        software: another engine than the scenario's; None for that.
    """
    best = cast("Candidate[Fleet]", plan.best)
    details = cast("ServiceDetails", plan.details)
    started = best.run.launch
    if started is None:
        return None
    remarks = list(started.remarks)
    own = started.software
    if software is not None and software != own:
        remarks = [f"planned for {own}, not for {software}: settings are the plan's, times are not"]
        started = _restarted(best, details, started, software)
    if details.mix is not None:
        fleet = ", ".join(
            f"{count} of {kind.label}"
            for kind, count in zip(details.mix.kinds, details.mix.replicas, strict=True)
        )
        remarks.append(f"the plan mixes replicas: {fleet}; these files start those of one kind")
    layout, system = best.run.replica.layout, best.system
    if layout.devices > system.devices_per_node:
        remarks.append(f"a replica spans nodes of {system.devices_per_node} devices")
    row = launch_table()[started.software]
    version = details.engine.version if started.software == own else ""
    return Replicas(
        title=plan.name,
        software=started.software,
        command=started.command,
        port=row["port"],
        image=row["image"].format(tag=row["tag"].format(version=version) if version else "latest"),
        checkpoint=started.checkpoint,
        needed=best.run.replicas + best.run.spare,
        devices=layout.devices,
        tensor=layout.tp,
        data=layout.attention_dp,
        per_node=system.devices_per_node,
        vendor=system.accelerator.vendor,
        remarks=tuple(remarks),
        rate_per_s=busiest_requests_per_s(plan.scenario["workload"]) / best.run.replicas,
        workload=plan.scenario["workload"],
        facts=_facts(plan, best, details, started),
        scenario=_fixed(plan, best, details, best.run.launch or started, written),
    )


def _restarted(
    best: Candidate[Fleet], details: ServiceDetails, started: Launch, software: str
) -> Launch:
    """Return the same replica as another engine starts it, with the settings of the plan."""
    name = launch_table()[software]["engines"][0]
    engine = replace(details.engine, name=name)
    longest = float(_longest(started))
    formats = best.run.replica.quantization
    other = launch(engine, best.run.replica.layout, formats, started.checkpoint, longest)
    return cast("Launch", other)


def _longest(started: Launch) -> int:
    """Return the longest request that a command allows; 0 where it sets no limit."""
    found = re.search(r"--(?:max-model-len|context-length|max_seq_len) (\d+)", started.command)
    return int(found[1]) if found else 0


def _facts(
    plan: Plan[Any, Any], best: Candidate[Fleet], details: ServiceDetails, started: Launch
) -> dict[str, str]:
    """Return what a result of a benchmark needs for `costsim validate`: columns of a runs file."""
    layout, formats = best.run.replica.layout, best.run.replica.quantization
    engine = details.engine
    named = plan.scenario["model"]
    return {
        "accelerator_id": best.system.accelerator.id,
        "config": named if isinstance(named, str) else started.checkpoint,
        "framework": engine.name,
        "engine_version": engine.version,
        "n_devices": str(layout.devices),
        "tp": str(layout.tp),
        "pp": str(layout.pp),
        "attention_dp": str(layout.attention_dp),
        "ep": str(layout.ep),
        "gemm_quant": formats.dense,
        "moe_quant": formats.experts,
        "kv_dtype": formats.cache,
        "gpu_memory_utilization": f"{engine.memory_ratio:g}",
        "max_num_seqs": str(engine.max_sequences),
        "max_num_batched_tokens": str(engine.max_batched_tokens),
    }


def _fixed(
    plan: Plan[Any, Any],
    best: Candidate[Fleet],
    details: ServiceDetails,
    started: Launch,
    written: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the scenario with every choice as the best has it."""
    scenario = deepcopy(dict(written))
    names = best.option.compression.names
    if names:
        scenario["compression"] = [list(names)]
    else:
        scenario.pop("compression", None)
    engine, replica = details.engine, best.run.replica
    scenario["workload"] |= {
        "gpu_memory_utilization": engine.memory_ratio,
        "max_num_seqs": engine.max_sequences,
        "max_num_batched_tokens": engine.max_batched_tokens,
    }
    longest = _longest(started)
    if longest:
        scenario["workload"]["max_model_len"] = longest
    if replica.quantization.dense in plan.scenario["hardware"].get("precision", ()):
        scenario["hardware"]["precision"] = replica.quantization.dense
    listed = plan.scenario["hardware"]["system"]
    named = next((n for n in listed if load_hardware(n).id == best.system.id), best.system.id)
    scenario["hardware"] |= {"system": named, "replica_devices": replica.layout.devices}
    return scenario
