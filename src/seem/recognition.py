"""What is in a photo: every class, every thing, all that a phrase fits, everything.

Object queries answer; for a model that knows what every place means (nano) the places say what is there, and the dense
head where. `EncodedImage` says what each question means; the rules are in `tasks/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from seem.asking import Asked
from seem.mask_codec import PackedMask
from seem.models.segmenter import unit_vectors
from seem.models.text.templates import BARE, TEMPLATES, class_phrases
from seem.predictor import MEANING_STRIDE, Encoding, Found, Predictor, nobody, shortened
from seem.prompts import Point, Text
from seem.rasterize import PixelBox
from seem.results import Labels, Proposal
from seem.tasks.components import clean_mask, clean_segment_map
from seem.tasks.everything import (
    EverythingSettings,
    MaskBatch,
    SearchView,
    crop_boxes,
    find_everything,
    object_query_masks,
    shrink_masks,
)
from seem.tasks.find import SAME_OBJECT, competing, divide, everything_that_fits, with_rivals
from seem.tasks.instance import foreground_probability, top_query_classes
from seem.tasks.interactive import distinct
from seem.tasks.panoptic import PHRASE_OVERLAP_THRESHOLD, ConfidentQueries, merge_masks, select_confident
from seem.tasks.postprocess import each_to_image_size, to_image_size, to_input_size, to_output_size
from seem.tasks.semantic import SemanticPrediction, classes_in_image, classify_by_queries, classify_by_text_map
from seem.vocabulary import Classes, Vocabulary

MOST_CLASSES = 24  # of a photo, where each is asked for as a phrase
SHORTLIST = 128  # classes whose presence is judged
ISLANDS = "phrases, their islands"  # who answered
TEXT_BATCH = 512  # phrases encoded together, which bounds memory


def encode_classes(
    model: Encoding, names: Sequence[str], templates: Sequence[str] | None = None
) -> Float[Tensor, "k d"]:
    """Return the normalised embedding of every name; `templates` None = those that the model was taught with.

    The published rule: every name in every template, the mean of the normalised vectors, normalised.
    """
    if templates is None:
        templates = TEMPLATES if model.network.config.text.templates == "all" else (BARE.removesuffix("."),)
    together = max(1, TEXT_BATCH // len(templates))  # names
    rows = []
    for start in range(0, len(names), together):
        phrases = class_phrases(names[start : start + together], templates)
        vectors = unit_vectors(model.encode_phrases(phrases).phrases.float())
        rows.append(torch.unflatten(vectors, 0, (-1, len(templates))).mean(dim=1))
    means = torch.cat(rows)
    length: Tensor = means.norm(dim=-1, keepdim=True)
    return means / length


# --- Every thing and every region -------------------------------------------------------------------------------------


def panoptic(photo: Predictor, vocabulary: Vocabulary, threshold: float) -> Found:
    """Segment every thing and stuff region whose class score passes the threshold; masks do not overlap."""
    is_thing = torch.tensor(vocabulary.is_thing)
    hw = photo.photo.hw
    if photo.model.network.mask_refiner is not None:
        there = islands_there(photo, vocabulary, threshold)
        sure = ConfidentQueries(torch.arange(len(there.rows)), there.scores, torch.tensor(there.rows, dtype=torch.long))
        merged = merge_masks(
            sure, each_to_image_size(there.islands, photo.frame), hw, is_thing, PHRASE_OVERLAP_THRESHOLD
        )
        kind, vectors = ISLANDS, photo.model.classifier(vocabulary)[[segment.category for segment in merged.segments]]
    else:
        found, class_logits = photo.classified(vocabulary)
        sure, kind = select_confident(class_logits, threshold), "object queries"
        merged = merge_masks(sure, each_to_image_size(found.mask_logits[sure.queries], photo.frame), hw, is_thing)
        vectors = found.class_vectors[[segment.query for segment in merged.segments]]
    ids = merged.ids.cpu().numpy()
    scores = tuple(segment.score for segment in merged.segments)
    names = tuple(vocabulary[segment.category].name for segment in merged.segments)
    numbers = [segment.id for segment in merged.segments]
    if photo.model.network.mask_refiner is not None:
        ids = clean_segment_map(ids, numbers)
    masks = [PackedMask.pack(ids == number, hw) for number in numbers]
    return Found(masks, scores, Labels(names, scores), kind, vectors)


def instances(photo: Predictor, vocabulary: Vocabulary, threshold: float, top: int, nms: float | None) -> Found:
    """Segment every countable thing, best first: the `top` pairs of query and class that score `threshold` or more.

    Of masks whose IoU is above `nms` the better one stays; None = the model's own, `SAME_OBJECT` or all.
    """
    if photo.model.network.mask_refiner is not None:
        return instances_of_places(photo, vocabulary, threshold, top, SAME_OBJECT if nms is None else nms)
    found, logits = photo.classified(vocabulary)
    best = top_query_classes(logits, torch.tensor(vocabulary.is_thing), top)
    small = to_input_size(found.mask_logits, photo.frame)
    sure = torch.stack([foreground_probability(mask) for mask in small])
    scores = best.scores * sure[best.queries]
    order = [i for i in scores.argsort(descending=True).tolist() if scores[i] >= threshold]
    if nms is not None and nms < 1:
        order = [order[k] for k in distinct(small[best.queries[order]] > 0, nms)]
    queries = best.queries[order].tolist()
    full = {query: photo.pack(to_output_size(small[query][None], photo.frame)[0]) for query in set(queries)}
    kept = [(i, query) for i, query in zip(order, queries, strict=True) if full[query].area]
    names = tuple(vocabulary[int(best.classes[i])].name for i, _ in kept)
    return Found(
        [full[query] for _, query in kept],
        [float(scores[i]) for i, _ in kept],
        Labels(names, tuple(float(best.scores[i]) for i, _ in kept)),
        "object queries",
        found.class_vectors[[query for _, query in kept]],
    )


def instances_of_places(photo: Predictor, vocabulary: Vocabulary, threshold: float, top: int, nms: float) -> Found:
    """Ask a dense head for the things that are likeliest there; the islands of their masks are the instances."""
    there = islands_there(photo, vocabulary, threshold, things_only=True)
    masks = {place: tidied(photo, there.islands[place]) for place in distinct(there.islands > 0, nms)[:top]}
    order = [place for place, mask in masks.items() if mask.area]
    rows, scores = [there.rows[place] for place in order], there.scores[order].tolist()
    names = tuple(vocabulary[row].name for row in rows)
    vectors = photo.model.classifier(vocabulary)[rows] if rows else None
    return Found([masks[place] for place in order], scores, Labels(names, tuple(scores)), ISLANDS, vectors)


def semantic(photo: Predictor, vocabulary: Vocabulary) -> Found:
    """Give every pixel a class; one mask for each class that is there."""
    answer, kind, sure = class_of_pixels(photo, vocabulary)
    winners = answer.classes.cpu().numpy()
    present = [k for k in np.unique(winners).tolist() if k < len(vocabulary)]
    notes = () if sure else (f"{photo.model.name} is sure of none of the classes; it names the likeliest alone",)
    scores = tuple(float(answer.scores[answer.classes == k].mean().clamp(0, 1)) for k in present)
    masks = [PackedMask.pack(winners == k, photo.photo.hw) for k in present]
    names = tuple(vocabulary[k].name for k in present)
    return Found(masks, scores, Labels(names, scores), kind, photo.model.classifier(vocabulary)[present], notes=notes)


def class_of_pixels(photo: Predictor, vocabulary: Vocabulary) -> tuple[SemanticPrediction, str, bool]:
    """Ask every pixel for its class; returns who answered, too, and whether the photo surely shows one of them."""
    meaning = photo.memory.text_map
    if meaning is None:
        found, logits = photo.classified(vocabulary)
        return (
            classify_by_queries(logits, found.mask_logits, photo.frame, vocabulary.background),
            "object queries",
            True,
        )
    places = meaning[0].float()
    said = photo.class_logits(places.flatten(1).T, photo.model.classifier(vocabulary))
    logits = torch.unflatten(said.T, 1, places.shape[1:])
    if photo.model.classes is not None:  # one that was fine-tuned tells its classes apart pixel by pixel
        return classify_by_text_map(logits, photo.frame, vocabulary.background), "places", True
    height, width = (-(-side // MEANING_STRIDE) for side in photo.frame.input_hw)  # padding is nobody's
    likely = likeliest(photo, vocabulary)
    there, sure = classes_in_image(logits[:-1, :height, :width], likely)
    rows = torch.cat((there, there.new_tensor([len(vocabulary)])))
    named = logits[rows]
    best = classify_by_text_map(named, photo.frame, vocabulary.background)
    competing = slice(None) if vocabulary.background else slice(-1)
    share = (named[competing].logsumexp(dim=0) - logits[competing].logsumexp(dim=0)).exp()
    scores = (
        best.scores
        * to_image_size(share[None], photo.frame)[0]
        * torch.cat((likely, likely.new_ones(1)))[rows][best.classes]
    )
    return SemanticPrediction(rows[best.classes], scores), "places", sure


# --- All that a phrase fits -------------------------------------------------------------------------------------------


def find(photo: Predictor, vocabulary: Vocabulary, threshold: float, against: Classes) -> Found:
    """Segment everything that one of the phrases fits, best first, each object once; `against` are rivals' names."""
    if photo.model.network.mask_refiner is not None:
        return find_places(photo, vocabulary, threshold, against)
    found, logits = photo.classified(vocabulary)
    others = photo.class_logits(found.class_vectors, rivals(photo, vocabulary, against))
    small = to_input_size(found.mask_logits, photo.frame)
    fitting = everything_that_fits(with_rivals(logits, others), small, threshold)
    queries = fitting.queries.tolist()
    names = tuple(vocabulary[k].name for k in fitting.phrases.tolist())
    return Found(
        [photo.pack(to_output_size(small[query][None], photo.frame)[0]) for query in queries],
        fitting.scores.tolist(),
        Labels(names, tuple(fitting.phrase_scores.tolist())),
        "object queries",
        found.class_vectors[queries],
        notes=unanswered(vocabulary, names),
    )


