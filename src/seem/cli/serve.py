"""`seem serve`: the API over HTTP, and a page that uses it."""

from __future__ import annotations

import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seem.cli.errors import write_line
from seem.cli.options import (
    FLAG,
    ModelOptions,
    OptionGroup,
    takes_option_groups,
)
from seem.cli.report import describe_loaded_model
from seem.errors import SeemError
from seem.server.settings import (
    MEBIBYTE,
    MEGAPIXEL,
    Limits,
    ServerSettings,
    default_workers,
    missing_extra,
)

if TYPE_CHECKING:
    from seem.server.label_studio.image_source import TaskImageSource
    from seem.server.projects.project import Project

ACCESS_PANEL = "Address and access"
LIMITS_PANEL = "Limits"
LABEL_STUDIO_PANEL = "Label Studio"
LABEL_STUDIO_TOKEN_VARIABLE = "LABEL_STUDIO_API_KEY"
PROJECT_PANEL = "Project"
TOKEN_VARIABLE = "SEEM_TOKEN"
DATABASE_VARIABLE = "SEEM_DATABASE"
DEFAULTS = Limits()
BACKLOG = 512  # connections that wait to be accepted


@dataclass(frozen=True, slots=True)
class AccessOptions(OptionGroup):
    """Where the server listens, and who may ask it."""

    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen at. Default: this machine alone; 0.0.0.0: every network.",
            rich_help_panel=ACCESS_PANEL,
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="Port to listen at.", rich_help_panel=ACCESS_PANEL),
    ] = 8000
    token: Annotated[
        str | None,
        typer.Option(
            envvar=TOKEN_VARIABLE,
            show_envvar=False,
            help=f"Token that clients must send; better given as {TOKEN_VARIABLE}. Default: none on this machine, else "
            "a random one.",
            rich_help_panel=ACCESS_PANEL,
        ),
    ] = None
    without_token: Annotated[
        bool,
        typer.Option(
            "--without-token",
            metavar=FLAG,
            help="Answer everybody who reaches the address.",
            rich_help_panel=ACCESS_PANEL,
        ),
    ] = False
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Name by which clients address the server, beside localhost and numeric addresses.",
            rich_help_panel=ACCESS_PANEL,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class ProjectOptions(OptionGroup):
    """Where the annotations of a project are."""

    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar=DATABASE_VARIABLE,
            show_envvar=False,
            help="Database of the annotations, such as postgresql://user@host/name; better given as "
            f"{DATABASE_VARIABLE} where it has a password. Default: a SQLite file in the folder.",
            rich_help_panel=PROJECT_PANEL,
        ),
    ] = None
    project: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the project in the database. Default: that of the folder.",
            rich_help_panel=PROJECT_PANEL,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class LabelStudioOptions(OptionGroup):
    """Where the images of Label Studio's tasks come from."""

    label_studio_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Label Studio whose images are read, such as http://localhost:8080. Default: none.",
            rich_help_panel=LABEL_STUDIO_PANEL,
        ),
    ] = None
    label_studio_token: Annotated[
        str | None,
        typer.Option(
            envvar=LABEL_STUDIO_TOKEN_VARIABLE,
            show_envvar=False,
            help=f"Access token of Label Studio; better given as {LABEL_STUDIO_TOKEN_VARIABLE}.",
            rich_help_panel=LABEL_STUDIO_PANEL,
        ),
    ] = None
    label_studio_files: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of Label Studio's local files (its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT).",
            rich_help_panel=LABEL_STUDIO_PANEL,
        ),
    ] = None

    def source(self) -> TaskImageSource:
        """Return where images come from; `ValueError` for an address or a folder that is none."""
        from seem.server.label_studio.image_source import TaskImageSource

        return TaskImageSource(
            self.label_studio_url, self.label_studio_token, self.label_studio_files
        )


def limit_option(metavar: str, help_text: str) -> typer.models.OptionInfo:
    """Describe an option that is a limit, at least 1."""
    option: typer.models.OptionInfo = typer.Option(
        metavar=metavar, min=1, help=help_text, rich_help_panel=LIMITS_PANEL
    )
    return option


