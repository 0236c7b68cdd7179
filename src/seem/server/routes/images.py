"""Upload an image, look at it, delete it."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Path, Query, Request, Response
from PIL import Image
from pydantic import BaseModel, Field

from seem.encoded_image import EncodedImage
from seem.server.file_names import plain_name
from seem.server.problems import Problem, problem_responses
from seem.server.service import Service, ServiceOf
from seem.server.settings import ServerSettings
from seem.server.stored_images import StoredImage
from seem.server.uploads import encode_upload, open_upload

FORM_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")
JPEG_QUALITY = 90

UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
UPLOAD_OPTIONS: dict[str, Any] = {
    "status_code": 201,
    "openapi_extra": UPLOAD_BODY,
    "responses": problem_responses(408, 413, 415),
}
"""Of every address whose body is a file."""

ImageId: TypeAlias = Annotated[
    str, Path(min_length=1, max_length=64, description="From the upload: a secret of its user.")
]
FileName: TypeAlias = Annotated[
    str | None, Query(max_length=1000, description="Name of the file; it is shown, never opened.")
]

router = APIRouter(tags=["images"])


class ImageBody(BaseModel):
    """An uploaded image, encoded."""

    id: str
    name: str
    width: int = Field(description="Of the image as shown: EXIF rotation is applied.")
    height: int
    orientation: int = Field(description="The EXIF orientation that was undone; 1 = none.")
    notes: list[str] = Field(description="What was done to read it, such as 16 bits reduced to 8.")
    encode_seconds: float
    bytes: int = Field(description="What it takes of the server's memory.")
    expires_in: float = Field(description="Seconds without a request until it is forgotten.")


def to_image_body(image_id: str, stored: StoredImage, settings: ServerSettings) -> ImageBody:
    """Describe an image."""
    image = stored.image
    height, width = image.hw
    return ImageBody(
        id=image_id,
        name=image.name or "image",
        width=width,
        height=height,
        orientation=image.source.orientation,
        notes=list(image.source.notes),
        encode_seconds=round(image.encode_seconds, 6),
        bytes=stored.num_bytes,
        expires_in=settings.limits.idle_seconds,
    )


def check_not_a_form(request: Request) -> None:
    """Raise `Problem` for a form: the file itself is the body."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in FORM_TYPES:
        raise Problem(
            "unsupported-media-type",
            f"The body is the file itself, not {media_type}; send its bytes.",
        )


async def store_image(
    request: Request, service: Service, open_uploaded: Callable[[], Image.Image]
) -> ImageBody:
    """Encode an image and store it."""
    work = partial(encode_upload, service.model, service.settings, open_uploaded)
    stored = await service.ask(request, "encode", work)
    image_id = service.images.put(stored)
    return to_image_body(image_id, stored, service.settings)


@router.post("/images", **UPLOAD_OPTIONS)
async def upload_image(
    request: Request, response: Response, service: ServiceOf, name: FileName = None
) -> ImageBody:
    """Upload an image: the body is the file itself. It is encoded once, for any number of questions."""
    check_not_a_form(request)
    with service.upload_slot():
        content = await request.body()
    shown_name = plain_name(name or "image")
    max_pixels = service.settings.limits.image_pixels
    body = await store_image(
        request, service, partial(open_upload, content, shown_name, max_pixels)
    )
    response.headers["Location"] = f"/v1/images/{body.id}"
    return body


@router.get("/images/{image_id}", responses=problem_responses(404, 410))
async def describe_image(image_id: ImageId, service: ServiceOf) -> ImageBody:
    """Describe an uploaded image; this also keeps it for another while."""
    return to_image_body(image_id, service.images.get(image_id), service.settings)


@router.delete("/images/{image_id}", status_code=204, responses=problem_responses(404, 410))
async def delete_image(image_id: ImageId, service: ServiceOf) -> None:
    """Forget an image and its sessions."""
    service.images.remove(image_id)


@router.get(
    "/images/{image_id}/picture",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}, "image/png": {}}},
        **problem_responses(404, 410),
    },
)
async def draw_picture(
    image_id: ImageId,
    request: Request,
    service: ServiceOf,
    form: Literal["jpeg", "png"] = "jpeg",
    max_side: Annotated[int | None, Query(ge=16, le=100_000)] = None,
) -> Response:
    """Return the image as shown: upright, 8 bits, in a format that browsers draw."""
    image = service.find_image(image_id)
    content = await service.ask(request, "picture", partial(to_image_file, image, form, max_side))
    return Response(content, media_type=f"image/{form}")


def to_image_file(image: EncodedImage, form: str, max_side: int | None) -> bytes:
    """Write an image as a file, no longer than `max_side` pixels."""
    upright = image.image
    if max_side is not None and max(upright.size) > max_side:
        upright = upright.copy()
        upright.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    upright.save(file, format=form.upper(), quality=JPEG_QUALITY)
    return file.getvalue()
