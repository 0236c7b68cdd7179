"""The objective that the published models were trained with, on the batches of our sampler.

Every object and stuff region, up to four phrases a photo, and visual prompts in several rounds: all rounds but the last
run without gradient, each adds a click on what is still wrong and hands its mask on as memory. X-Decoder takes no
visual prompts and learns captions, their nouns and retrieval instead. Sources: SEEM (arXiv 2304.06718, sections 3 and
4), X-Decoder (arXiv 2212.11270) and the released settings. The switches of `PublishedObjective` are the papers'
ablations.
Marks are those of the published strokes (`seem.simulation.strokes.PUBLISHED`) on up to ten objects a photo.
Known differences: class names are those that the photos of a batch are annotated for, not one fixed list; captions are
learned on the photos of the batch that have one, not on another set of photos of their own size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seem.data.transforms import TrainingSample
from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import RandomDraws
from seem.models.decoder.policy import RowKind
from seem.models.ops.masks import dot
from seem.models.segmenter import Segmenter, unit_vectors
from seem.models.structures import (
    CaptionPrefix,
    DecoderOutput,
    DecoderQuery,
    PhraseTokens,
    QueryOutputs,
    TextFeatures,
    VisualPrompts,
)
from seem.models.text.templates import BARE, TEMPLATES
from seem.models.text.tokenizer import BytePairTokenizer
from seem.simulation.next_click import seem_next_clicks
from seem.training.captions import TOP_HEADS, CaptionPrediction, Captions, CaptionWeights, Nouns, caption_terms
from seem.training.criterion import (
    HeadTerms,
    Judgement,
    ObjectPrediction,
    ObjectTargets,
    PhrasePrediction,
    PhraseTargets,
    Prediction,
    Targets,
    VisualPrediction,
    VisualTargets,
    Weights,
    criterion,
)
from seem.training.nouns import meaning, nouns_of
from seem.training.targets import PhraseBook, TrainingBatch, every

BACKGROUND = "background"
MAX_NAMES = 256  # class names compared in one step
WHOLE_PHOTO = frozenset({RowKind.CAPTION, RowKind.IMAGE})  # who answers for captions and retrieval


@dataclass(frozen=True, slots=True)
class PublishedObjective:
    """What a step counts; the defaults are those of the released SEEM v1 models.

    Ablations: `rounds=0` (no interactive rounds), `memory=False` (rounds forget the mask before), `positive=False`
    (rounds add no positive clicks), `negative=False` (no negative marks or clicks), `objects`, `phrases`, `visual` or
    `captions` off.
    """

    rounds: int = 5
    """At most so many rounds without gradient come before the one that counts; 0 to all of them, each as often."""
    memory: bool = True
    positive: bool = True
    negative: bool = True
    objects: bool = True
    phrases: bool = True
    visual: bool = True
    captions: bool = True
    """Captions, their nouns and retrieval, for models that have them (X-Decoder) and photos that have a caption.

    Nouns go to the queries that objects leave over, so without `objects` they are not charged.
    """
    max_phrases: int = 4
    phrase_weight: float = 2.0
    name_weight: float = 0.5
    judgement: Judgement = field(default_factory=Judgement)
    weights: Weights = field(default_factory=Weights)
    caption_weights: CaptionWeights = field(default_factory=CaptionWeights)


class Speech:
    """Class names and phrases as token ids; `templated` puts names into one of the published templates at random."""

    def __init__(self, tokenizer: BytePairTokenizer, templated: bool) -> None:
        self.book = PhraseBook(tokenizer)
        self.templated = templated

    def named(self, name: str, rng: np.random.Generator) -> str:
        """Say a class name."""
        template = TEMPLATES[int(rng.integers(len(TEMPLATES)))] if self.templated else BARE.rstrip(".")
        return template.replace("{}", name)

    def encode(self, model: Segmenter, texts: Sequence[str]) -> TextFeatures:
        """Encode texts where the network is."""
        return self.book.encode(model, texts)


@dataclass(frozen=True, slots=True)
class Said:
    """The phrases of one photo: texts, their masks and what they are equal to; `weight` as in `PhraseTargets`."""

    texts: tuple[str, ...]
    meanings: tuple[str, ...]
    masks: Bool[np.ndarray, "n s s"]
    weight: float


def published_loss(
    model: Segmenter,
    batch: TrainingBatch,
    speech: Speech,
    objective: PublishedObjective,
    rng: np.random.Generator,
    count_of: Callable[[int], float] = float,
) -> tuple[Tensor, dict[str, float]]:
    """Price one batch; returns the loss and the sums of each kind of term, weighted.

    `count_of` turns the number of objects of the batch into what their masks' losses are divided by: with several
    processes, the mean over them.
    """
    asked = asked_kinds(model, objective)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    device = batch.truth.device

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=generator).to(device)

    image = model.encode_image(batch.images)
    names = names_of_batch(batch.samples, rng)
    said = [phrases_of(sample, objective, speech, rng) for sample in batch.samples]
    told = told_about(batch.samples, rng) if asked >= WHOLE_PHOTO else ()
    if not any(told) and asked != WHOLE_PHOTO:
        asked, told = asked - WHOLE_PHOTO, ()
    nouns = [nouns_of(text) for text in told] if RowKind.OBJECT in asked else []
    texts = [speech.named(name, rng) for name in names] + [text for photo in said for text in photo.texts]
    texts += [speech.named(noun, rng) for photo in nouns for noun in photo]
    encoded = speech.encode(model, [*texts, *told])
    classes = unit_vectors(encoded.phrases[: len(names)].float())
    spoken = PhraseTokens(*phrase_tokens(encoded, said, len(names))) if RowKind.PHRASE in asked else None
    targets = [
        truth_about(batch, b, names, said[b], encoded, offset, asked)
        for b, offset in enumerate(offsets(said, len(names)))
    ]
    captions = captions_of(model, image, encoded, told, speech) if told else None
    if captions is not None and nouns:
        meant = [*names, *(text for photo in said for text in photo.meanings)]
        captions = replace(captions, nouns=nouns_among(encoded, meant, nouns, told, targets))

    prompts, previous = (
        play(model, image, batch, objective, rng, generator) if RowKind.VISUAL in asked else (None, None)
    )
    tokens = None if prompts is None else model.encode_prompts(prompts, image, RandomDraws(generator))
    question = DecoderQuery(
        visual=tokens,
        phrases=spoken,
        caption=None if captions is None else CaptionPrefix(captions.tokens),
        previous=previous if objective.memory else None,
        num_objects=batch.truth.shape[1] if tokens is not None else 0,
    )
    output = model.decode(image, question, asked, RandomDraws(generator), intermediate=True)
    vectors = None if tokens is None else tokens.positive_vectors
    said_by_heads = (replace(output, intermediate=()), *reversed(output.intermediate))
    heads = [
        prediction(model, each, image, classes, vectors, kinds)
        for i, each in enumerate(said_by_heads)
        if (kinds := charged_kinds(model, asked, i))
    ]
    objects = count_of(sum(len(truth.objects.classes) for truth in targets if truth.objects is not None))
    terms = criterion(heads, targets, draw, judgement=objective.judgement, num_objects=objects)
    total = terms.total(objective.weights)
    sums = shares(terms.heads, objective.weights)
    if captions is not None:
        whole = [about_whole(each) for each in said_by_heads]
        matches = [head.objects.matches for head in terms.heads if head.objects is not None]
        price = caption_terms(whole, captions, matches).total(objective.caption_weights)
        total = total + price
        sums["captions"] = float(price.detach())
    return total, {**sums, "total": float(total.detach())}


def asked_kinds(model: Segmenter, objective: PublishedObjective) -> frozenset[RowKind]:
    """Return the query groups that a step asks; `ValueError` for a version that has none of its own for prompts."""
    policy = model.decoder.policy
    if policy.visual is RowKind.OBJECT:
        raise ValueError(f"{model.config.name} is v0's weights under another policy; train seem-...-v0 instead.")
    wanted = {
        RowKind.OBJECT: objective.objects,
        RowKind.PHRASE: objective.phrases,
        RowKind.VISUAL: objective.visual,
        **dict.fromkeys(WHOLE_PHOTO, objective.captions),
    }
    asked = frozenset(kind for kind, on in wanted.items() if on and policy.group(kind) is not None)
    if not asked:
        raise ValueError(
            f"Nothing is left to train {model.config.name} on; switch objects, phrases, visual or captions on."
        )
    return asked


def charged_kinds(model: Segmenter, asked: frozenset[RowKind], head: int) -> frozenset[RowKind]:
    """Return the query groups whose masks one head is charged for (0 = the final one).

    X-Decoder is charged for phrases at its top heads alone, SEEM at all.
    """
    silent = {RowKind.PHRASE} if model.decoder.captions is not None and head >= TOP_HEADS else set()
    return asked - WHOLE_PHOTO - silent


def names_of_batch(samples: Sequence[TrainingSample], rng: np.random.Generator) -> tuple[str, ...]:
    """List the class names of a step: all that the photos are annotated for, what is there first, background last."""
    present = sorted({name for sample in samples for name in sample.names if name in sample.complete_names})
    others = sorted({name for sample in samples for name in sample.complete_names} - set(present))
    room = max(0, MAX_NAMES - len(present))
    if len(others) > room:
        others = [others[i] for i in sorted(rng.choice(len(others), room, replace=False).tolist())]
    return (*present, *others, BACKGROUND)


def phrases_of(sample: TrainingSample, objective: PublishedObjective, speech: Speech, rng: np.random.Generator) -> Said:
    """Choose up to four phrases of a photo: expressions where it has them, else names of its classes."""
    rows = [i for i, phrases in enumerate(sample.phrases) if phrases]
    if rows:
        rows = [rows[i] for i in rng.permutation(len(rows)).tolist()][: objective.max_phrases]
        texts = tuple(sample.phrases[i][int(rng.integers(len(sample.phrases[i])))] for i in rows)
        return Said(texts, texts, sample.masks[rows], objective.phrase_weight)
    names = sorted(set(sample.names) & sample.complete_names - {""})
    names = [names[i] for i in rng.permutation(len(names)).tolist()]
    names = names[: int(rng.integers(1, objective.max_phrases + 1))]
    masks = np.stack([every(sample, name) for name in names]) if names else sample.masks[:0]
    return Said(tuple(speech.named(name, rng) for name in names), tuple(names), masks, objective.name_weight)


def told_about(samples: Sequence[TrainingSample], rng: np.random.Generator) -> tuple[str, ...]:
    """Choose one caption of every photo; empty where it has none."""
    return tuple(
        sample.captions[int(rng.integers(len(sample.captions)))] if sample.captions else "" for sample in samples
    )


def captions_of(
    model: Segmenter, image: ImageEncoding, encoded: TextFeatures, told: Sequence[str], speech: Speech
) -> Captions:
    """Lay out the captions, the last of the encoded texts, one a photo."""
    ids, valid = (each.to(encoded.tokens.device) for each in speech.book(told))
    there = torch.tensor([bool(text) for text in told], device=valid.device)
    return Captions(
        ids=ids,
        valid=valid & there[:, None],
        tokens=encoded.tokens[-len(told) :, : ids.shape[1]],
        vectors=encoded.phrases[-len(told) :],
        table=model.text.tokens.weight,
        scale=model.text.logit_scale.exp().clamp(max=100),
        backbone=image.summary,
    )


def nouns_among(
    encoded: TextFeatures,
    meant: Sequence[str],
    nouns: Sequence[tuple[str, ...]],
    told: Sequence[str],
    targets: Sequence[Targets],
) -> Nouns:
    """Say which of the encoded texts call which photo's regions.

    The texts are class names (numbered by `targets`), phrases, nouns and captions; `meant` is what the first two mean.
    """
    meanings = [meaning(text) for text in (*meant, *(noun for photo in nouns for noun in photo), *told)]
    number = {text: k for k, text in enumerate(dict.fromkeys(meanings))}
    device = encoded.phrases.device
    spoken, first, captions = [], len(meant), len(meanings) - len(told)
    for b, (photo, caption) in enumerate(zip(nouns, told, strict=True)):
        rows = [*range(first, first + len(photo)), *([captions + b] if caption else [])]
        spoken.append(torch.tensor(rows, dtype=torch.long, device=device))
        first += len(photo)
    called = [truth.objects.classes for truth in targets if truth.objects is not None]
    numbers = torch.tensor([number[text] for text in meanings], device=device)
    return Nouns(encoded.phrases, numbers, tuple(spoken), tuple(called))


def offsets(said: Sequence[Said], first: int) -> list[int]:
    """Return the row of each photo's first phrase among the encoded texts."""
    counts = [len(photo.texts) for photo in said]
    return [first + sum(counts[:b]) for b in range(len(counts))]