def unanswered(vocabulary: Vocabulary, names: Sequence[str], outdone: Sequence[str] = ()) -> tuple[str, ...]:
    """Say of phrases without an object that nothing fits them, or that another phrase fits the same better."""
    return tuple(
        f"{shortened(name)!r} fits what another phrase fits better"
        if name in outdone
        else f"{shortened(name)!r} was not found"
        for name in vocabulary.names
        if name not in names
    )


def find_places(photo: Predictor, vocabulary: Vocabulary, threshold: float, against: Classes) -> Found:
    """Ask a dense head for each phrase that is in the photo, and divide its mask into objects."""
    vectors = photo.model.classifier(vocabulary)[: len(vocabulary)]
    sure = photo.presence(vectors, against)
    there = [row for row in sure.argsort(descending=True, stable=True).tolist() if sure[row] >= threshold]
    found = look_for(photo, vocabulary, there, vectors, against)
    likely = found.scores >= threshold
    best = {row: place for place, row in reversed([*enumerate(found.rows)])}  # the largest part of what is there
    likely[[*best.values()]] = True
    order = [place for place in found.scores.argsort(descending=True, stable=True).tolist() if likely[place]]
    once = distinct(found.islands[order] > 0, SAME_OBJECT)
    packed = {order[k]: tidied(photo, found.islands[order[k]]) for k in once}
    outdone = [vocabulary[found.rows[place]].name for place in order if place not in packed]
    order = [place for place, mask in packed.items() if mask.area]  # an island of a few cells may vanish among pixels
    rows, scores = [found.rows[place] for place in order], found.scores[order].tolist()
    names = tuple(vocabulary[row].name for row in rows)
    return Found(
        [packed[place] for place in order],
        scores,
        Labels(names, tuple(scores)),
        ISLANDS,
        vectors[rows] if rows else None,
        notes=unanswered(vocabulary, names, outdone),
    )


