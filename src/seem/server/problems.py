"""Errors over HTTP: `application/problem+json` (RFC 9457), one table of all kinds."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from seem.errors import FULL_DISK, SeemError

PROBLEM_JSON = "application/problem+json"
TYPE_PREFIX = "urn:seem:problem:"
CLIENT_CLOSED_REQUEST = 499  # in the log and in metrics, as nginx has it
MAX_LISTED_FAULTS = 20  # of a request that breaks the schema in many fields
MAX_DETAIL_CHARACTERS = 1000

STATUS_OF_PROBLEM: dict[str, HTTPStatus] = {
    "malformed-json": HTTPStatus.BAD_REQUEST,
    "bad-request": HTTPStatus.BAD_REQUEST,
    "unauthorized": HTTPStatus.UNAUTHORIZED,
    "cross-origin": HTTPStatus.FORBIDDEN,
    "not-found": HTTPStatus.NOT_FOUND,
    "method-not-allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "body-too-slow": HTTPStatus.REQUEST_TIMEOUT,
    "session-busy": HTTPStatus.CONFLICT,
    "round-conflict": HTTPStatus.CONFLICT,
    "nothing-to-undo": HTTPStatus.CONFLICT,
    "too-many-rounds": HTTPStatus.CONFLICT,
    "not-finished": HTTPStatus.CONFLICT,
    "edit-conflict": HTTPStatus.CONFLICT,
    "gone": HTTPStatus.GONE,
    "too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too-many-pixels": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unsupported-media-type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "host-not-allowed": HTTPStatus.MISDIRECTED_REQUEST,
    "invalid-request": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unreadable": HTTPStatus.UNPROCESSABLE_ENTITY,
    "queue-full": HTTPStatus.TOO_MANY_REQUESTS,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "out-of-memory": HTTPStatus.SERVICE_UNAVAILABLE,
    "database": HTTPStatus.SERVICE_UNAVAILABLE,
    "shutting-down": HTTPStatus.SERVICE_UNAVAILABLE,
    "deadline": HTTPStatus.GATEWAY_TIMEOUT,
    "disk-full": HTTPStatus.INSUFFICIENT_STORAGE,
}
"""Every kind of problem and its status."""

TITLES: dict[str, str] = {
    "malformed-json": "The body is not JSON",
    "bad-request": "The request cannot be understood",
    "unauthorized": "A token is needed",
    "cross-origin": "Requests from other sites are refused",
    "not-found": "There is no such thing here",
    "method-not-allowed": "This address does not take that method",
    "body-too-slow": "The body did not arrive in time",
    "session-busy": "The session is answering another request",
    "round-conflict": "The session has other rounds than the request says",
    "nothing-to-undo": "There is nothing to undo",
    "too-many-rounds": "The session is full",
    "not-finished": "The job has not finished",
    "edit-conflict": "Somebody else has changed it",
    "gone": "It was here and is no longer",
    "too-large": "The body is too large",
    "too-many-pixels": "The image has too many pixels",
    "unsupported-media-type": "The body has a type that is not read here",
    "host-not-allowed": "The server is not called that",
    "invalid-request": "The request cannot be answered",
    "unreadable": "The file cannot be read",
    "queue-full": "The server is busy",
    "internal": "The server has failed",
    "out-of-memory": "There is not enough memory",
    "database": "The project's database does not answer",
    "shutting-down": "The server is shutting down",
    "deadline": "The answer took too long",
    "disk-full": "The server's disk is full",
}

PROBLEM_OF_STATUS: dict[int, str] = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
}
"""What the errors of the web framework are called."""


class Fault(BaseModel):
    """One field of a request that breaks the schema."""

    field: str = Field(description="Path of the field, with dots.")
    message: str


class ProblemBody(BaseModel):
    """What every error looks like (RFC 9457)."""

    type: str = Field(description=f"{TYPE_PREFIX} and one of: {', '.join(STATUS_OF_PROBLEM)}.")
    title: str
    status: int
    detail: str = Field(description="What is wrong and the way out, in a sentence.")
    request_id: str | None = Field(default=None, description="Also in the server's log.")
    faults: list[Fault] | None = None


class Problem(HTTPException):
    """An error that the client is told: its kind (a key of `STATUS_OF_PROBLEM`) and a sentence."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        faults: list[Fault] | None = None,
    ) -> None:
        super().__init__(STATUS_OF_PROBLEM[kind], detail, dict(headers) if headers else None)
        self.kind = kind
        self.faults = faults

    def body(self, request_id: str | None = None) -> ProblemBody:
        """Return what the client reads."""
        return ProblemBody(
            type=TYPE_PREFIX + self.kind,
            title=TITLES[self.kind],
            status=self.status_code,
            detail=shortened(self.detail),
            request_id=request_id,
            faults=self.faults,
        )


