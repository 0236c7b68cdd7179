"""What happens around every request: an id, access, the limit of its body, headers, metrics and a line in the log."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seem.server.access import API_PATHS, SECURITY_HEADERS, check_access, is_under
from seem.server.problems import CLIENT_CLOSED_REQUEST, Problem, problem_of_work, problem_response
from seem.server.settings import Limits, ServerSettings
from seem.server.telemetry import LOGGER, Telemetry
from seem.server.workers import ClientGoneError, WorkCancelledError, shutting_down

METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS")
CLOSE = {"Connection": "close"}  # what is left of a refused body is not read


class LimitedBody:
    """Receives the body of a request: no more bytes than `max_bytes`, and not later than `seconds` from now."""

    def __init__(self, receive: Receive, max_bytes: int, seconds: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._latest = time.monotonic() + seconds
        self._num_bytes = 0
        self._is_complete = False

    async def __call__(self) -> Message:
        """Receive the next part; `Problem` for one that is too much or too late."""
        if self._is_complete:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._latest - time.monotonic())
        except asyncio.TimeoutError:
            raise Problem(
                "body-too-slow",
                f"The body did not arrive within {self._seconds:g} s.",
                headers=CLOSE,
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        if message["type"] == "http.request":
            self._num_bytes += len(message.get("body", b""))
            if self._num_bytes > self._max_bytes:
                raise too_large(self._max_bytes)
            self._is_complete = not message.get("more_body", False)
        return message


def too_large(max_bytes: int) -> Problem:
    """Return the problem of a body beyond its limit."""
    return Problem(
        "too-large", f"The body is larger than the limit of {max_bytes:,} bytes.", headers=CLOSE
    )


class Gateway:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, telemetry: Telemetry) -> None:
        self._app = app
        self._settings = settings
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = Answer(send, is_stored=not is_under(scope["path"], API_PATHS))
        scope.setdefault("state", {})["request_id"] = answer.request_id
        started = time.perf_counter()
        with self._telemetry.active.track_inprogress():
            try:
                await self._app(scope, self._checked(scope, receive), answer.send)
            except ClientGoneError:
                answer.status = CLIENT_CLOSED_REQUEST
            except asyncio.CancelledError:  # the server stops, and has waited long enough
                await self._answer_error(shutting_down(), answer, scope, receive)
            except Exception as error:
                await self._answer_error(error, answer, scope, receive)
            finally:
                self._record(scope, answer, time.perf_counter() - started)

    def _checked(self, scope: Scope, receive: Receive) -> Receive:
        """Check who asks, and bound the body."""
        headers = Headers(scope=scope)
        check_access(scope["method"], scope["path"], headers, self._settings)
        limits = self._settings.limits
        max_bytes = body_limit(scope["method"], scope["path"], limits)
        claimed = headers.get("content-length", "")
        if claimed.isdecimal() and int(claimed) > max_bytes:
            raise too_large(max_bytes)
        return LimitedBody(receive, max_bytes, limits.body_seconds)

    async def _answer_error(
        self, error: Exception, answer: Answer, scope: Scope, receive: Receive
    ) -> None:
        problem = problem_of_work(error)
        if problem is None and not isinstance(error, WorkCancelledError):
            LOGGER.error("failed", exc_info=error, extra={"request_id": answer.request_id})
        if answer.status is not None:
            return
        if problem is None:
            problem = Problem(
                "internal", "The server has failed; its log tells more under this id."
            )
        await problem_response(problem, answer.request_id)(scope, receive, answer.send)

    def _record(self, scope: Scope, answer: Answer, seconds: float) -> None:
        method, route = known_method(scope["method"]), route_of(scope)
        status = answer.status or CLIENT_CLOSED_REQUEST
        if status == CLIENT_CLOSED_REQUEST:
            self._telemetry.cancelled.inc()
        self._telemetry.finished(method, route, status, seconds)
        fields = {
            "request_id": answer.request_id,
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(seconds, 4),
            "bytes": answer.num_bytes,
        }
        LOGGER.info("request", extra=fields)


class Answer:
    """The answer to one request as it is sent: its id, its status and its size.

    `is_stored`: browsers may store it, and ask whether it has changed.
    """

    def __init__(self, send: Send, is_stored: bool) -> None:
        self._send = send
        self._caching = "no-cache" if is_stored else "no-store"
        self.request_id = secrets.token_hex(8)
        self.status: int | None = None
        self.num_bytes = 0

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a message, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", self._caching)
        elif message["type"] == "http.response.body":
            self.num_bytes += len(message.get("body", b""))
        await self._send(message)


def body_limit(method: str, path: str, limits: Limits) -> int:
    """Return how many bytes the body of a request may have."""
    if method == "POST" and path == "/v1/images":
        return limits.image_bytes
    if method == "POST" and path == "/v1/videos":
        return limits.video_bytes
    if method == "POST" and path == "/v1/project/import":
        return limits.import_bytes
    return limits.json_bytes


def known_method(method: str) -> str:
    """Return a method, or "OTHER" for one that clients made up: each would be a metric of its own."""
    return method if method in METHODS else "OTHER"


def route_of(scope: Scope) -> str:
    """Return the pattern of the address that was asked, which holds no id of an image."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return "unmatched"
    return f"{scope.get('root_path', '')}{path}"
