"""The application: one page, a JSON API, and the limits that keep both harmless."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from costsim.reporting.styles import script
from costsim.web.worker import BusyError, Refused, TimeLimitError, Worker

LARGEST_BODY_BYTES = 256 * 1024
TIME_LIMIT_S = 30.0

# The report lies in a sandboxed frame that inherits this policy: the hash is its what-if's.
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'self' '{script('what_if.js')[1]}'; style-src 'self' "
        "'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# Question -> the keys of its body and the type of each.
_BODIES: dict[str, dict[str, tuple[type, ...]]] = {
    "plan": {"scenario": (dict,), "report": (bool,)},
    "explain": {"scenario": (dict,), "quantity": (str,)},
    "validate": {"scenario": (dict,)},
    "estimate": {
        "model": (str, dict),
        "hardware": (str,),
        "phase": (str,),
        "batch": (int,),
        "sequence": (int,),
        "precision": (str,),
        "optimizer": (str,),
        "devices": (int,),
    },
}
_REQUIRED = {"estimate": ("model", "hardware")}
_QUERIES: dict[str, tuple[str, ...]] = {
    "models": (),
    "hardware": ("name",),
    "prices": ("accelerator", "provider", "region", "term"),
}
_ASSETS = {"page.js": "text/javascript", "page.css": "text/css"}


class _Rejected(Exception):
    def __init__(self, status: int, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.response = _problems(status, [{"message": message, "location": None, "hint": hint}])


def make_app(
    *,
    hosts: tuple[str, ...] = (),
    largest_body_bytes: int = LARGEST_BODY_BYTES,
    time_limit_s: float = TIME_LIMIT_S,
) -> Starlette:
    """Return the application.

    Args:
        hosts: names beside loopback by which it may be asked; `*` is any.
        largest_body_bytes: of a request.
        time_limit_s: that one answer may take.
    """
    worker = Worker(time_limit_s)

    async def respond(answer: Callable[[Request], Awaitable[Response]], request: Request):
        try:
            _check_host(request, hosts)
            response = await answer(request)
        except _Rejected as rejected:
            response = rejected.response
        except Refused as refused:
            response = _problems(422 if refused.code == 3 else 400, refused.problems)
        except TimeLimitError:
            late = f"no answer within {time_limit_s:g} s: ask for fewer options or devices"
            response = _Rejected(503, late).response
        except BusyError:
            response = _Rejected(503, "others wait already: ask again in a moment").response
        except RuntimeError:  # a fault of costsim; what it was may name files of this machine
            response = _Rejected(500, "an unexpected error of costsim").response
        response.headers.update(_HEADERS)
        return response

    async def post(question: str, request: Request) -> Response:
        _check_origin(request)
        arguments = _checked(question, await _body(request, largest_body_bytes))
        return JSONResponse(await run_in_threadpool(worker.ask, question, arguments))

    async def get(question: str, request: Request) -> Response:
        known = _QUERIES[question]
        unknown = [name for name in request.query_params if name not in known]
        if unknown:
            raise _Rejected(400, f"no parameter `{unknown[0]}`", f"known: {', '.join(known)}")
        if question == "prices" and "accelerator" not in request.query_params:
            raise _Rejected(400, "missing parameter `accelerator`")
        arguments: dict[str, Any] = dict(request.query_params)
        return JSONResponse(await run_in_threadpool(worker.ask, question, arguments))

    def route(path: str, answer: Callable[[Request], Awaitable[Response]], method: str) -> Route:
        async def endpoint(request: Request) -> Response:
            return await respond(answer, request)

        return Route(path, endpoint, methods=[method])

    routes = [
        route("/", _page, "GET"),
        route("/openapi.json", _openapi, "GET"),
        *(route(f"/{name}", partial(_asset, name), "GET") for name in _ASSETS),
        *(route(f"/api/{name}", partial(post, name), "POST") for name in _BODIES),
        *(route(f"/api/{name}", partial(get, name), "GET") for name in _QUERIES),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        worker.close()

    return Starlette(routes=routes, lifespan=lifespan)


def _problems(status: int, problems: list[dict[str, Any]]) -> JSONResponse:
    return JSONResponse({"problems": problems}, status_code=status)


def _check_host(request: Request, hosts: tuple[str, ...]) -> None:
    """Refuse names that this server does not go by: a page elsewhere may rebind its own name."""
    named = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if "*" not in hosts and named not in _LOOPBACK and named not in hosts:
        raise _Rejected(403, f"this server is not called `{named[:80]}`", "see --host")


def _check_origin(request: Request) -> None:
    """Refuse a POST of another origin, and any that a form could send without asking."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise _Rejected(403, "the request comes from a page of another origin")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise _Rejected(403, "the request comes from a page of another origin")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _Rejected(415, "the body must be JSON", "Content-Type: application/json")


async def _body(request: Request, largest_bytes: int) -> dict[str, Any]:
    """Return the JSON object of a request, never holding more than it may have."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > largest_bytes:
            raise _Rejected(413, f"the body is larger than {largest_bytes:,} bytes")
    try:
        value: Any = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _Rejected(400, "the body is not valid JSON") from None
    if not isinstance(value, dict):
        raise _Rejected(400, "the body must be a JSON object")
    return cast("dict[str, Any]", value)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _checked(question: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a question, each of its type."""
    known = _BODIES[question]
    problems = [
        {"message": f"no key `{key}`", "location": None, "hint": f"known: {', '.join(known)}"}
        for key in body.keys() - known.keys()
    ]
    for key in _REQUIRED.get(question, ("scenario",)):
        if key not in body:
            problems.append({"message": f"missing `{key}`", "location": None, "hint": None})
    for key, types in known.items():
        value = body.get(key)
        wrong = key in body and (
            not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
        )
        if wrong:
            names = " or ".join(one.__name__ for one in types)
            problems.append({"message": f"`{key}` must be {names}", "location": None, "hint": None})
    if problems:
        rejected = _Rejected(400, "")
        rejected.response = _problems(400, problems)
        raise rejected
    return body


async def _page(request: Request) -> Response:
    return HTMLResponse(_read("page.html"))


async def _asset(name: str, request: Request) -> Response:
    return Response(_read(name), media_type=_ASSETS[name])


async def _openapi(request: Request) -> Response:
    from costsim.web.openapi import document

    return JSONResponse(document())


@lru_cache(maxsize=8)
def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text("utf-8")
