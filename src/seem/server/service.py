"""What all requests of a server share: the model, the stores, the pools of workers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import torch
from fastapi import Depends
from starlette.requests import Request

from seem.encoded_image import EncodedImage
from seem.model import Model
from seem.part_files import new_temporary_folder
from seem.server.jobs import StoredVideo, TrackingJob
from seem.server.problems import Problem
from seem.server.projects.project import Project
from seem.server.settings import ServerSettings
from seem.server.stored_images import RecentStore, StoredImage
from seem.server.telemetry import Telemetry
from seem.server.workers import WorkerPool, make_interruptible

Answer = TypeVar("Answer")

STORAGE_WORKERS = 4
SWEEP_SECONDS = 30.0  # between looks for what nobody asks for any more


@dataclass(slots=True, eq=False)
class Service:
    """One model and everything around it.

    `quick` answers clicks and encodes images, `heavy` whatever takes longer than a few passes of the network, so that
    nobody's click waits behind a question of seconds; `tracking` follows one video at a time; `storage` reads and
    writes the project.
    """

    model: Model
    settings: ServerSettings
    project: Project | None = None
    telemetry: Telemetry = field(default_factory=Telemetry)
    images: RecentStore[StoredImage] = field(init=False)
    videos: RecentStore[StoredVideo] = field(init=False)
    jobs: RecentStore[TrackingJob] = field(init=False)
    quick: WorkerPool = field(init=False)
    heavy: WorkerPool = field(init=False)
    tracking: WorkerPool = field(init=False)
    storage: WorkerPool = field(init=False)
    folder: Path = field(init=False)
    is_ready: bool = field(init=False, default=False)
    _num_uploads: int = field(init=False, default=0)
    _undo_hooks: Callable[[], None] = field(init=False)

    def __post_init__(self) -> None:
        limits, workers = self.settings.limits, self.settings.workers
        idle = limits.idle_seconds
        self.images = RecentStore("image", max_bytes=limits.cache_bytes, idle_seconds=idle)
        self.videos = RecentStore("video", max_bytes=limits.disk_bytes, idle_seconds=idle)
        self.jobs = RecentStore("job", max_bytes=limits.cache_bytes, idle_seconds=idle)
        threads = max(1, torch.get_num_threads() // workers)
        self.quick = WorkerPool("quick", workers, limits.queued, threads)
        self.heavy = WorkerPool("heavy", max(1, workers // 2), limits.queued, threads)
        self.tracking = WorkerPool("tracking", 1, limits.jobs, threads)
        self.storage = WorkerPool("storage", STORAGE_WORKERS, limits.queued)
        self.folder = new_temporary_folder()
        self._undo_hooks = make_interruptible(self.model.network)
        self._add_gauges()
        self.is_ready = True

    async def ask(
        self,
        request: Request,
        task: str,
        work: Callable[[], Answer],
        *,
        heavy: bool = False,
        pool: WorkerPool | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """Do work for a request in a pool, until its deadline or until the client goes away."""
        if pool is None:
            pool = self.heavy if heavy else self.quick
        return await pool.run(
            self._timed(task, work),
            seconds or self.settings.limits.answer_seconds,
            gone=partial(wait_until_gone, request),
        )

    def find_image(self, image_id: str) -> EncodedImage:
        """Return an encoded image by its id."""
        return self.images.get(image_id).image

    @contextmanager
    def upload_slot(self) -> Iterator[None]:
        """Count an upload while it arrives; `Problem` where too many do."""
        if self._num_uploads >= self.settings.limits.uploads:
            raise Problem(
                "queue-full",
                f"{self._num_uploads} files are being uploaded; try again in 2 s.",
                headers={"Retry-After": "2", "Connection": "close"},
            )
        self._num_uploads += 1
        try:
            yield
        finally:
            self._num_uploads -= 1

    async def sweep(self) -> None:
        """Forget what nobody asks for, again and again."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.forget_idle()

    def forget_idle(self) -> None:
        """Forget what nobody asks for, and what has grown beyond its limit."""
        for stored in self.images.values():
            stored.sessions.forget_idle()
        for store in (self.images, self.videos, self.jobs):
            store.shrink()

    def close(self) -> None:
        """Stop all work and free everything."""
        self.is_ready = False
        self.jobs.clear()
        for pool in (self.tracking, self.heavy, self.quick, self.storage):
            pool.close()
        self._undo_hooks()
        self.images.clear()
        self.videos.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.project is not None:
            self.project.close()

    def _timed(self, task: str, work: Callable[[], Answer]) -> Callable[[], Answer]:
        def timed() -> Answer:
            with self.telemetry.work.labels(task).time():
                return work()

        return timed

    def _add_gauges(self) -> None:
        pools = (self.quick, self.heavy, self.tracking, self.storage)
        stores: dict[str, RecentStore[Any]] = {
            "images": self.images,
            "videos": self.videos,
            "jobs": self.jobs,
        }
        add_gauge = self.telemetry.add_gauge
        add_gauge("seem_pending_work", "Work that waits or runs, by pool.",
              lambda: {pool.name: pool.num_pending for pool in pools})  # fmt: skip
        add_gauge("seem_stored_items", "What is stored.",
              lambda: {name: len(store) for name, store in stores.items()})  # fmt: skip
        add_gauge("seem_stored_bytes", "Bytes of what is stored.",
              lambda: {name: store.num_bytes for name, store in stores.items()})  # fmt: skip
        add_gauge("seem_evicted_items", "Items that left to make room.",
              lambda: {name: store.num_evicted for name, store in stores.items()})  # fmt: skip


async def wait_until_gone(request: Request) -> None:
    """Return when the client has closed the connection."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return


def service_of(request: Request) -> Service:
    """Return the service that a request is for."""
    service: Service = request.app.state.service
    return service


ServiceOf: TypeAlias = Annotated[Service, Depends(service_of)]
