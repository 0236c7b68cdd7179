"""Upload a video, track objects through it, read the frames, export them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Literal, TypeAlias

from fastapi import APIRouter, Path, Query, Request, Response
from PIL import Image
from pydantic import BaseModel, Field

from seem.results import Results
from seem.server.exports import VideoFormatName, export_tracks
from seem.server.file_names import plain_name
from seem.server.jobs import JobStatus, StoredVideo, TrackingJob, probe_video
from seem.server.problems import Problem, ProblemBody, problem_responses
from seem.server.prompt_schemas import MAX_OBJECTS, ObjectSchema, StrictModel, to_prompts
from seem.server.result_schemas import MaskForm, ObjectBody, to_object_bodies
from seem.server.routes.exports import file_response
from seem.server.routes.images import (
    UPLOAD_OPTIONS,
    FileName,
    ImageBody,
    check_not_a_form,
    store_image,
)
from seem.server.service import Service, ServiceOf
from seem.server.stored_images import new_id

MAX_FRAME_INDEX = 1_000_000

VideoId: TypeAlias = Annotated[str, Path(min_length=1, max_length=64)]
JobId: TypeAlias = Annotated[str, Path(min_length=1, max_length=64)]
FrameIndex: TypeAlias = Annotated[int, Path(ge=0, le=MAX_FRAME_INDEX)]

router = APIRouter(tags=["videos"], responses=problem_responses(404, 410, 422))


class VideoBody(BaseModel):
    """An uploaded video."""

    id: str
    name: str
    width: int
    height: int
    frames: int | None = Field(description="As the file says; null where it does not.")
    bytes: int
    expires_in: float = Field(description="Seconds without a request until it is forgotten.")


class TrackedObjectSchema(StrictModel):
    """Prompts about an object on one frame; several for one id are corrections."""

    id: Annotated[int, Field(ge=1, le=100_000)]
    frame: Annotated[int, Field(ge=0, le=MAX_FRAME_INDEX)] = 0
    prompts: ObjectSchema


class TrackRequest(StrictModel):
    """Objects to follow."""

    objects: Annotated[list[TrackedObjectSchema], Field(min_length=1, max_length=MAX_OBJECTS)]
    mode: Literal["memory", "propagate", "reference"] | None = None
    backward: bool = Field(default=False, description="Also back to the first frame.")


class JobBody(BaseModel):
    """How far a job is."""

    id: str
    video_id: str
    status: JobStatus
    mode: str
    frames_done: int
    frames_total: int | None = Field(description="As the file says; null where it does not.")
    problem: ProblemBody | None


class FrameBody(BaseModel):
    """The objects of one frame; those that are not visible have no row."""

    frame: int
    time: float | None = Field(description="When it is shown, in seconds.")
    objects: list[ObjectBody]


class FramesBody(BaseModel):
    """Some of the frames that are done."""

    status: JobStatus
    frames_done: int
    frames: list[FrameBody]


@router.post("/videos", **UPLOAD_OPTIONS)
async def upload_video(
    request: Request, response: Response, service: ServiceOf, name: FileName = None
) -> VideoBody:
    """Upload a video: the body is the file itself (MP4, MOV, MKV, WebM or AVI)."""
    check_not_a_form(request)
    path = service.folder / f"{new_id()}.video"
    try:
        with service.upload_slot():
            num_bytes = await receive_file(request, path)
        if not num_bytes:
            raise Problem("unreadable", "The body is empty; send the bytes of a video file.")
        shown_name = plain_name(name or "video", "video")
        max_pixels = service.settings.limits.image_pixels
        probe = partial(probe_video, path, shown_name, num_bytes, max_pixels)
        stored = await service.ask(request, "probe", probe, heavy=True)
        video_id = service.videos.put(stored)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    response.headers["Location"] = f"/v1/videos/{video_id}"
    return to_video_body(video_id, stored, service)


async def receive_file(request: Request, path: FilePath) -> int:
    """Write the body of a request to a file as it comes; returns its size."""
    num_bytes = 0
    with path.open("xb") as file:
        async for chunk in request.stream():
            num_bytes += file.write(chunk)
    return num_bytes


@router.get("/videos/{video_id}")
async def describe_video(video_id: VideoId, service: ServiceOf) -> VideoBody:
    """Describe an uploaded video; this also keeps it for another while."""
    return to_video_body(video_id, service.videos.get(video_id), service)


@router.delete("/videos/{video_id}", status_code=204)
async def delete_video(video_id: VideoId, service: ServiceOf) -> None:
    """Forget a video; its jobs go on to their end."""
    service.videos.remove(video_id)


@router.post("/videos/{video_id}/frames/{index}/image", status_code=201)
async def encode_frame(
    video_id: VideoId, index: FrameIndex, request: Request, service: ServiceOf
) -> ImageBody:
    """Make an image of a frame, to ask questions about it as about an uploaded one."""
    stored = service.videos.get(video_id)
    return await store_image(request, service, partial(frame_image, stored, index))


def frame_image(stored: StoredVideo, index: int) -> Image.Image:
    """Return a frame as an image with a name."""
    image = Image.fromarray(stored.frame(index))
    image.filename = f"{FilePath(stored.name).stem}-{index:05}.png"  # type: ignore[attr-defined]
    return image


@router.post("/videos/{video_id}/jobs", status_code=202, responses=problem_responses(413, 429))
async def begin_job(
    video_id: VideoId,
    question: TrackRequest,
    request: Request,
    response: Response,
    service: ServiceOf,
) -> JobBody:
    """Begin to track objects through a video; ask the job how far it is."""
    stored = service.videos.get(video_id)
    work = partial(new_job, video_id, stored, question, service)
    job = await service.ask(request, "job", work)
    stored.begin_reading()
    try:
        future = service.tracking.submit(job.run, job.cancellation)
    except BaseException:
        job.finish()
        raise
    future.add_done_callback(lambda _: job.finish())
    job_id = service.jobs.put(job)
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    return to_job_body(job_id, job)


def new_job(
    video_id: str, stored: StoredVideo, question: TrackRequest, service: Service
) -> TrackingJob:
    """Check a request and make the tracker; nothing runs yet."""
    settings = service.settings
    max_frames = settings.limits.video_frames
    if stored.num_frames is not None and stored.num_frames > max_frames:
        raise Problem(
            "too-large", f"{stored.name} has more than {max_frames} frames; cut it into parts."
        )
    tracker = service.model.tracker(
        stored.path, question.mode, size=settings.size, backward=question.backward
    )
    tracker.video.name = stored.name
    for requested in question.objects:
        prompts = to_prompts(requested.prompts, stored.hw, service.find_image)
        tracker.add(requested.frame, requested.id, *prompts)
    return TrackingJob(video_id, stored, tracker, max_frames)


@router.get("/jobs/{job_id}")
async def describe_job(job_id: JobId, service: ServiceOf) -> JobBody:
    """Tell how far a job is."""
    return to_job_body(job_id, service.jobs.get(job_id))


@router.delete("/jobs/{job_id}", status_code=204)
async def delete_job(job_id: JobId, service: ServiceOf) -> None:
    """Stop a job and forget its frames."""
    service.jobs.remove(job_id)


@router.get("/jobs/{job_id}/frames")
async def read_frames(
    job_id: JobId,
    request: Request,
    service: ServiceOf,
    start: Annotated[int, Query(ge=0, le=MAX_FRAME_INDEX)] = 0,
    count: Annotated[int, Query(ge=1, le=500)] = 50,
    masks: MaskForm = "rle",
) -> FramesBody:
    """Return frames that are done, from `start` on."""
    job = service.jobs.get(job_id)

    def work() -> FramesBody:
        frames = job.frames[start : start + count]
        return FramesBody(
            status=job.status,
            frames_done=len(job.frames),
            frames=[to_frame_body(results, masks) for results in frames],
        )

    return await service.ask(request, "frames", work)


@router.get(
    "/jobs/{job_id}/export",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}, **problem_responses(409)},
)
async def export_job(
    job_id: JobId, request: Request, service: ServiceOf, format: VideoFormatName = "youtube-vis"
) -> Response:
    """Return the frames of a finished job in the format of another tool, as a ZIP archive."""
    job = service.jobs.get(job_id)
    if job.status in (JobStatus.QUEUED, JobStatus.RUNNING):
        raise Problem("not-finished", f"The job is {job.status.value}; wait until it is done.")
    if not job.frames:
        raise Problem("not-finished", f"The job is {job.status.value} and has no frames.")
    frames: Sequence[Results] = list(job.frames)
    work = partial(export_tracks, frames, format, job.video.name)
    return file_response(await service.ask(request, "export", work, heavy=True))


def to_video_body(video_id: str, stored: StoredVideo, service: Service) -> VideoBody:
    """Describe a video."""
    height, width = stored.hw
    return VideoBody(
        id=video_id,
        name=stored.name,
        width=width,
        height=height,
        frames=stored.num_frames,
        bytes=stored.num_bytes,
        expires_in=service.settings.limits.idle_seconds,
    )


def to_job_body(job_id: str, job: TrackingJob) -> JobBody:
    """Describe a job."""
    return JobBody(
        id=job_id,
        video_id=job.video_id,
        status=job.status,
        mode=job.tracker.mode,
        frames_done=len(job.frames),
        frames_total=job.video.num_frames,
        problem=None if job.problem is None else job.problem.body(),
    )


def to_frame_body(results: Results, masks: MaskForm) -> FrameBody:
    """Describe a frame."""
    return FrameBody(
        frame=results.frame or 0,
        time=results.time,
        objects=to_object_bodies(results, masks, has_labels=True),
    )
