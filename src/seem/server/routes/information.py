"""What this server is: its model, what that takes, its limits."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from pydantic import BaseModel, Field

from seem.annotation_formats.formats import IMAGE_FORMATS, VIDEO_FORMATS
from seem.model import Model
from seem.server.service import ServiceOf
from seem.version import __version__

router = APIRouter(tags=["information"])


class ModelBody(BaseModel):
    """The model that answers."""

    name: str
    sha256: str | None
    parameters: int
    device: str
    precision: str
    visual_prompts: bool = Field(description="Takes points, strokes, polygons, boxes and masks.")
    references: bool = Field(description="Takes regions of other images.")
    captions: bool
    classes: list[str] = Field(description="Its own class names, where a question gives none.")


class InformationBody(BaseModel):
    """What a client should know before it asks."""

    version: str
    model: ModelBody
    limits: dict[str, float] = Field(description="Bytes, pixels, seconds and counts.")
    image_formats: list[str] = Field(description="Formats of `export`.")
    video_formats: list[str] = Field(description="Formats of a job's export.")
    project: str | None = Field(description="Name of the project; null where there is none.")


@router.get("/info")
async def describe_server(service: ServiceOf) -> InformationBody:
    """Describe the model and the limits."""
    return InformationBody(
        version=__version__,
        model=to_model_body(service.model),
        limits=asdict(service.settings.limits),
        image_formats=[each.name for each in IMAGE_FORMATS],
        video_formats=[each.name for each in VIDEO_FORMATS],
        project=None if service.project is None else service.project.name,
    )


def to_model_body(model: Model) -> ModelBody:
    """Describe a model."""
    decoder = model.network.decoder
    return ModelBody(
        name=model.name,
        sha256=model.sha256,
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        device=str(model.device),
        precision=model.precision,
        visual_prompts=bool(decoder.policy.visual),
        references=decoder.policy.reference is not None,
        captions=decoder.captions is not None,
        classes=list(model.vocabulary().names),
    )
