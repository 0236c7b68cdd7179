"""The addresses that Label Studio asks a machine-learning backend at.

They are Label Studio's protocol, not part of the versioned API: requests may hold more fields than are read here.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field

from seem.server.label_studio.backend import LabelStudioBackend
from seem.server.label_studio.label_config import MAX_CHARACTERS
from seem.server.service import ServiceOf


class LabelStudioRequest(BaseModel):
    """Base of what Label Studio sends: further fields are passed over."""

    model_config = ConfigDict(extra="ignore")


class DrawnContext(LabelStudioRequest):
    """What a person has drawn with a smart tool."""

    result: list[dict[str, Any]] = Field(default_factory=list)


class PredictParameters(LabelStudioRequest):
    """Parameters of a prediction."""

    context: DrawnContext | None = None


class PredictRequest(LabelStudioRequest):
    """Tasks to predict."""

    tasks: list[dict[str, Any]]
    label_config: str = Field(max_length=MAX_CHARACTERS)
    params: PredictParameters | None = None


class PredictBody(BaseModel):
    """A prediction a task."""

    results: list[dict[str, Any]]


class SetupBody(BaseModel):
    """What predictions are marked with."""

    model_version: str


class HealthBody(BaseModel):
    """That the backend answers."""

    status: str
    model_class: str


class WebhookBody(BaseModel):
    """That an event was received: nothing is trained here."""

    status: str


def add_label_studio_routes(app: FastAPI, backend: LabelStudioBackend) -> None:
    """Add the addresses to an application."""

    @app.get("/")
    @app.get("/health")
    async def check_health() -> HealthBody:
        return HealthBody(status="UP", model_class=backend.model_version)

    @app.post("/setup")
    async def set_up() -> SetupBody:
        return SetupBody(model_version=backend.model_version)

    @app.post("/webhook")
    async def receive_event() -> WebhookBody:
        return WebhookBody(status="ok")

    @app.get("/metrics")
    async def read_model_metrics() -> dict[str, Any]:
        return {}

    @app.post("/predict")
    async def predict(body: PredictRequest, request: Request, service: ServiceOf) -> PredictBody:
        context = body.params.context if body.params is not None else None
        drawn = context.result if context is not None else []

        def work() -> PredictBody:
            return PredictBody(results=backend.predict(body.tasks, body.label_config, drawn))

        return await service.ask(request, "label-studio", work, heavy=not drawn)
