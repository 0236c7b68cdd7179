"""Annotations of a COCO file, to go on with them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from seem.server.coco_import import CocoImport, ImportedObject, summarized
from seem.server.exports import MAX_SIDE
from seem.server.problems import Problem, problem_responses
from seem.server.result_schemas import RleMaskBody
from seem.server.service import ServiceOf

COCO_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}

router = APIRouter(tags=["import"])


class ImportedObjectBody(BaseModel):
    """One object of a file."""

    label: str | None
    score: float = Field(description="1 where the file has none.")
    area: int
    mask: RleMaskBody


class ImportedObjectsBody(BaseModel):
    """The objects that a file has for a photo."""

    objects: list[ImportedObjectBody]
    notes: list[str] = Field(description="What was left out, and why.")


@router.post(
    "/import", openapi_extra=COCO_BODY, responses=problem_responses(400, 408, 413, 415, 422, 504)
)
async def import_objects(
    request: Request,
    service: ServiceOf,
    name: Annotated[str, Query(min_length=1, max_length=1000, description="File name.")],
    width: Annotated[int, Query(ge=1, le=MAX_SIDE)],
    height: Annotated[int, Query(ge=1, le=MAX_SIDE)],
) -> ImportedObjectsBody:
    """Return the objects that a COCO file (the body) has for a photo; run-length codes and polygons are read."""
    content = await request.body()
    max_pixels = service.settings.limits.image_pixels

    def work() -> ImportedObjectsBody:
        file = CocoImport.parse(content)
        if width * height > max_pixels:
            raise Problem("too-many-pixels", f"{name} has more than {max_pixels:,} pixels.")
        objects = file.objects_of_only(name, (height, width))
        bodies = [to_imported_body(one, (height, width)) for one in objects]
        return ImportedObjectsBody(objects=bodies, notes=summarized(file.notes))

    return await service.ask(request, "import", work, heavy=True)


def to_imported_body(one: ImportedObject, hw: tuple[int, int]) -> ImportedObjectBody:
    """Describe an object of a photo of height and width `hw`."""
    mask = RleMaskBody(size=list(hw), counts=one.counts)
    return ImportedObjectBody(label=one.label, score=one.score, area=one.area, mask=mask)
