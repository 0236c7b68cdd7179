"""Run a server until it is asked to stop."""

from __future__ import annotations

import logging
import socket
from contextlib import suppress

import uvicorn

from seem.model import Model
from seem.server.app import create_app
from seem.server.label_studio.image_source import TaskImageSource
from seem.server.projects.project import Project
from seem.server.settings import ServerSettings
from seem.server.telemetry import log_to_stderr

GRACE_SECONDS = 10  # for answers under way, when the server is asked to stop
KEEP_ALIVE_SECONDS = 15
MAX_CONNECTIONS = 512
MAX_HEADER_BYTES = 64 * 1024


def run_server(
    model: Model,
    settings: ServerSettings,
    listener: socket.socket,
    project: Project | None = None,
    task_images: TaskImageSource | None = None,
) -> None:
    """Serve at a listening socket until SIGINT or SIGTERM; requests under way are answered first."""
    log_to_stderr(logging.INFO)
    config = uvicorn.Config(
        create_app(model, settings, project, task_images),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again once it has stopped
        uvicorn.Server(config).run(sockets=[listener])
