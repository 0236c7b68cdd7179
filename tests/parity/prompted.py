"""Cases that ask about something: phrases, visual prompts in one round and in many, and the demo's mixtures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from parity.bench import Bench, GroupOutput, Output
from parity.picture import objects
from parity.recording import Recording
from parity.setting import Setting
from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import RecordedDraws
from seem.models.decoder.policy import RowKind
from seem.models.ops.masks import resize
from seem.models.segmenter import Segmenter, join_phrases, unit_vectors
from seem.models.structures import (
    DecoderQuery,
    PhraseTokens,
    QueryOutputs,
    TextFeatures,
    VisualPrompts,
    VisualTokens,
)
from seem.models.text.templates import TEMPLATES, class_phrases
from seem.simulation.next_click import seem_next_clicks
from seem.tasks.interactive import prompt_agreement, segment_objects, top_queries
from seem.tasks.phrase import answer_phrases
from seem.tasks.postprocess import ImageFrame, to_image_size

FINISHED = 0.9
"""IoU of every object from which the official evaluation asks no further round."""


# ------------------------------------------------------------------------------------------------ phrases


def grounding(given: Setting) -> None:
    """Phrases of one call: tokens, vectors, the best query of each, its mask at the photo's size."""
    network = given.bench.network
    text = tokens(given, given.recording.texts())
    joined = join_phrases(text)
    output = given.bench.ask(
        given.encode_image(),
        DecoderQuery(phrases=joined),
        given.policy.region_kinds | {RowKind.PHRASE},
    )
    assert output.phrase is not None
    similarity = network.phrase_logits(output.phrase.answers.class_vectors, text.phrases)
    matched = similarity[0].argmax(dim=0)
    given.vectors("class_emb", text.phrases)
    given.vectors("similarity", similarity[0])
    given.exact("matched", matched)
    objects(given, output)
    phrases(given, output, joined)
    given.masks("grounding_mask", to_image_size(output.phrase.masks[0, matched], given.frame()))


def grounding_single(given: Setting) -> None:
    """One phrase to one mask at the photo's size."""
    text = tokens(given, given.recording.texts())
    mask = (
        answer_phrases(given.bench.network, given.encode_image(), text, RecordedDraws())
        .logits[0, 0]
        .float()
    )
    given.masks("grounding_mask", to_image_size(mask[None], given.frame()))


def tokens(given: Setting, texts: list[str]) -> TextFeatures:
    """Tokenise and encode; ids must be equal where they are recorded."""
    ours = given.folder.tokenizer(texts, pad_to_context=True)
    given.exact("input_ids", ours.ids)
    given.exact("attention_mask", ours.valid.long())
    return given.bench.network.encode_text(ours.ids, ours.valid)


def phrases(given: Setting, output: Output, phrase_tokens: PhraseTokens) -> None:
    """Compare what the phrase queries say, and the tokens that they were asked with (first dimension: token)."""
    assert output.phrase is not None
    given.vectors("grounding_tokens", phrase_tokens.tokens.transpose(0, 1))
    given.masks("pred_gmasks", output.phrase.masks)
    for name in given.recording.names(r"pred_gtexts(_q\d+)?"):
        vectors = output.phrase.answers.class_vectors
        given.compare.vectors(
            name, vectors if given.recording.arrays[name].ndim == 3 else vectors[0]
        )


def language(given: Setting) -> None:
    """Token ids and vectors of odd strings."""
    text = tokens(given, given.recording.texts("strings"))
    given.compare.vectors("class_emb", text.phrases)
    given.compare.vectors("embeddings", unit_vectors(text.phrases))
    for name in given.recording.names(r"token_emb_\d+"):
        given.compare.vectors(name, text.tokens[:, : int(name.rpartition("_")[2])])


def language_full_templates(given: Setting) -> None:
    """Class embeddings as the mean over all templates."""
    names = given.recording.texts()
    every = (
        unit_vectors(given.read(class_phrases(names, TEMPLATES)).phrases)
        .unflatten(0, (len(names), -1))
        .mean(dim=1)
    )
    given.compare.vectors("embeddings", every / every.norm(dim=-1, keepdim=True))


# ------------------------------------------------------------------------------------------------ visual prompts


