"""How fast a plan space is evaluated: strategies a second, start-up, and what a plan costs in CPU.

Prints one Markdown table with the machine that it ran on. Run it on a quiet machine:
`.venv/bin/python benchmarks/plan_space.py`.
"""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import costsim
from costsim.planning.planner import plan
from costsim.training import Strategy, estimate_training
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.precision import precision
from costsim.training.software import software
from costsim.training.space import legal_strategies, limits_of

SCENARIO = Path(__file__).resolve().parent.parent / "scenarios" / "gpt3.yaml"


def cpu_s(*command: str) -> float:
    """CPU seconds, user and system, of a child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def best_of(repetitions: int, action) -> float:
    """Least CPU seconds of several runs in this process."""
    times: list[float] = []
    for _ in range(repetitions):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    model = costsim.load_model("gpt3-175b")
    system = costsim.load_hardware("nvidia-a100-sxm4-80gb", count=1024)
    job = Job(model, system, 1536, 2048, precision("fp16"), "adam", software("megatron-2022"))
    strategies = legal_strategies(limits_of(model, 2048, 1536), [1024])
    space_s = best_of(3, lambda: evaluate(job, strategies))
    strategy = Strategy(tp=8, pp=8, vp=3, dp=16, recompute="full")

    def alone() -> None:
        estimate_training(model, system, strategy, global_batch=1536, sequence=2048)

    one_s = best_of(20, alone)
    python = sys.executable
    binary = str(Path(python).with_name("costsim"))
    bare_s = min(cpu_s(python, "-c", "pass") for _ in range(5))
    help_s = min(cpu_s(binary, "--help") for _ in range(5))
    rows = [
        ("strategies of GPT-3 on 1,024 A100", f"{len(strategies):,}"),
        ("evaluated", f"{len(strategies) / space_s:,.0f} a second and core"),
        ("one estimate, warm", f"{one_s * 1e3:.1f} ms"),
        ("space over one at a time", f"{one_s * len(strategies) / space_s:,.0f} times as fast"),
        ("plan in this process, warm", f"{best_of(2, lambda: plan(SCENARIO)):.2f} s of CPU"),
        (
            "`costsim plan`",
            f"{min(cpu_s(binary, 'plan', str(SCENARIO)) for _ in range(3)):.2f} s of CPU",
        ),
        (
            "`costsim --help`",
            f"{(help_s - bare_s) * 1e3:.0f} ms of CPU above Python",
        ),
        (
            "peak memory of this process",
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB",
        ),
    ]
    machine = platform.processor() or platform.machine()
    print(f"{machine}, Python {platform.python_version()}, numpy {np.__version__}\n")
    print("| what | measured |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
