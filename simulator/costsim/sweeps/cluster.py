"""The same study on Dask: a scheduler that is running, or one of its own on this machine."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from costsim.errors import CostsimError
from costsim.sweeps.engines import AHEAD, Rows, Span
from costsim.sweeps.evaluate import evaluate

_RETRIES = 3  # times that Dask runs points again whose worker it lost


def on_dask(payload: str, runs: Iterator[Span], jobs: int, scheduler: str | None) -> Rows:
    """Plan on the workers of a Dask scheduler; without an address, on `jobs` local processes.

    Every task carries the study, so that nothing is lost with a worker but what it is planning.

    Raises:
        CostsimError: if Dask is not installed, the scheduler does not answer, or it gives up.
    """
    try:
        import distributed
    except ImportError:
        raise CostsimError(
            "`--engine dask` needs Dask", hint="pip install 'costsim[dask]'"
        ) from None
    with ExitStack() as stack:
        target: Any = scheduler
        if scheduler is None:
            local: Any = distributed.LocalCluster
            target = stack.enter_context(
                local(
                    n_workers=jobs,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client: Any = stack.enter_context(distributed.Client(target, timeout=30))
        except (OSError, ValueError) as error:
            raise CostsimError(
                f"no Dask scheduler answers at {scheduler}: {error}",
                hint="`dask scheduler` prints its address, such as tcp://host:8786",
            ) from None
        waiting: deque[tuple[Span, Any]] = deque()
        while True:
            most = AHEAD * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
            while len(waiting) < most and (run := next(runs, None)):
                task = client.submit(evaluate, payload, *run, pure=False, retries=_RETRIES)
                waiting.append((run, task))
            if not waiting:
                return
            run, task = waiting.popleft()
            try:
                rows = task.result()
            except distributed.KilledWorker as error:
                raise CostsimError(
                    f"Dask gave up on points {run[0]:,} to {run[0] + run[1] - 1:,}: {error}",
                    hint="results so far are kept; the same command goes on",
                ) from None
            yield run, rows