@dataclass(frozen=True)
class Round:
    """One round of prompting: what was asked, what was said, and each object's mask."""

    tokens: VisualTokens
    output: Output
    queries: GroupOutput
    masks: Tensor


def visual_round(
    bench: Bench,
    image: ImageEncoding,
    tokens: VisualTokens,
    previous: Tensor | None = None,
    phrases: PhraseTokens | None = None,
) -> Round:
    """Ask about objects by the tokens of their prompts, and choose each object's mask."""
    question = DecoderQuery(
        visual=tokens, phrases=phrases, previous=previous, num_objects=tokens.num_objects
    )
    kinds = {RowKind.VISUAL, RowKind.OBJECT} | ({RowKind.PHRASE} if phrases is not None else set())
    output = bench.ask(image, question, kinds)
    queries = output.visual
    assert queries is not None
    chosen = top_queries(
        queries.answers, prompt_agreement(queries.answers, tokens.positive_vectors)
    )
    return Round(tokens, output, queries, image.pixels.mask_features.logits(chosen.mask_embeddings))


def marked(bench: Bench, image: ImageEncoding, prompts: VisualPrompts) -> VisualTokens:
    """Encode prompts under the draws of the recordings."""
    return bench.network.encode_prompts(prompts, image, RecordedDraws())


def interactive(given: Setting) -> None:
    """One round of visual prompts about any number of objects, with the memory of a round before or with a phrase."""
    recording, bench = given.recording, given.bench
    image = given.encode_image()
    previous = (
        recording.tensor("prev_mask_in").to(bench.dtype) if "prev_mask_in" in recording else None
    )
    joined = join_phrases(tokens(given, recording.texts())) if "texts" in recording else None
    answer = visual_round(bench, image, marked(bench, image, prompts(recording)), previous, joined)
    visual(given, answer)
    given.vectors("pred_nspatials", answer.tokens.negative_vectors)
    given.masks("prev_mask", answer.masks)
    objects(given, answer.output, step=10)
    if joined is not None:
        phrases(given, answer.output, joined)


def prompts(recording: Recording) -> VisualPrompts:
    """Read the prompts of all objects, packed along the width."""
    height, width = recording.hw("network_hw")
    positive = recording.unpacked("spatial_query_pos_mask", width)
    assert positive.shape[2] == height
    return VisualPrompts(positive, recording.unpacked("spatial_query_neg_mask", width))


def visual(given: Setting, answer: Round) -> None:
    """Compare what the visual queries say and what they were asked with."""
    given.vectors("pred_pspatials", answer.tokens.positive_vectors)
    given.vectors("pred_smaskembs", answer.queries.answers.mask_embeddings)
    given.masks("pred_smasks", answer.queries.masks)


def interactive_f64(given: Setting) -> None:
    """A click, then the second round with the click's mask, in float64 end to end; prompts as in the cases."""
    image = given.encode_image()
    previous = None
    for name, case in (("click", "inter_click"), ("round2", "inter_round2")):
        visual_prompts = prompts(given.folder.open(f"{given.model}/{case}"))
        answer = visual_round(
            given.bench, image, marked(given.bench, image, visual_prompts), previous
        )
        given.masks(f"{name}_prev", answer.masks)
        given.vectors(f"{name}_smaskembs", answer.queries.answers.mask_embeddings)
        given.vectors(f"{name}_pspatials", answer.tokens.positive_vectors)
        given.vectors(f"{name}_nspatials", answer.tokens.negative_vectors)
        previous = answer.masks


def other_photo(given: Setting) -> None:
    """A region of another photo, in the place of a visual prompt of this one."""
    answer = visual_round(given.bench, given.encode_image(), region(given.bench, given.recording))
    given.vectors("spatial_query_pos", answer.tokens.positive_vectors)
    visual(given, answer)
    given.masks("prev_mask", answer.masks)


def region(bench: Bench, recording: Recording) -> VisualTokens:
    """Encode the marked region of another photo."""
    photo = recording.photo("ref_image")
    image = bench.encode(photo)
    height, width = (4 * side for side in image.pixels.mask_features.hw)
    inside = padded(recording.unpacked("ref_mask", photo.shape[1]), (height, width))
    return marked(bench, image, only(inside))


def only(positive: Tensor) -> VisualPrompts:
    """Prompt with positive pixels alone."""
    return VisualPrompts(positive, torch.zeros_like(positive))


