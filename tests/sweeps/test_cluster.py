from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import pytest

import costsim
from costsim.cli import main

distributed = pytest.importorskip("distributed", reason="Dask is not installed (costsim[dask])")


def test_a_cluster_gives_the_bytes_of_one_process(study: Path, tmp_path: Path) -> None:
    """Two worker processes, one of which is killed in mid-run."""
    one, many = tmp_path / "one.csv", tmp_path / "many.csv"
    costsim.sweep(study, one)
    killed: list[int] = []
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    ) as cluster:
        pids = [worker.pid for worker in cluster.workers.values()]

        def kill() -> None:
            journal, until = tmp_path / "many.csv.journal", time.monotonic() + 120
            while time.monotonic() < until:
                if journal.exists() and journal.stat().st_size > 300:
                    os.kill(pids[0], signal.SIGKILL)
                    killed.append(pids[0])
                    return
                time.sleep(0.005)

        thread = threading.Thread(target=kill)
        thread.start()
        costsim.sweep(study, many, jobs=2, engine="dask", scheduler=cluster.scheduler_address)
        thread.join()
    assert killed
    assert one.read_bytes() == many.read_bytes()


def test_no_scheduler_answers(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", str(study), "--engine", "dask", "--scheduler", "nothing"]
    assert main(arguments) == 1
    assert "no Dask scheduler answers at nothing" in capsys.readouterr().err
    assert main(["sweep", str(study), "--scheduler", "tcp://x:1"]) == 2
