"""A process of its own that answers, so that what takes too long can be ended."""

from __future__ import annotations

import multiprocessing
import threading
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from costsim.errors import CostsimError

# What may be asked -> the function of `costsim.answers` that answers.
QUESTIONS = {
    "plan": "plan_scenario",
    "estimate": "estimate",
    "explain": "explain_scenario",
    "validate": "check_scenario",
    "models": "models",
    "hardware": "hardware",
    "prices": "prices",
}


class TimeLimitError(Exception):
    """An answer took longer than it may."""


class BusyError(Exception):
    """Others wait already."""


class Refused(Exception):
    """The question must change, or nothing fits; carries exit code and problems as values."""

    def __init__(self, code: int, problems: list[dict[str, Any]]) -> None:
        super().__init__(problems[0]["message"] if problems else "")
        self.code = code
        self.problems = problems


class Worker:
    """One process that answers one question after another; ended and replaced when it is late.

    Args:
        limit_s: that one answer may take, in seconds.
        most_waiting: questions that may wait for their turn.
    """

    def __init__(self, limit_s: float, most_waiting: int = 8) -> None:
        self.limit_s = limit_s
        self._turn = threading.Lock()
        self._room = threading.Semaphore(most_waiting)
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def ask(self, question: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a question of `QUESTIONS`.

        Raises:
            Refused: where the question must change or nothing fits.
            TimeLimitError: where it took longer than it may.
            BusyError: where too many wait.
        """
        if not self._room.acquire(blocking=False):
            raise BusyError
        try:
            with self._turn:
                return self._asked(question, arguments)
        finally:
            self._room.release()

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._end()

    def _asked(self, question: str, arguments: dict[str, Any]) -> dict[str, Any]:
        connection = self._started()
        try:
            connection.send((question, arguments))
            if not connection.poll(self.limit_s):
                self._end()
                raise TimeLimitError
            kind, value, code = connection.recv()
        except (EOFError, BrokenPipeError, ConnectionError):
            self._end()
            raise RuntimeError("the process that answers ended") from None
        if kind == "refused":
            raise Refused(code, value)
        if kind == "failed":
            raise RuntimeError(value)
        return value

    def _started(self) -> Connection:
        if self._connection is not None and self._process is not None and self._process.is_alive():
            return self._connection
        self._end()
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_answer_all, args=(there,), daemon=True)
        process.start()
        self._process = process
        there.close()
        self._connection = here
        if not here.poll(60):  # importing what plans need does not count against the first answer
            self._end()
            raise RuntimeError("the process that answers did not start")
        here.recv()
        return here

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None and self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process = self._connection = None


def _answer_all(connection: Connection) -> None:
    """Answer questions until the other end closes."""
    import costsim.answers as answers

    import_module("costsim.planning")  # before the clock of the first answer starts

    connection.send("ready")
    while True:
        try:
            question, arguments = connection.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            reply = ("done", getattr(answers, QUESTIONS[question])(**arguments), 0)
        except CostsimError as error:
            reply = ("refused", problems_of(error), error.exit_code)
        except Exception as error:
            reply = ("failed", f"{type(error).__name__}: {error}", 2)
        connection.send(reply)


def problems_of(error: CostsimError) -> list[dict[str, Any]]:
    """Return the problems of an error as plain values."""
    return [
        {
            "message": problem.message,
            "location": str(problem.location) if problem.location else None,
            "hint": problem.hint,
        }
        for problem in error.problems
    ]