@dataclass(frozen=True, slots=True)
class LimitOptions(OptionGroup):
    """Bounds of one request, and of what is held."""

    workers: Annotated[
        int | None, limit_option("N", "Clicks answered at once. Default: a core each, at most 4.")
    ] = None
    queue: Annotated[int, limit_option("N", "Requests that wait for a worker.")] = DEFAULTS.queued
    deadline: Annotated[int, limit_option("SECONDS", "Time until an answer.")] = int(
        DEFAULTS.answer_seconds
    )
    max_upload: Annotated[int, limit_option("MIB", "Size of an image file.")] = (
        DEFAULTS.image_bytes // MEBIBYTE
    )
    max_video: Annotated[int, limit_option("MIB", "Size of a video file.")] = (
        DEFAULTS.video_bytes // MEBIBYTE
    )
    max_pixels: Annotated[int, limit_option("MILLIONS", "Pixels of an image.")] = (
        DEFAULTS.image_pixels // MEGAPIXEL
    )
    cache: Annotated[int, limit_option("MIB", "Memory for encoded images.")] = (
        DEFAULTS.cache_bytes // MEBIBYTE
    )
    forget_after: Annotated[
        int, limit_option("MINUTES", "Time until an unused image is forgotten.")
    ] = int(DEFAULTS.idle_seconds // 60)

    def limits(self) -> Limits:
        """Return the limits as the server takes them."""
        return Limits(
            image_bytes=self.max_upload * MEBIBYTE,
            video_bytes=self.max_video * MEBIBYTE,
            image_pixels=self.max_pixels * MEGAPIXEL,
            cache_bytes=self.cache * MEBIBYTE,
            idle_seconds=self.forget_after * 60.0,
            answer_seconds=float(self.deadline),
            queued=self.queue,
        )


@takes_option_groups
def serve_command(
    *,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="Folder of photos to annotate, as a project."),
    ] = None,
    access: AccessOptions,
    project: ProjectOptions,
    label_studio: LabelStudioOptions,
    network: ModelOptions,
    limits: LimitOptions,
) -> None:
    """Serve the model over HTTP, with a page to use it. Needs the extra `serve`.

    seem serve

    seem serve photos/

    SEEM_TOKEN=secret seem serve --host 0.0.0.0 --allow-host seem.example.org

    Only this machine reaches it by default. At any other address clients need a token; one is made and printed unless
    it is given. With a FOLDER its photos are annotated one after the other, and what is done is stored at once. The API
    is described in docs/serve.md and at /v1/openapi.json. SIGTERM and Ctrl-C end it once the requests under way are
    answered. The log is one JSON object a line, on standard error.
    """
    try:
        from seem.server.run import run_server
    except ImportError as error:
        raise missing_extra(error) from None
    settings = ServerSettings(
        host=access.host,
        port=access.port,
        token=chosen_token(access),
        allowed_hosts=tuple(access.allow_host or ()),
        size=network.size,
        workers=limits.workers or default_workers(),
        limits=limits.limits(),
    )
    task_images = label_studio.source()
    opened = open_project(folder, project)
    with open_listener(settings.host, settings.port) as listener:
        started = time.perf_counter()
        model = network.load()
        write_line(describe_loaded_model(model, time.perf_counter() - started))
        write_line(f"Listening at {address_of(listener)} (Ctrl-C stops)")
        if settings.token is not None and access.token is None:
            write_line(f"Token: {settings.token}")
        run_server(model, settings, listener, opened, task_images)


def open_project(folder: Path | None, options: ProjectOptions) -> Project | None:
    """Open a folder as a project; None without one. `SeemError` where it cannot be used."""
    from seem.server.projects.project import Project

    if folder is None:
        if options.given():
            option = options.given()[0].partition(" ")[0]
            raise ValueError(f"{option} has no effect without a folder: seem serve FOLDER.")
        return None
    project = Project.open(folder, options.database, options.project)
    count = len(project.folder.names())
    photos = "1 photo" if count == 1 else f"{count} photos"
    write_line(f"Project {project.name}: {photos}")
    return project


def chosen_token(access: AccessOptions) -> str | None:
    """Return the token: the one given, none on this machine, else a random one."""
    if access.token is not None and access.without_token:
        raise ValueError("--token and --without-token exclude each other; leave one of them out.")
    if access.token is not None:
        return checked_token(access.token)
    if access.without_token or ServerSettings(host=access.host).is_loopback:
        return None
    return secrets.token_urlsafe(24)


def checked_token(token: str) -> str:
    """Return a token that fits into a header; `ValueError` for another."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("A token is printable ASCII without spaces, at least one character.")
    return token


def open_listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address, before a model is loaded; `SeemError` where it cannot."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SeemError(
            f"Cannot listen at {host}, port {port}: {reason}; choose another --port or --host."
        ) from None


def address_of(listener: socket.socket) -> str:
    """Return the address to open in a browser."""
    host, port = listener.getsockname()[:2]
    if listener.family == socket.AF_INET6:
        host = f"[{host}]"
    return f"http://{host}:{port}/"
