"""The project of this server: its photos, their annotations, classes, import and export."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, TypeAlias, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask

from seem.server.exports import ImageFormatName
from seem.server.problems import Problem, problem_responses
from seem.server.projects.coco_import import plan_import
from seem.server.projects.export import (
    ExportedPhotos,
    ProjectArchive,
    write_archive,
    write_dataset_file,
)
from seem.server.projects.project import Project
from seem.server.projects.schemas import (
    AnnotatedPhotoBody,
    PhotoBody,
    PhotoEditSchema,
    ProjectBody,
    ProjectClassesSchema,
    to_annotated_body,
    to_classes_body,
    to_photo_body,
    to_photo_edit,
)
from seem.server.projects.thumbnails import draw_thumbnail
from seem.server.routes.images import ImageBody, store_image, to_image_body
from seem.server.routes.imports import COCO_BODY
from seem.server.service import Service, ServiceOf, service_of
from seem.server.uploads import open_upload

Answer = TypeVar("Answer")

EXPORT_SECONDS = 1800.0
router = APIRouter(
    prefix="/project",
    tags=["project"],
    responses=problem_responses(400, 404, 409, 410, 413, 422, 504, 507),
)


def project_of(service: Annotated[Service, Depends(service_of)]) -> Project:
    """Return the project of this server; `Problem` if it has none."""
    if service.project is None:
        raise Problem("not-found", "This server has no project; start it with seem serve FOLDER.")
    return service.project


ProjectOf: TypeAlias = Annotated[Project, Depends(project_of)]
PhotoId: TypeAlias = Annotated[str, Path(min_length=1, max_length=64)]


class ImportBody(BaseModel):
    """What an import has stored."""

    photos: int
    objects: int
    notes: list[str] = Field(description="What was left out, and why.")


class DatasetBody(BaseModel):
    """A data set that was written into the project's folder."""

    file: str = Field(description="Its path, beginning with the name of the folder.")
    photos: int
    objects: int
    command: str = Field(description="Trains a model on it.")


async def ask_storage(
    request: Request, service: Service, task: str, work: Callable[[], Answer]
) -> Answer:
    """Do work of the database or of the folder, which waits for no network."""
    return await service.ask(request, task, work, pool=service.storage)


@router.get("")
async def describe_project(request: Request, service: ServiceOf, project: ProjectOf) -> ProjectBody:
    """Return the photos that are in the folder now, and how far each of them is."""

    def work() -> ProjectBody:
        return ProjectBody(
            name=project.name,
            classes=to_classes_body(project.store.classes()),
            photos=list(map(to_photo_body, project.list_photos())),
        )

    return await ask_storage(request, service, "project", work)


@router.put("/classes")
async def edit_classes(
    classes: ProjectClassesSchema, request: Request, service: ServiceOf, project: ProjectOf
) -> ProjectClassesSchema:
    """Replace the class names."""

    def work() -> ProjectClassesSchema:
        return to_classes_body(project.store.set_classes(classes.version, classes.names))

    return await ask_storage(request, service, "classes", work)


@router.get("/photos/{photo_id}")
async def read_annotations(
    photo_id: PhotoId, request: Request, service: ServiceOf, project: ProjectOf
) -> AnnotatedPhotoBody:
    """Return a photo with its objects."""

    def work() -> AnnotatedPhotoBody:
        photo, objects = project.store.photo_and_objects(photo_id)
        return to_annotated_body(photo, objects, project.photo_hw(photo))

    return await ask_storage(request, service, "annotations", work)


@router.put("/photos/{photo_id}")
async def edit_annotations(
    photo_id: PhotoId,
    edit: PhotoEditSchema,
    request: Request,
    service: ServiceOf,
    project: ProjectOf,
) -> PhotoBody:
    """Replace the objects of a photo: all or nothing, and only if `version` is the latest."""

    def work() -> PhotoBody:
        project.apply([to_photo_edit(photo_id, edit)])
        return to_photo_body(project.listed(photo_id))

    return await ask_storage(request, service, "edit", work)


