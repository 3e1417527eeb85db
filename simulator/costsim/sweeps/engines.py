"""Engines on one machine: each takes runs of points and yields their rows in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from costsim.errors import CostsimError
from costsim.sweeps.evaluate import evaluate

Span = tuple[int, int]  # the first point, and how many
Rows = Iterator[tuple[Span, bytes]]

AHEAD = 3  # runs of points under way or waiting, for each worker
_TRIES = 3  # times that the same run of points may take its worker down


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def spans(start: int, stop: int, workers: int) -> Iterator[Span]:
    """Yield runs of points: long enough to be worth sending, short enough to lose."""
    size = max(1, min(32, (stop - start) // (4 * workers)))
    while start < stop:
        count = min(size, stop - start)
        yield start, count
        start += count


def in_process(payload: str, runs: Iterator[Span]) -> Rows:
    """Plan every point here, one after the other."""
    for run in runs:
        yield run, evaluate(payload, *run)


def in_processes(payload: str, runs: Iterator[Span], jobs: int) -> Rows:
    """Plan in `jobs` processes; one that dies is replaced and its points are planned again.

    Raises:
        CostsimError: if the same points take a worker down again and again.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers that each take all cores are slower
    before = set(multiprocessing.active_children())
    pool, tries = _pool(jobs), 0
    waiting: deque[tuple[Span, Future[bytes]]] = deque()
    try:
        while True:
            try:
                while len(waiting) < AHEAD * jobs and (run := next(runs, None)):
                    waiting.append((run, Future()))
                    waiting[-1] = (run, pool.submit(evaluate, payload, *run))
                if not waiting:
                    return
                run, future = waiting[0]
                rows = future.result()
            except BrokenProcessPool:
                tries += 1
                if tries >= _TRIES:
                    raise CostsimError(
                        f"a worker died {_TRIES} times near point {waiting[0][0][0]:,}",
                        hint="most often memory ran out: use fewer with `--jobs`; results so far "
                        "are kept",
                    ) from None
                pool.shutdown(wait=False, cancel_futures=True)
                pool = _pool(jobs)
                again = [run for run, _ in waiting]
                waiting = deque((run, pool.submit(evaluate, payload, *run)) for run in again)
                continue
            tries = 0
            waiting.popleft()
            yield run, rows
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Started afresh, not forked: a fork of a process with threads may hang.
    context: Any = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin)


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end when the parent does, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
