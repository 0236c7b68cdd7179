"""Questions about an image: one address for each method of `EncodedImage`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Depends, Request

from seem.encoded_image import EncodedImage
from seem.server.problems import problem_responses
from seem.server.question_schemas import (
    EverythingQuestion,
    FindQuestion,
    InstancesQuestion,
    PanopticQuestion,
    Question,
    SegmentManyQuestion,
    SegmentQuestion,
    SemanticQuestion,
)
from seem.server.result_schemas import ResultBody, to_result_body
from seem.server.routes.images import ImageId
from seem.server.service import Service, ServiceOf

router = APIRouter(
    prefix="/images/{image_id}",
    tags=["questions"],
    responses=problem_responses(400, 404, 410, 413, 422, 504),
)


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """An image that a request asks about."""

    image: EncodedImage
    request: Request
    service: Service

    async def answer(self, question: Question, *, heavy: bool = True) -> ResultBody:
        """Answer a question in a worker; `heavy` says that it takes more than a few passes of the network."""

        def work() -> ResultBody:
            results = question.answer(self.image, self.service.find_image)
            return to_result_body(results, question.masks, question.has_labels)

        return await self.service.ask(self.request, question.task, work, heavy=heavy)


def image_request(image_id: ImageId, request: Request, service: ServiceOf) -> ImageRequest:
    """Return the image that a request asks about; `Problem` for an unknown id."""
    return ImageRequest(service.find_image(image_id), request, service)


ImageRequestOf: TypeAlias = Annotated[ImageRequest, Depends(image_request)]


@router.post("/panoptic")
async def ask_panoptic(question: PanopticQuestion, image: ImageRequestOf) -> ResultBody:
    """Segment every thing and stuff region; masks do not overlap."""
    return await image.answer(question)


@router.post("/instances")
async def ask_instances(question: InstancesQuestion, image: ImageRequestOf) -> ResultBody:
    """Segment every countable thing, best first; masks may overlap."""
    return await image.answer(question)


@router.post("/semantic")
async def ask_semantic(question: SemanticQuestion, image: ImageRequestOf) -> ResultBody:
    """Give every pixel a class; one mask for each class that is there."""
    return await image.answer(question)


@router.post("/find")
async def ask_find(question: FindQuestion, image: ImageRequestOf) -> ResultBody:
    """Segment everything that a phrase, or one of several, fits; best first."""
    return await image.answer(question)


@router.post("/everything")
async def ask_everything(question: EverythingQuestion, image: ImageRequestOf) -> ResultBody:
    """Segment every region, without prompt or class; best first, masks may lie in each other."""
    return await image.answer(question)


@router.post("/segment")
async def ask_segment(question: SegmentQuestion, image: ImageRequestOf) -> ResultBody:
    """Segment the one object that all prompts together describe."""
    return await image.answer(question, heavy=False)


@router.post("/segment-many")
async def ask_segment_many(question: SegmentManyQuestion, image: ImageRequestOf) -> ResultBody:
    """Segment several objects, each described by its own prompts; ids count them from 1."""
    return await image.answer(question)
