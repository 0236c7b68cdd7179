"""The application: the API under /v1, health and metrics beside it, the page at the top."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from seem.model import Model
from seem.server.access import LABEL_STUDIO_PATH
from seem.server.api_page import api_page
from seem.server.gateway import Gateway
from seem.server.label_studio.backend import LabelStudioBackend
from seem.server.label_studio.image_source import TaskImageSource
from seem.server.problems import (
    Problem,
    answer_framework_error,
    answer_gone,
    answer_unexpected_error,
    answer_validation_error,
    problem_responses,
)
from seem.server.projects.project import Project
from seem.server.routes import (
    exports,
    images,
    imports,
    information,
    projects,
    questions,
    sessions,
    videos,
)
from seem.server.routes.label_studio import add_label_studio_routes
from seem.server.service import Service
from seem.server.settings import ServerSettings
from seem.server.workers import ClientGoneError
from seem.version import __version__

PAGE = Path(__file__).parent / "page"
COMMON_STATUSES = (400, 401, 403, 405, 421, 422, 429, 500, 503, 504, 507)
EXCEPTION_HANDLERS = {
    HTTPException: answer_framework_error,
    RequestValidationError: answer_validation_error,
    ClientGoneError: answer_gone,
    Exception: answer_unexpected_error,
}


def create_app(
    model: Model,
    settings: ServerSettings | None = None,
    project: Project | None = None,
    task_images: TaskImageSource | None = None,
) -> ASGIApp:
    """Return the ASGI application of a model; its threads, its folder and the project live until shutdown.

    `task_images` is where the images of Label Studio's tasks come from; by default from nowhere.
    """
    service = Service(model, settings or ServerSettings(), project)
    api = create_api(service)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(service.sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await sweeping
            await asyncio.to_thread(service.close)

    app = Starlette(
        routes=[
            Route("/healthz", is_alive, name="healthz"),
            Route("/readyz", is_ready, name="readyz"),
            Route("/metrics", read_metrics, name="metrics"),
            Route("/api", read_api_page, name="api"),
            Mount("/v1", api),
            Mount(LABEL_STUDIO_PATH, create_label_studio_app(service, task_images)),
            Mount("/", StaticFiles(directory=PAGE, html=True), name="page"),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.api = api
    return Gateway(app, service.settings, service.telemetry)


def create_api(service: Service) -> FastAPI:
    """Return the API, described by OpenAPI at /v1/openapi.json."""
    api = FastAPI(
        title="Seem",
        version=__version__,
        summary="Masks from clicks, strokes, boxes, phrases and regions of other images.",
        docs_url=None,  # its page loads scripts from other sites
        redoc_url=None,
        dependencies=[Depends(check_query)],
        responses=problem_responses(*COMMON_STATUSES),
        exception_handlers=EXCEPTION_HANDLERS,  # type: ignore[arg-type]
    )
    api.state.service = service
    for module in (information, images, questions, sessions, videos, exports, imports, projects):
        api.include_router(module.router)
    return api


def create_label_studio_app(service: Service, task_images: TaskImageSource | None) -> FastAPI:
    """Return the backend that Label Studio asks, at an address of its own."""
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        exception_handlers=EXCEPTION_HANDLERS,  # type: ignore[arg-type]
    )
    app.state.service = service
    add_label_studio_routes(app, LabelStudioBackend(service, task_images or TaskImageSource()))
    return app


def check_query(request: Request) -> None:
    """Raise `Problem` for a query parameter that the address does not have: a misspelt one would have no effect."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        names = ", ".join(sorted(known)) or "none here"
        raise Problem(
            "invalid-request", f"There is no parameter {unknown[0][:100]!r}; there are {names}."
        )


async def is_alive(_request: Request) -> Response:
    """Tell that the process answers."""
    return JSONResponse({"status": "ok"})


async def is_ready(request: Request) -> Response:
    """Tell whether questions are answered: 503 while the server shuts down."""
    service: Service = request.app.state.service
    if service.is_ready:
        return JSONResponse({"status": "ready"})
    return JSONResponse({"status": "shutting down"}, status_code=503)


async def read_metrics(request: Request) -> Response:
    """Return the metrics as Prometheus reads them."""
    service: Service = request.app.state.service
    content = generate_latest(service.telemetry.registry)
    return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def read_api_page(request: Request) -> Response:
    """Return the description of the API as a page; it holds nothing that needs a token."""
    api: FastAPI = request.app.state.api
    return HTMLResponse(api_page(api.openapi()))