def padded(masks: Tensor, hw: tuple[int, int]) -> Tensor:
    """Pad masks at the right and bottom."""
    return F.pad(masks, (0, hw[1] - masks.shape[-1], 0, hw[0] - masks.shape[-2]))


def noc_loop(given: Setting) -> None:
    """A whole session: every round's masks, their IoU at the photo's size, and the clicks that follow from them."""
    recording, compare = given.recording, given.compare
    frame = given.frame()
    image = given.encode_image()
    width, padded_width = frame.input_hw[1], frame.padded_hw[1]

    def as_recorded(objects: Tensor) -> Tensor:
        return (
            objects.transpose(0, 1) if given.policy.independent_objects else objects
        )  # there, objects are the batch

    truth = padded(recording.unpacked("gt_masks", width), frame.padded_hw)
    whole_truth = recording.unpacked("gt_orisize", frame.output_hw[1])
    positive = padded(recording.unpacked("rand_shape", width)[:, 0], frame.padded_hw)
    negative = torch.zeros_like(positive)
    previous, ious = None, []
    for number in range(recording.arrays["iou"].shape[1]):
        if ious and (ious[-1] > FINISHED).all():
            ious.append(ious[-1])
            continue
        visual_prompts = VisualPrompts(positive[None], negative[None])
        previous = segment_objects(
            given.bench.network, image, visual_prompts, RecordedDraws(), previous=previous
        ).logits
        compare.masks(f"r{number}_prev_mask", as_recorded(previous))
        ious.append(agreement(previous, whole_truth, frame))
        if f"r{number}_pos" in recording:
            clicks = seem_next_clicks(truth, previous[0], positive, negative)
            positive, negative = clicks.positive, clicks.negative
            for name, ours in (("pos", positive), ("neg", negative)):
                recorded = recording.unpacked(f"r{number}_{name}", padded_width)
                compare.exact(f"r{number}_{name}", as_recorded(ours[None]), recorded)
    compare.numbers("iou", torch.stack(ious, dim=1))


def agreement(logits: Tensor, truth: Tensor, frame: ImageFrame) -> Tensor:
    """Return each object's IoU at the photo's size; both resizes are bilinear in this evaluation."""
    height, width = frame.input_hw
    inside = resize(logits, frame.padded_hw)[:, :, :height, :width]
    predicted = resize(inside, frame.output_hw)[0].sigmoid() > 0.5
    return (predicted & truth).sum(dim=(1, 2)) / (predicted | truth).sum(dim=(1, 2))


def train_forward(given: Setting) -> None:
    """A batch as in training: other prompts and phrases for every photo, padded to the most of any."""
    recording, compare, bench = given.recording, given.compare, given.bench
    photos = sorted(recording.names(r"image\d+"))
    image = bench.encode(*(recording.photo(name) for name in photos))
    padded_hw = tuple(4 * side for side in image.pixels.mask_features.hw)
    assert recording.hw("input_hw") == recording.arrays[photos[0]].shape[:2]
    assert recording.hw("network_hw") == padded_hw
    visual_prompts = batch_prompts(recording, len(photos))
    joined = side_by_side(given.read(recording.texts()))
    compare.exact("grounding_nonzero_mask", joined.owner < 0)
    answer = visual_round(bench, image, marked(bench, image, visual_prompts), phrases=joined)

    phrases(given, answer.output, joined)
    objects(given, answer.output)
    for number, earlier in enumerate(answer.output.earlier):
        assert earlier.visual is not None
        given.masks(f"aux{number}_smasks", earlier.visual.masks)
    given.vectors("pred_stexts", answer.queries.answers.class_vectors)
    visual(given, answer)
    # A quirk of SEEM v1's official batches, without effect: negative vectors may be read at pixel (0, 0) instead.
    if given.policy.independent_objects or visual_prompts.negative.flatten(1).any(dim=1).all():
        compare.vectors("pred_nspatials", answer.tokens.negative_vectors)
    else:
        recording.compared.add("pred_nspatials")


def batch_prompts(recording: Recording, num_photos: int) -> VisualPrompts:
    """Read every photo's prompts; photos with fewer objects get empty ones."""
    width = recording.hw("network_hw")[1]

    def stacked(sign: str) -> Tensor:
        masks = [recording.unpacked(f"{sign}{photo}", width).float() for photo in range(num_photos)]
        return torch.nn.utils.rnn.pad_sequence(masks, batch_first=True).bool()

    return VisualPrompts(stacked("pos"), stacked("neg"))