def shortened(detail: str) -> str:
    """Cut a message in its middle where it is very long."""
    if len(detail) <= MAX_DETAIL_CHARACTERS:
        return detail
    half = MAX_DETAIL_CHARACTERS // 2
    return f"{detail[:half]} ... {detail[-half:]}"


def problem_of_work(error: Exception) -> Problem | None:
    """Return the problem behind an error of the public API; None for one that nobody expected."""
    match error:
        case Problem():
            return error
        case MemoryError():
            return Problem("out-of-memory", "There is not enough memory; send a smaller image.")
        case RuntimeError() if "out of memory" in str(error) or "not enough memory" in str(error):
            return Problem("out-of-memory", "There is not enough memory; send a smaller image.")
        case OSError(errno=number) if number in FULL_DISK:
            return Problem("disk-full", "The server's disk is full; try again later.")
        case SeemError():
            return Problem("unreadable", str(error))
        case ValueError():
            return Problem("invalid-request", str(error))
    return None


def problem_of_framework(error: HTTPException) -> Problem:
    """Name an error of the web framework."""
    if isinstance(error, Problem):
        return error
    kind = PROBLEM_OF_STATUS.get(error.status_code, "bad-request")
    detail = {
        "not-found": "There is nothing at this address; the API is described at /v1/openapi.json.",
        "method-not-allowed": "See /v1/openapi.json for what this address takes.",
    }.get(kind, str(error.detail))
    return Problem(kind, detail, headers=error.headers)


def problem_of_validation(error: RequestValidationError) -> Problem:
    """Name the fields of a request that break the schema."""
    details: list[Any] = list(error.errors())
    if any(detail["type"] == "json_invalid" for detail in details):
        return Problem("malformed-json", "The body is not valid JSON; send a JSON object.")
    faults = []
    for detail in details[:MAX_LISTED_FAULTS]:
        path = ".".join(map(str, detail["loc"][1:])) or str(detail["loc"][0])
        faults.append(Fault(field=path[:200], message=shortened(detail["msg"])))
    first = faults[0]
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return Problem("invalid-request", f"{first.field}: {first.message}{more}.", faults=faults)


def problem_response(problem: Problem, request_id: str | None) -> Response:
    """Write a problem as a response."""
    content = problem.body(request_id).model_dump(exclude_none=True)
    return JSONResponse(
        content, problem.status_code, headers=problem.headers, media_type=PROBLEM_JSON
    )


def request_id_of(request: Request) -> str | None:
    """Return the id that the gateway gave to a request."""
    state: dict[str, Any] = request.scope.get("state", {})
    return state.get("request_id")


async def answer_framework_error(request: Request, error: Exception) -> Response:
    """Answer an error that the framework or a route has raised."""
    assert isinstance(error, HTTPException)
    return problem_response(problem_of_framework(error), request_id_of(request))


async def answer_validation_error(request: Request, error: Exception) -> Response:
    """Answer a request that breaks the schema."""
    assert isinstance(error, RequestValidationError)
    if is_unread_body(request, error):
        problem = Problem(
            "unsupported-media-type",
            "Send the JSON with the header Content-Type: application/json.",
        )
        return problem_response(problem, request_id_of(request))
    return problem_response(problem_of_validation(error), request_id_of(request))


def is_unread_body(request: Request, error: RequestValidationError) -> bool:
    """Tell whether a body was not read as JSON because of its type."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or media_type.endswith("+json")
    return not is_json and any(tuple(each["loc"]) == ("body",) for each in error.errors())


async def answer_unexpected_error(request: Request, error: Exception) -> Response:
    """Answer an error that nobody expected: the log has its traceback, the client its id."""
    problem = Problem("internal", "The server has failed; its log tells more under this id.")
    return problem_response(problem_of_work(error) or problem, request_id_of(request))


async def answer_gone(_request: Request, _error: Exception) -> Response:
    """Answer nobody: the client has gone."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe error answers for OpenAPI; `ProblemBody` is among its schemas, as jobs have one."""
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    responses: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        responses[status] = {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_JSON: {"schema": schema}},
        }
    return responses
