"""Annotations as files of other tools."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from seem.server.exports import ExportedFile, ExportRequest, export_annotations
from seem.server.problems import problem_responses
from seem.server.service import ServiceOf

router = APIRouter(tags=["export"])


@router.post(
    "/export",
    response_class=Response,
    responses={
        200: {"content": {"application/json": {}, "application/zip": {}}},
        **problem_responses(400, 404, 410, 413, 422, 504),
    },
)
async def export_images(body: ExportRequest, request: Request, service: ServiceOf) -> Response:
    """Write annotations in a format: `coco` and `coco-polygons` as one JSON file, others as a ZIP archive."""
    max_pixels = service.settings.limits.image_pixels
    work = partial(export_annotations, body, service.find_image, max_pixels)
    return file_response(await service.ask(request, "export", work, heavy=True))


def file_response(file: ExportedFile) -> Response:
    """Return a file to download."""
    headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
    return Response(file.content, media_type=file.media_type, headers=headers)