def tidied(photo: Predictor, island: Float[Tensor, "h w"]) -> PackedMask:
    """Draw an island on the photo, without crumbs."""
    inside = to_image_size(island[None], photo.frame)[0] > 0
    return PackedMask.pack(clean_mask(inside.cpu().numpy()), photo.photo.hw)


@dataclass(frozen=True, slots=True, eq=False)
class Islands:
    """What a dense head answered for classes, in islands: the class of each, its mask logits, and a score (0-1)."""

    rows: list[int]
    islands: Float[Tensor, "n h w"]
    scores: Float[Tensor, " n"]


def islands_there(photo: Predictor, vocabulary: Vocabulary, threshold: float, *, things_only: bool = False) -> Islands:
    """Ask places which classes are in the photo, and the dense head where; best first, those of `threshold` or more.

    Score = how surely the class is in the photo, times how surely the island's own places show it, times its mean mask
    probability. Stuff is one island wherever it is.
    """
    vectors = photo.model.classifier(vocabulary)[: len(vocabulary)]
    there = likeliest(photo, vocabulary)
    if things_only:
        there = there.masked_fill(~torch.tensor(vocabulary.is_thing, device=there.device), -1)
    rows = [row for row in there.topk(min(MOST_CLASSES, len(there))).indices.tolist() if there[row] >= threshold]
    found = look_for(photo, vocabulary, rows, vectors, among=vocabulary)
    sure = [foreground_probability(to_input_size(island[None], photo.frame)[0]) for island in found.islands]
    scores = there[found.rows] * found.scores * (torch.stack(sure) if sure else 1)
    order = [place for place in scores.argsort(descending=True, stable=True).tolist() if scores[place] >= threshold]
    return Islands([found.rows[place] for place in order], found.islands[order], scores[order])