def phrase_tokens(encoded: TextFeatures, said: Sequence[Said], first: int) -> tuple[Tensor, Tensor]:
    """Lay out each photo's phrases one after the other; returns tokens and owners (-1 on padding)."""
    tokens = []
    for photo, offset in zip(said, offsets(said, first), strict=True):
        rows = slice(offset, offset + len(photo.texts))
        tokens.append(encoded.tokens[rows][encoded.valid[rows]])
    pad = torch.nn.utils.rnn.pad_sequence
    owners = [torch.zeros(len(rows), dtype=torch.long, device=rows.device) for rows in tokens]
    return pad(tokens, batch_first=True), pad(owners, batch_first=True, padding_value=-1)


@torch.no_grad()
def play(
    model: Segmenter,
    image: ImageEncoding,
    batch: TrainingBatch,
    objective: PublishedObjective,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> tuple[VisualPrompts, Float[Tensor, "b n h w"] | None]:
    """Let the invented user correct the network for some rounds; returns all prompts and the last mask."""
    positive = (batch.positive | batch.bounds).clone()
    negative = batch.negative.clone() if objective.negative else torch.zeros_like(batch.negative)
    previous: Tensor | None = None
    for _ in range(int(rng.integers(0, objective.rounds + 1))):
        tokens = model.encode_prompts(VisualPrompts(positive, negative), image, RandomDraws(generator))
        memory = previous if objective.memory else None
        question = DecoderQuery(visual=tokens, previous=memory, num_objects=positive.shape[1])
        output = model.decode(image, question, frozenset({RowKind.VISUAL}), RandomDraws(generator))
        assert output.visual is not None
        previous = best_masks(output.visual, image, tokens.positive_vectors)
        for b in range(len(positive)):
            clicked = seem_next_clicks(batch.truth[b], previous[b].float(), positive[b], negative[b])
            asked = positive[b].flatten(1).any(-1)[:, None, None]  # what nobody asked about stays silent
            if objective.positive:
                positive[b] = torch.where(asked, clicked.positive, positive[b])
            if objective.negative:
                negative[b] = torch.where(asked, clicked.negative, negative[b])
    return VisualPrompts(positive, negative), previous


def best_masks(
    answers: QueryOutputs, image: ImageEncoding, vectors: Float[Tensor, "b n c"]
) -> Float[Tensor, "b n h w"]:
    """Return, for every object, the mask of that of its queries that fits its prompt best."""
    batch, count = vectors.shape[:2]
    own = answers.mask_embeddings.view(batch, count, -1, answers.mask_embeddings.shape[-1])
    best = (own @ vectors[..., None]).squeeze(-1).argmax(dim=-1)
    chosen = own.gather(2, best[:, :, None, None].expand(-1, -1, 1, own.shape[-1]))[:, :, 0]
    return dot(chosen, image.pixels.mask_features)


def prediction(
    model: Segmenter,
    output: DecoderOutput,
    image: ImageEncoding,
    classes: Float[Tensor, "k d"],
    vectors: Float[Tensor, "b n c"] | None,
    kinds: frozenset[RowKind],
) -> Prediction:
    """Read what one prediction head says of masks."""
    features = image.pixels.mask_features

    def masks(answers: QueryOutputs) -> Tensor:
        return dot(answers.mask_embeddings, features).float()

    objects = phrases = visual = None
    if output.object is not None and RowKind.OBJECT in kinds:
        with torch.autocast(classes.device.type, enabled=False):
            logits = model.class_logits(output.object.class_vectors.float(), classes)
        objects = ObjectPrediction(logits, masks(output.object))
    if output.phrase is not None and RowKind.PHRASE in kinds:
        scale = model.text.logit_scale.exp().clamp(max=100)
        phrases = PhrasePrediction(output.phrase.class_vectors, masks(output.phrase), scale)
    if output.visual is not None:
        assert vectors is not None
        visual = VisualPrediction(output.visual.mask_embeddings, masks(output.visual), vectors)
    return Prediction(objects, phrases, visual)


def about_whole(output: DecoderOutput) -> CaptionPrediction:
    """Read what one prediction head says of whole photos."""
    assert output.caption is not None
    assert output.object is not None
    assert output.image is not None
    return CaptionPrediction(output.caption, output.object.class_vectors, output.image.class_vectors[:, 0])


def truth_about(
    batch: TrainingBatch,
    b: int,
    names: tuple[str, ...],
    said: Said,
    encoded: TextFeatures,
    offset: int,
    asked: frozenset[RowKind],
) -> Targets:
    """Say what is true of one photo."""
    sample, device = batch.samples[b], batch.truth.device
    index = {name: k for k, name in enumerate(names)}
    rows = [i for i, name in enumerate(sample.names) if name in sample.complete_names and name in index]
    objects = ObjectTargets(
        torch.tensor([index[sample.names[i]] for i in rows], dtype=torch.long, device=device),
        torch.from_numpy(sample.masks[rows]).to(device),
    )
    alike = {text: k for k, text in enumerate(dict.fromkeys(said.meanings))}
    phrases = PhraseTargets(
        encoded.phrases[offset : offset + len(said.texts)],
        torch.from_numpy(said.masks).to(device),
        torch.tensor([alike[text] for text in said.meanings], dtype=torch.long, device=device),
        said.weight,
    )
    marked = (batch.positive[b] | batch.bounds[b]).flatten(1).any(-1)
    visual = VisualTargets(batch.truth[b] & marked[:, None, None])
    return Targets(
        objects if RowKind.OBJECT in asked else None,
        phrases if RowKind.PHRASE in asked else None,
        visual if RowKind.VISUAL in asked else None,
    )


def shares(heads: Sequence[HeadTerms], weights: Weights) -> dict[str, float]:
    """Add up the weighted terms of all heads by group, for the log."""
    sums = {}
    for group, weight in (("objects", weights.objects), ("phrases", weights.phrases), ("visual", weights.visual)):
        parts = [terms.total(weight) for head in heads if (terms := getattr(head, group)) is not None]
        if parts:
            sums[group] = float(torch.stack(parts).sum().detach())
    return sums
