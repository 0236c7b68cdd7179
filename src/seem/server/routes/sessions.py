"""Rounds of prompts about one object, with memory and undo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from seem.results import Results
from seem.server.problems import Problem, problem_responses
from seem.server.prompt_schemas import to_prompts
from seem.server.question_schemas import NewSession, RoundQuestion
from seem.server.result_schemas import MaskForm, ResultBody, to_result_body
from seem.server.routes.images import ImageId
from seem.server.service import ServiceOf
from seem.server.stored_images import StoredSession

SessionId: TypeAlias = Annotated[str, Path(min_length=1, max_length=64)]

router = APIRouter(
    prefix="/images/{image_id}/sessions",
    tags=["sessions"],
    responses=problem_responses(404, 409, 410, 422, 504),
)


class SessionBody(BaseModel):
    """A session after its last round."""

    id: str
    rounds: int = Field(description="How many rounds it has; undo takes the last one back.")
    result: ResultBody | None = Field(description="The last answer; null before the first.")


@router.post("", status_code=201)
async def begin_session(
    image_id: ImageId, new: NewSession, response: Response, service: ServiceOf
) -> SessionBody:
    """Begin rounds of prompts about one object."""
    stored = service.images.get(image_id)
    session = stored.image.session(new.refine)
    session_id = stored.sessions.put(StoredSession(session))
    response.headers["Location"] = f"/v1/images/{image_id}/sessions/{session_id}"
    return SessionBody(id=session_id, rounds=0, result=None)


@router.get("/{session_id}")
async def describe_session(
    image_id: ImageId,
    session_id: SessionId,
    request: Request,
    service: ServiceOf,
    masks: MaskForm = "rle",
) -> SessionBody:
    """Return the last answer again."""
    stored = service.images.get(image_id).sessions.get(session_id)

    def work() -> SessionBody:
        with exclusive(stored):
            return to_session_body(session_id, stored, masks, labels=False)

    return await service.ask(request, "session", work)


@router.delete("/{session_id}", status_code=204)
async def end_session(image_id: ImageId, session_id: SessionId, service: ServiceOf) -> None:
    """Forget a session."""
    service.images.get(image_id).sessions.remove(session_id)


@router.post("/{session_id}/rounds")
async def add_round(
    image_id: ImageId,
    session_id: SessionId,
    question: RoundQuestion,
    request: Request,
    service: ServiceOf,
) -> SessionBody:
    """Add prompts to those so far and answer again, with the previous mask as memory."""
    image = service.images.get(image_id)
    stored = image.sessions.get(session_id)
    max_rounds = service.settings.limits.rounds

    def work() -> SessionBody:
        with exclusive(stored):
            check_rounds(stored, question.after, max_rounds)
            prompts = to_prompts(question.prompts, image.image.hw, service.find_image)
            stored.results.append(stored.session.add(*prompts))
            return to_session_body(session_id, stored, question.masks, question.labels)

    body = await service.ask(request, "round", work)
    service.images.shrink()
    return body


@router.delete("/{session_id}/rounds/last")
async def undo_round(
    image_id: ImageId,
    session_id: SessionId,
    request: Request,
    service: ServiceOf,
    masks: MaskForm = "rle",
    after: Annotated[int | None, Query(ge=0)] = None,
) -> SessionBody:
    """Take the last round back, memory and all; returns the answer before it."""
    stored = service.images.get(image_id).sessions.get(session_id)

    def work() -> SessionBody:
        with exclusive(stored):
            check_rounds(stored, after)
            if not stored.results:
                raise Problem("nothing-to-undo", "The session has no rounds; add one first.")
            stored.session.undo()
            stored.results.pop()
            return to_session_body(session_id, stored, masks, labels=False)

    return await service.ask(request, "undo", work)


@contextmanager
def exclusive(stored: StoredSession) -> Iterator[None]:
    """Hold a session's lock; `Problem` while another request has it."""
    if not stored.lock.acquire(blocking=False):
        raise Problem(
            "session-busy", "The session is answering another request; wait for that answer."
        )
    try:
        yield
    finally:
        stored.lock.release()


def check_rounds(stored: StoredSession, after: int | None, max_rounds: int | None = None) -> None:
    """Raise `Problem` where the client knows of other rounds, or where there are too many."""
    count = len(stored.results)
    if after is not None and after != count:
        raise Problem(
            "round-conflict",
            f"The session has {count} rounds, the request knows of {after}; read the session again.",
        )
    if max_rounds is not None and count >= max_rounds:
        raise Problem(
            "too-many-rounds",
            f"The session has {count} rounds, the most there can be; begin a new one.",
        )


def to_session_body(
    session_id: str, stored: StoredSession, masks: MaskForm, labels: bool
) -> SessionBody:
    """Describe a session."""
    result: Results | None = stored.session.result
    body = None if result is None else to_result_body(result, masks, labels)
    return SessionBody(id=session_id, rounds=len(stored.results), result=body)