def look_for(
    photo: Predictor,
    vocabulary: Vocabulary,
    rows: Sequence[int],
    vectors: Float[Tensor, "k d"],
    against: Classes = None,
    among: Vocabulary | None = None,
) -> Islands:
    """Ask a dense head for some classes of a vocabulary; an island scores how surely its own places show the class."""
    answers = photo.ask([Asked.of([Text(vocabulary.phrases[row])]) for row in rows])
    found = []
    for place, row in enumerate(rows):
        logits = answers[place][0].logits
        found += [(row, part) for part in (divide(logits) if vocabulary.is_thing[row] else [logits])]
    islands = torch.stack([part for _, part in found] or [vectors.new_zeros(1, 1)])[: len(found)]
    classes = [row for row, _ in found]
    return Islands(classes, islands, photo.presence(vectors[classes], against, among, regions=islands > 0))


def likeliest(photo: Predictor, vocabulary: Vocabulary) -> Float[Tensor, " k"]:
    """Score how surely each class of a vocabulary is in the photo; 0 for all but those that places name first.

    Nobody has the time to ask for each of thousands.
    """
    vectors = photo.model.classifier(vocabulary)[: len(vocabulary)]
    rows = photo.named_first(vectors, SHORTLIST)
    there = vectors.new_zeros(len(vocabulary))
    there[rows] = photo.presence(vectors[rows], among=vocabulary)
    return there


def rivals(photo: Predictor, vocabulary: Vocabulary, against: Classes) -> Float[Tensor, "r d"]:
    """Return the embeddings of the names that compete with what is looked for."""
    looked_for = photo.model.classifier(vocabulary)[:-1]
    if against is None:
        names = photo.model.vocabulary()
        table = photo.model.classifier(names)[:-1]
        return table[competing(vocabulary.phrases, looked_for, names.phrases, table)]
    if nobody(against):
        return looked_for[:0]
    names = Vocabulary.coerce(against)
    said = {phrase.casefold() for phrase in vocabulary.phrases}
    kept = [row for row, phrase in enumerate(names.phrases) if phrase.casefold() not in said]
    return photo.model.classifier(names)[kept]


# --- Everything -------------------------------------------------------------------------------------------------------


def everything(photo: Predictor, settings: EverythingSettings) -> tuple[Found, tuple[Proposal, ...]]:
    """Segment whatever there is, best first, and say how each mask was come by."""
    findings = find_everything(views(photo, settings), photo.photo.hw, settings)
    masks = tuple(finding.mask for finding in findings)
    whole = bool(findings) and settings.crop_n_layers == 0  # logits go back in only in the frame of the whole photo
    found = Found(
        masks,
        [finding.proposal.predicted_iou for finding in findings],
        lambda: photo.label(shrink_masks(masks, photo.frame).to(photo.model.device)),
        "object queries" if photo.model.network.decoder.policy.visual is None else "object queries, visual",
        torch.stack([finding.vector for finding in findings]) if findings else None,
        torch.stack([finding.logits for finding in findings]) if whole else None,
    )
    return found, tuple(finding.proposal for finding in findings)


def views(photo: Predictor, settings: EverythingSettings) -> Iterator[SearchView]:
    """Look at the photo, then at its crops, one after the other."""
    height, width = photo.photo.hw
    yield view(photo, (0, 0, width, height), 0)
    for layer, box in crop_boxes(photo.photo.hw, settings.crop_n_layers, settings.crop_overlap_ratio):
        yield view(photo.part(box), box, layer)


def view(photo: Predictor, crop_box: PixelBox, layer: int) -> SearchView:
    """Run the object queries, and be ready for clicks where the model takes any."""
    found, logits = photo.classified(photo.model.vocabulary())
    regions = object_query_masks(logits, found.mask_logits, found.class_vectors, photo.frame)
    takes_clicks = photo.model.network.decoder.policy.visual is not None
    return SearchView(crop_box, layer, photo.frame, regions, partial(click_each, photo) if takes_clicks else None)


def click_each(photo: Predictor, points: NDArray[np.float64]) -> MaskBatch:
    """Click at positions (N, 2), in edge coordinates: one object a click."""
    pixels = points - 0.5
    answers = photo.ask([Asked.of([Point(float(x), float(y))]) for x, y in pixels])
    best = [answers[row][0] for row in range(len(points))]
    logits, vectors = torch.stack([one.logits for one in best]), torch.stack([one.vector for one in best])
    return MaskBatch(logits, torch.tensor([one.score for one in best], device=logits.device), vectors)