def side_by_side(text: TextFeatures) -> PhraseTokens:
    """Give every photo of a batch its own phrase, zeros behind the shorter ones."""
    longest = int(text.valid.sum(dim=1).max())
    valid = text.valid[:, :longest]
    return PhraseTokens(text.tokens[:, :longest] * valid[..., None], torch.where(valid, 0, -1))


# ------------------------------------------------------------------------------------------------ the demo


@dataclass(frozen=True)
class Steering:
    """Everything that steers the object queries of the demo, in the order in which it chooses the answer."""

    strokes: VisualTokens | None
    reference: VisualTokens | None
    text: TextFeatures | None
    audio: TextFeatures | None

    def question(self) -> DecoderQuery:
        """Ask all of it at once."""
        text, audio = (
            None if phrase_features is None else join_phrases(phrase_features)
            for phrase_features in (self.text, self.audio)
        )
        return DecoderQuery(
            visual=self.strokes, phrases=text, reference=self.reference, audio=audio, num_objects=1
        )

    def fit(self, network: Segmenter, answers: QueryOutputs) -> tuple[Tensor, Tensor]:
        """Return how well every query fits what was given first, and which one fits best."""
        if marks := self.strokes or self.reference:
            chosen = top_queries(answers, prompt_agreement(answers, marks.positive_vectors))
            return answers.mask_embeddings @ marks.positive_vectors.mT, chosen.queries[0]
        phrase_features = self.text or self.audio
        assert phrase_features is not None
        similarity = network.phrase_logits(answers.class_vectors, phrase_features.phrases)
        return similarity, similarity[0].argmax(dim=0)


def demo(given: Setting, reference: VisualTokens | None = None) -> None:
    """Strokes, text and speech, alone and together: all of them steer the object queries."""
    recording, bench = given.recording, given.bench
    image = given.encode_image()
    strokes = None
    if "stroke" in recording:
        drawn = recording.unpacked("stroke", recording.photo().shape[1])
        height, width = (4 * side for side in image.pixels.mask_features.hw)
        strokes = marked(bench, image, only(padded(drawn, (height, width))))
    by = Steering(
        strokes, reference, encode_phrases(given, "texts"), encode_phrases(given, "transcripts")
    )
    output = bench.ask(image, by.question(), {RowKind.OBJECT})
    objects(given, output)
    assert output.object is not None
    queries = output.object
    fit, matched = by.fit(bench.network, queries.answers)
    selected = queries.masks[0, matched]
    given.vectors("pred_maskembs", queries.answers.mask_embeddings)
    given.vectors("match_logits", fit)
    given.exact("matched", matched)
    given.masks("selected_mask_logits", selected)
    if "matched_class" in recording:
        given.exact("matched_class", given.logits(queries)[0, matched].argmax(dim=-1))
    if "final_mask" in recording:
        final = recording.unpacked("final_mask", given.frame().output_hw[1])
        given.compare.foreground("final_mask", to_image_size(selected, given.frame()), final)


def demo_with_other_photo(given: Setting) -> None:
    """A region of another photo, alone and with the rest; it is recorded once, and so are its tokens."""
    recording, bench = given.recording, given.bench
    if "ref_image" not in recording:
        return demo(given, region(bench, given.folder.open(f"{given.model}/refimg")))
    reference = region(bench, recording)
    given.vectors("visual_query_pos", reference.positive_vectors)
    given.vectors("visual_query_neg", reference.negative_vectors)
    for number, level in enumerate(reference.levels):
        given.compare.rows(f"src_visual_q{number}_s4", level.transpose(0, 1)[::4])
        given.exact(f"src_visual_mask{number}", reference.owner < 0)
    return demo(given, reference)


def encode_phrases(given: Setting, name: str) -> TextFeatures | None:
    """Encode what was written or spoken, by its recorded token ids where no vocabulary travels with them."""
    if name not in given.recording:
        return None
    texts = given.recording.texts(name)
    return (
        given.bench.read(given.recording.tensor("input_ids"))
        if "input_ids" in given.recording
        else given.read(texts)
    )
