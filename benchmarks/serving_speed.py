"""How fast services are timed: points of the closed form and simulated requests a second.

    python benchmarks/serving_speed.py [TRACE.csv]

CPU time of one core; the trace is repeated to a million requests.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np

from costsim import load_hardware, load_model
from costsim.inference import Deployment, Layout, Quantization, load_engine, read_trace, simulate
from costsim.inference.steady import Requests, closed_loop
from costsim.inference.traffic import Traffic, random_traffic

POINTS, CHUNK, REQUESTS = 200_000, 8_000, 1_000_000


def main() -> None:
    one = Deployment(
        load_model("llama-3.1-70b"),
        load_hardware("h100"),
        Layout(tp=4, moe_tp=4),
        Quantization("fp8", "fp8", "fp8"),
        load_engine("vllm"),
    )
    started = time.process_time()
    tables = one.tables
    print(f"tables of one layout: {time.process_time() - started:.3f} s")
    random = np.random.default_rng(0)
    users = random.uniform(1, 256, POINTS)
    inputs, outputs = random.uniform(64, 8192, (2, POINTS))
    started = time.process_time()
    for start in range(0, POINTS, CHUNK):
        part = slice(start, start + CHUNK)
        rows = np.zeros(len(users[part]), dtype=np.intp)
        closed_loop(tables, one.engine, rows, users[part], Requests(inputs[part], outputs[part]))
    spent = time.process_time() - started
    print(f"closed form: {POINTS / spent:,.0f} points a second")

    traffic = _traffic()
    started = time.process_time()
    found = simulate(one, 1, traffic)
    spent = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"simulation: {len(traffic) / spent:,.0f} requests a second "
        f"({len(traffic):,} requests, TTFT {found.ttft.mean_s:.3f} s, {peak:.2f} GB)"
    )


def _traffic() -> Traffic:
    if len(sys.argv) < 2:
        return random_traffic(5.5, REQUESTS, 1150, 211, spread=0.9)
    trace = read_trace(Path(sys.argv[1]))
    copies = -(-REQUESTS // len(trace))
    span = float(trace.arrival_s[-1]) + 1.0 / trace.rate_per_s
    return Traffic(
        np.concatenate([trace.arrival_s + copy * span for copy in range(copies)]),
        np.tile(trace.input_tokens, copies),
        np.tile(trace.output_tokens, copies),
        np.tile(trace.cached_tokens, copies),
    )


if __name__ == "__main__":
    main()
