"""What can be set when a server starts: where it listens, and the limits of what it does."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field

from seem.errors import SeemError

MEBIBYTE = 2**20
MEGAPIXEL = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request and of what is held in memory and on disk; sizes in bytes, times in seconds."""

    image_bytes: int = 64 * MEBIBYTE
    """Of an uploaded image file."""
    image_pixels: int = 50 * MEGAPIXEL
    """Of an image, and of a frame of a video."""
    video_bytes: int = 512 * MEBIBYTE
    """Of an uploaded video file."""
    video_frames: int = 5000
    """Frames that a job tracks."""
    import_bytes: int = 64 * MEBIBYTE
    """Of a file of annotations for a project."""
    json_bytes: int = 16 * MEBIBYTE
    """Of every other request."""
    body_seconds: float = 120.0
    """Until a request's body has arrived."""
    answer_seconds: float = 60.0
    """From a complete request to its answer, waiting in the queue included."""
    queued: int = 32
    """Requests that wait for a worker."""
    uploads: int = 8
    """Uploads that arrive at once."""
    cache_bytes: int = 1024 * MEBIBYTE
    """Of all encoded images with their sessions; the least recently used leave."""
    disk_bytes: int = 2048 * MEBIBYTE
    """Of all uploaded videos."""
    idle_seconds: float = 3600.0
    """Until an image, a video or a job that nobody asks for is forgotten."""
    sessions: int = 64
    """Of one image; the least recently used leave."""
    rounds: int = 100
    """Of one session."""
    jobs: int = 8
    """Video jobs that wait or run."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Address, access and limits of a server.

    `token`: what clients send as `Authorization: Bearer TOKEN`; None = nobody is asked. `allowed_hosts`: names by which
    clients may address the server, beside localhost, its own address and numeric addresses. `size` as in
    `Model.encode`. `workers`: quick questions that are answered at once.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    size: int | None = None
    workers: int = field(default_factory=lambda: default_workers())
    limits: Limits = field(default_factory=Limits)

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine reach the server."""
        return is_loopback_name(self.host)


def default_workers() -> int:
    """Return how many questions to answer at once: a core each, at most 4."""
    return min(4, os.cpu_count() or 1)


def is_loopback_name(host: str) -> bool:
    """Tell whether a host name or address is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def missing_extra(error: ImportError) -> SeemError:
    """Return the error that names the extra, for a package that is not installed."""
    return SeemError(f'seem serve needs {error.name}; install it with: pip install "seem[serve]".')
