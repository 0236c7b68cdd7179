"""Questions about an image: one address for each method of `EncodedImage`."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request

from seem.encoded_image import EncodedImage
from seem.results import Results
from seem.server.problems import problem_responses
from seem.server.prompt_schemas import to_prompts
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


@router.post("/panoptic")
async def ask_panoptic(
    image_id: ImageId, question: PanopticQuestion, request: Request, service: ServiceOf
) -> ResultBody:
    """Segment every thing and stuff region; masks do not overlap."""

    def answer(image: EncodedImage) -> Results:
        return image.panoptic(question.vocabulary(), question.threshold)

    return await ask_classes(image_id, question, request, service, answer)


@router.post("/instances")
async def ask_instances(
    image_id: ImageId, question: InstancesQuestion, request: Request, service: ServiceOf
) -> ResultBody:
    """Segment every countable thing, best first; masks may overlap."""

    def answer(image: EncodedImage) -> Results:
        return image.instances(
            question.vocabulary(),
            question.threshold,
            question.top,
            mask_nms_threshold=question.mask_nms_threshold,
        )

    return await ask_classes(image_id, question, request, service, answer)


@router.post("/semantic")
async def ask_semantic(
    image_id: ImageId, question: SemanticQuestion, request: Request, service: ServiceOf
) -> ResultBody:
    """Give every pixel a class; one mask for each class that is there."""

    def answer(image: EncodedImage) -> Results:
        return image.semantic(question.vocabulary())

    return await ask_classes(image_id, question, request, service, answer)


@router.post("/find")
async def ask_find(
    image_id: ImageId, question: FindQuestion, request: Request, service: ServiceOf
) -> ResultBody:
    """Segment everything that a phrase, or one of several, fits; best first."""

    def answer(image: EncodedImage) -> Results:
        return image.find(question.phrases, question.threshold, against=question.against)

    return await ask_classes(image_id, question, request, service, answer)


@router.post("/everything")
async def ask_everything(
    image_id: ImageId, question: EverythingQuestion, request: Request, service: ServiceOf
) -> ResultBody:
    """Segment every region, without prompt or class; best first, masks may lie in each other."""
    image = service.find_image(image_id)

    def work() -> ResultBody:
        results = image.everything(
            question.points_per_side,
            pred_iou_threshold=question.pred_iou_threshold,
            stability_score_threshold=question.stability_score_threshold,
            box_nms_threshold=question.box_nms_threshold,
            crop_n_layers=question.crop_n_layers,
            min_mask_region_area=question.min_mask_region_area,
        )
        return to_result_body(results, question.masks, question.labels)

    return await service.ask(request, "everything", work, heavy=True)


@router.post("/segment")
async def ask_segment(
    image_id: ImageId, question: SegmentQuestion, request: Request, service: ServiceOf
) -> ResultBody:
    """Segment the one object that all prompts together describe."""
    image = service.find_image(image_id)

    def work() -> ResultBody:
        prompts = to_prompts(question.prompts, image.hw, service.find_image)
        results = image.segment(
            *prompts,
            text_threshold=question.text_threshold,
            candidates=question.candidates,
            refine=question.refine,
        )
        return to_result_body(results, question.masks, question.labels)

    return await service.ask(request, "segment", work)


@router.post("/segment-many")
async def ask_segment_many(
    image_id: ImageId, question: SegmentManyQuestion, request: Request, service: ServiceOf
) -> ResultBody:
    """Segment several objects, each described by its own prompts; ids count them from 1."""
    image = service.find_image(image_id)

    def work() -> ResultBody:
        objects = [to_prompts(each, image.hw, service.find_image) for each in question.objects]
        results = image.segment_many(
            objects, text_threshold=question.text_threshold, refine=question.refine
        )
        return to_result_body(results, question.masks, question.labels)

    return await service.ask(request, "segment-many", work, heavy=True)


async def ask_classes(
    image_id: str,
    question: Question,
    request: Request,
    service: Service,
    answer: Callable[[EncodedImage], Results],
) -> ResultBody:
    """Answer a question whose results have names."""
    image = service.find_image(image_id)

    def work() -> ResultBody:
        return to_result_body(answer(image), question.masks, labels=True)

    task = type(question).__name__.removesuffix("Question").lower()
    return await service.ask(request, task, work, heavy=True)