@router.post("/photos/{photo_id}/image", status_code=201)
async def encode_photo(
    photo_id: PhotoId,
    request: Request,
    response: Response,
    service: ServiceOf,
    project: ProjectOf,
) -> ImageBody:
    """Encode a photo, to ask about it as about an upload; one that is encoded already is shared."""
    limits = service.settings.limits
    read = partial(project.read_photo, photo_id, limits.image_bytes)
    file = await ask_storage(request, service, "photo", read)
    image_id = project.encoded_id(photo_id, file.fingerprint)
    stored = None if image_id is None else service.images.find(image_id)
    if image_id is not None and stored is not None:
        body = to_image_body(image_id, stored, service.settings)
    else:
        open_uploaded = partial(open_upload, file.content, file.name, limits.image_pixels)
        body = await store_image(request, service, open_uploaded)
        project.remember_encoded(photo_id, file.fingerprint, body.id)
    response.headers["Location"] = f"/v1/images/{body.id}"
    return body


@router.get(
    "/photos/{photo_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def read_thumbnail(
    photo_id: PhotoId, request: Request, service: ServiceOf, project: ProjectOf
) -> Response:
    """Return a photo as a small JPEG file."""
    limits = service.settings.limits

    def work() -> bytes:
        file = project.read_photo(photo_id, limits.image_bytes)
        return draw_thumbnail(file, limits.image_pixels)

    return Response(await ask_storage(request, service, "thumbnail", work), media_type="image/jpeg")


@router.post("/import", openapi_extra=COCO_BODY, responses=problem_responses(408, 415))
async def import_annotations(
    request: Request,
    service: ServiceOf,
    project: ProjectOf,
    existing: Annotated[
        Literal["keep", "replace"],
        Query(description="What becomes of the objects that a photo has already."),
    ] = "keep",
) -> ImportBody:
    """Store the objects of a COCO file (the body), all or none; photos go by their file names."""
    content = await request.body()

    def work() -> ImportBody:
        planned = plan_import(content, project, replaces=existing == "replace")
        project.apply(planned.edits, planned.class_names)
        num_objects = sum(len(edit.objects) for edit in planned.edits)
        return ImportBody(photos=len(planned.edits), objects=num_objects, notes=planned.notes)

    return await service.ask(request, "import", work, heavy=True)


@router.get(
    "/export",
    response_class=FileResponse,
    responses={200: {"content": {"application/json": {}, "application/zip": {}}}},
)
async def export_project(
    request: Request,
    service: ServiceOf,
    project: ProjectOf,
    format: ImageFormatName | Literal["masks"] = "coco",
    which: ExportedPhotos = "done",
    photos: Annotated[bool, Query(description="With copies of the photos.")] = False,
) -> Response:
    """Return the annotations of all photos in one file: JSON for `coco` and `coco-polygons`, else a ZIP archive."""

    def work() -> ProjectArchive:
        return write_archive(project, format, which, has_photos=photos, folder=service.folder)

    archive = await service.ask(request, "export", work, heavy=True, seconds=EXPORT_SECONDS)
    return FileResponse(
        archive.path,
        media_type=archive.media_type,
        filename=archive.name,
        background=BackgroundTask(archive.path.unlink, missing_ok=True),
    )


@router.post("/dataset", status_code=201)
async def write_dataset(
    request: Request, service: ServiceOf, project: ProjectOf, which: ExportedPhotos = "done"
) -> DatasetBody:
    """Write a COCO file beside the photos, which `seem finetune --data` takes."""

    def work() -> DatasetBody:
        written = write_dataset_file(project, which, service.folder)
        return DatasetBody(
            file=written.file,
            photos=written.num_photos,
            objects=written.num_objects,
            command=f"seem finetune --data {written.quoted_file} --out {project.folder.title}-model",
        )

    return await service.ask(request, "dataset", work, heavy=True, seconds=EXPORT_SECONDS)
