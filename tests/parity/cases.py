"""What the official network was asked in every recorded case, asked of ours.

A case is a function that reads its inputs from the recording, runs the network, and compares each recorded array. It
reads photos, prompts, phrases and sizes from the file, never from here: other folders hold the same cases with others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import Tensor

from parity.bench import COMPARED, LATER, Bench, Output, Said, Sight, bench
from parity.comparison import Comparison, Tolerance
from parity.losses import losses, matching
from parity.recording import Folder, Recording
from parity.thresholds import settled
from seem.models.decoder.decoder import ImageMemory
from seem.models.decoder.draws import RecordedDraws
from seem.models.decoder.policy import Kind
from seem.models.ops.masks import dot, resize
from seem.models.segmenter import join_phrases, unit
from seem.models.structures import PhraseTokens, Question, TextFeatures, VisualPrompts, VisualTokens
from seem.models.text.templates import TEMPLATES, class_phrases
from seem.simulation.next_click import approximate_depth, seem_first_clicks, seem_next_clicks
from seem.tasks.instance import top_instances
from seem.tasks.interactive import choose
from seem.tasks.panoptic import merge
from seem.tasks.phrase import best_queries
from seem.tasks.postprocess import PhotoFrame, to_photo
from seem.tasks.semantic import class_scores
from seem.vocabulary import Vocabulary

FINISHED = 0.9
"""IoU of every object from which the official evaluation asks no further round."""


@dataclass(frozen=True)
class Setting:
    """What a case function works with: a network in one precision, the case, and the folder around it."""

    model: str
    dtype: torch.dtype
    folder: Folder
    recording: Recording
    compare: Comparison

    @property
    def bench(self) -> Bench:
        """The network, built when a case first needs it."""
        return bench(self.model, self.dtype)

    def read(self, texts: list[str]) -> TextFeatures:
        """Tokenise and encode phrases."""
        tokens = self.folder.tokenizer(texts)
        return self.bench.network.encode_text(tokens.ids, tokens.valid)

    def classifier(self) -> Tensor:
        """Return the class embeddings: by token ids, as the folder's recordings used them, or by name."""
        if "class_token_ids" in self.recording:
            return unit(self.bench.read(self.recording.tensor("class_token_ids")).phrases)
        if "seem_v1_focalt/panoptic_decoder" in self.folder.cases:
            recorded = self.folder.open("seem_v1_focalt/panoptic_decoder").tensor("text_embeddings")
            return recorded.to(self.dtype)
        return self.spoken_classes()

    def spoken_classes(self) -> Tensor:
        """Encode the 133 COCO names and 'background' ourselves."""
        names = [*Vocabulary.coco_panoptic().names, "background"]
        return unit(self.read(class_phrases(names)).phrases)

    def logits(self, said: Said) -> Tensor:
        """Compare class vectors with the class embeddings."""
        return self.bench.network.class_logits(said.answers.class_vectors, self.classifier())

    def frame(self) -> PhotoFrame:
        """Read the three sizes of the photo."""
        hw = self.recording.hw
        return PhotoFrame(hw("network_hw"), hw("input_hw"), hw("output_hw"))


# ------------------------------------------------------------------------------------------------ the whole picture


def features(given: Setting) -> None:
    """Backbone and pixel decoder."""
    photo, recording = given.recording.photo(), given.recording
    batch = given.bench.batch([photo])
    assert (batch.padded_hw, batch.input_hw[0]) == (recording.hw("network_hw"), recording.hw("input_hw"))
    maps(given, given.bench.see(photo))


def maps(given: Setting, sight: Sight) -> None:
    """Compare every feature map that is recorded."""
    encoder = given.bench.network.pixel_decoder
    ours = {f"feat_res{number}": level for number, level in enumerate(sight.pyramid.maps, start=2)}
    ours |= {f"ms{number}": level for number, level in enumerate(sight.pixels.levels)}
    ours["mask_features"] = sight.pixels.mask_features
    ours["transformer_encoder_features"] = encoder.encode(encoder.input_proj(sight.pyramid.maps[-1]))
    for name, tensor in ours.items():
        for recorded in given.recording.names(rf"{name}(_(c|s|stride)\d+)*"):
            given.compare.vectors(recorded, tensor)


def panoptic(given: Setting) -> None:
    """Object queries: class logits and masks, after every layer where recorded; features where recorded."""
    recording, compare, bench = given.recording, given.compare, given.bench
    features(given)
    output = bench.ask(bench.encode(recording.photo()), Question(), {Kind.OBJECT})
    if "text_embeddings" in recording:
        compare.vectors("text_embeddings", given.spoken_classes())
    objects(given, output)
    for number, earlier in enumerate(output.earlier):  # recorded for every tenth query
        assert earlier.object is not None
        for name in recording.names(f"aux{number}_masks"):
            compare.masks(name, earlier.object.masks[:, ::10, ::4, ::4])
        for name in recording.names(f"aux{number}_logits"):
            compare.vectors(name, given.logits(earlier.object)[:, ::10])


def objects(given: Setting, output: Output, step: int = 1) -> None:
    """Compare what the object queries say; `step` is how many are recorded under names that do not say it."""
    assert output.object is not None
    for name in given.recording.names(r"pred_logits(_q\d+)?"):
        thin = step if name == "pred_logits" else 1
        given.compare.vectors(name, given.logits(output.object)[:, ::thin])
    for name in given.recording.names(r"pred_masks(_q\d+)?"):
        given.compare.masks(name, output.object.masks)
    for name in given.recording.names(r"pred_captions(_q\d+)?"):
        given.compare.vectors(name, output.object.answers.class_vectors)


def postprocess(given: Setting) -> None:
    """Head outputs to panoptic map, instances and class scores."""
    recording, compare, dtype = given.recording, given.compare, given.dtype
    is_thing = torch.tensor(Vocabulary.coco_panoptic().is_thing)
    logits = recording.tensor("pred_logits")[0].to(dtype)
    masks = to_photo(recording.tensor("pred_masks")[0].to(dtype), given.frame())

    panoptic = merge(logits, masks, is_thing)
    compare.exact("panoptic_seg", panoptic.ids.long())
    segments = [[segment.id, segment.is_thing, segment.category] for segment in panoptic.segments]
    compare.exact("segments", torch.tensor(segments, dtype=torch.long).reshape(-1, 3))

    instances = top_instances(logits, masks, is_thing)
    compare.vectors("inst_scores", instances.scores)
    compare.exact("inst_classes", instances.classes)
    compare.exact("inst_area", instances.masks.sum(dim=(1, 2)).float())
    every8 = recording.unpacked("inst_masks_every8_packed", masks.shape[-1])
    compare.exact("inst_masks_every8_packed", instances.masks[::8], every8)

    scores = class_scores(logits, masks)
    compare.exact("sem_argmax", scores.argmax(dim=0).to(torch.uint8))
    for name in recording.names(r"sem_seg_s\d+"):
        compare.vectors(name, scores)


# ------------------------------------------------------------------------------------------------ phrases


def grounding(given: Setting) -> None:
    """Phrases of one call: tokens, vectors, the best query of each, its mask at the photo's size."""
    recording, compare, bench = given.recording, given.compare, given.bench
    texts = recording.texts()
    text = tokens(given, texts)
    joined = join_phrases(text)
    image = bench.encode(recording.photo())
    assert image.pixels.mask_features.shape[-2:] == tuple(side // 4 for side in recording.hw("network_hw"))
    output = bench.ask(image, Question(phrases=joined), {Kind.OBJECT, Kind.PHRASE})
    assert output.phrase is not None
    similarity = bench.network.phrase_logits(output.phrase.answers.class_vectors, text.phrases)
    matched = best_queries(similarity[0])
    chosen = to_photo(output.phrase.masks[0, matched], given.frame())
    if "class_emb" in recording:
        compare.vectors("class_emb", text.phrases)
        compare.vectors("similarity", similarity[0])
        compare.exact("matched", matched)
        objects(given, output)
    phrases(given, output, joined)
    for name in recording.names(r"grounding_mask_s\d+"):
        compare.masks(name, chosen)


def tokens(given: Setting, texts: list[str]) -> TextFeatures:
    """Tokenise and encode; ids must be equal where they are recorded."""
    ours = given.folder.tokenizer(texts, pad_to_context=True)
    if "input_ids" in given.recording:
        given.compare.exact("input_ids", ours.ids)
        given.compare.exact("attention_mask", ours.valid.long())
    return given.bench.network.encode_text(ours.ids, ours.valid)


def phrases(given: Setting, output: Output, asked: PhraseTokens) -> None:
    """Compare what the phrase queries say, and the tokens that they were asked with (first dimension: token)."""
    recording, compare = given.recording, given.compare
    assert output.phrase is not None
    if "grounding_tokens" in recording:
        compare.vectors("grounding_tokens", asked.tokens.transpose(0, 1))
    for name in recording.names(r"pred_gmasks(_q\d+)?"):
        compare.masks(name, output.phrase.masks)
    for name in recording.names(r"pred_gtexts(_q\d+)?"):
        compare.vectors(name, output.phrase.answers.class_vectors)


def language(given: Setting) -> None:
    """Token ids and vectors of odd strings."""
    text = tokens(given, given.recording.texts("strings"))
    given.compare.vectors("class_emb", text.phrases)
    given.compare.vectors("embeddings", unit(text.phrases))
    for name in given.recording.names(r"token_emb_\d+"):
        given.compare.vectors(name, text.tokens[:, : int(name.rpartition("_")[2])])


def language_full_templates(given: Setting) -> None:
    """Class embeddings as the mean over all templates."""
    names = given.recording.texts()
    every = unit(given.read(class_phrases(names, TEMPLATES)).phrases).unflatten(0, (len(names), -1)).mean(dim=1)
    given.compare.vectors("embeddings", every / every.norm(dim=-1, keepdim=True))


# ------------------------------------------------------------------------------------------------ visual prompts


@dataclass(frozen=True)
class Round:
    """One round of prompting: what was asked, what was said, and each object's mask."""

    tokens: VisualTokens
    output: Output
    said: Said
    masks: Tensor


def visual_round(
    bench: Bench,
    image: ImageMemory,
    prompts: VisualPrompts,
    previous: Tensor | None = None,
    phrases: PhraseTokens | None = None,
) -> Round:
    """Ask about objects by their prompts, and choose each object's mask."""
    tokens = bench.network.encode_prompts(prompts, image, RecordedDraws())
    question = Question(visual=tokens, phrases=phrases, previous=previous, num_objects=tokens.num_objects)
    asked = {Kind.VISUAL, Kind.OBJECT} | ({Kind.PHRASE} if phrases is not None else set())
    output = bench.ask(image, question, asked)
    said = output.visual
    assert said is not None
    chosen = choose(said.answers, tokens)
    return Round(tokens, output, said, dot(chosen.mask_embeddings, image.pixels.mask_features))


def interactive(given: Setting) -> None:
    """One round of visual prompts about any number of objects, with the memory of a round before or with a phrase."""
    recording, compare, bench = given.recording, given.compare, given.bench
    image = bench.encode(recording.photo())
    assert recording.hw("input_hw") == recording.photo().shape[:2]
    previous = recording.tensor("prev_mask_in").to(bench.dtype) if "prev_mask_in" in recording else None
    joined = join_phrases(tokens(given, recording.texts())) if "texts" in recording else None
    answer = visual_round(bench, image, prompts(recording), previous, joined)
    visual(given, answer)
    compare.masks("prev_mask", answer.masks)
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
    compare, said = given.compare, answer.said
    compare.vectors("pred_pspatials", answer.tokens.positive_vectors)
    compare.vectors("pred_nspatials", answer.tokens.negative_vectors)
    compare.vectors("pred_smaskembs", said.answers.mask_embeddings)
    compare.masks("pred_smasks", said.masks)


def interactive_f64(given: Setting) -> None:
    """A click, then the second round with the click's mask, in float64 end to end; prompts as in the cases."""
    recording, compare, bench = given.recording, given.compare, given.bench
    image = bench.encode(recording.photo())
    assert image.pixels.mask_features.shape[-2:] == tuple(side // 4 for side in recording.hw("network_hw"))
    assert recording.hw("input_hw") == recording.photo().shape[:2]
    previous = None
    for name, case in (("click", "inter_click"), ("round2", "inter_round2")):
        asked = prompts(given.folder.open(f"seem_v1_focalt/{case}"))
        answer = visual_round(bench, image, asked, previous)
        compare.masks(f"{name}_prev", answer.masks)
        compare.vectors(f"{name}_smaskembs", answer.said.answers.mask_embeddings)
        compare.vectors(f"{name}_pspatials", answer.tokens.positive_vectors)
        if f"{name}_nspatials" in recording:
            compare.vectors(f"{name}_nspatials", answer.tokens.negative_vectors)
        previous = answer.masks


def noc_loop(given: Setting) -> None:
    """A whole session: every round's masks, their IoU at the photo's size, and the clicks that follow from them."""
    recording, compare, bench = given.recording, given.compare, given.bench
    frame = given.frame()
    image = bench.encode(recording.photo())
    (height, width), (padded_height, padded_width) = frame.input_hw, frame.padded_hw

    def padded(masks: Tensor) -> Tensor:
        return F.pad(masks, (0, padded_width - width, 0, padded_height - height))

    truth = padded(recording.unpacked("gt_masks", width))
    whole_truth = recording.unpacked("gt_orisize", frame.output_hw[1])
    positive = padded(recording.unpacked("rand_shape", width)[:, 0])
    negative = torch.zeros_like(positive)
    previous, ious = None, []
    for number in range(recording.arrays["iou"].shape[1]):
        if ious and (ious[-1] > FINISHED).all():
            ious.append(ious[-1])
            continue
        answer = visual_round(bench, image, VisualPrompts(positive[None], negative[None]), previous)
        previous = answer.masks
        compare.masks(f"r{number}_prev_mask", previous)
        ious.append(agreement(previous, whole_truth, frame))
        if f"r{number}_pos" in recording:
            clicks = seem_next_clicks(truth, previous[0], positive, negative)
            positive, negative = clicks.positive, clicks.negative
            compare.exact(f"r{number}_pos", positive[None], recording.unpacked(f"r{number}_pos", padded_width))
            compare.exact(f"r{number}_neg", negative[None], recording.unpacked(f"r{number}_neg", padded_width))
    compare.numbers("iou", torch.stack(ious, dim=1))


def agreement(logits: Tensor, truth: Tensor, frame: PhotoFrame) -> Tensor:
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
    assert recording.hw("input_hw") == recording.hw("network_hw") == recording.arrays[photos[0]].shape[:2]
    asked = batch_prompts(recording, len(photos))
    joined = side_by_side(given.read(recording.texts()))
    compare.exact("grounding_nonzero_mask", joined.owner < 0)
    answer = visual_round(bench, image, asked, phrases=joined)

    phrases(given, answer.output, joined)
    objects(given, answer.output)
    heads = {"pred": answer.said}
    for number, earlier in enumerate(answer.output.earlier):
        assert earlier.visual is not None
        heads[f"aux{number}"] = earlier.visual
    for head, said in heads.items():
        for name in recording.names(rf"{head}_smasks(_q\d+)?"):
            compare.masks(name, said.masks)
    compare.vectors("pred_stexts", answer.said.answers.class_vectors)
    compare.vectors("pred_smaskembs", answer.said.answers.mask_embeddings)
    compare.vectors("pred_pspatials", answer.tokens.positive_vectors)
    # A quirk of the official batches, without effect: negative vectors may be read at pixel (0, 0) instead.
    if asked.negative.flatten(1).any(dim=1).all():
        compare.vectors("pred_nspatials", answer.tokens.negative_vectors)
    else:
        recording.seen.add("pred_nspatials")


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


# ------------------------------------------------------------------------------------------------ without a network


def click_simulation(given: Setting) -> None:
    """The next click of the released code, its distance transform, and the first click."""
    recording, compare = given.recording, given.compare
    height, width = recording.arrays["dt"].shape[1:]
    logits = recording.tensor("prev_mask")[0]
    padded_height, padded_width = (4 * side for side in logits.shape[1:])
    truth = recording.unpacked("gt", width)
    compare.numbers("dt", approximate_depth(truth))
    middles = recording.tensor("first_click")
    compare.exact("first_click", seem_first_clicks(truth), squares(middles, height, width))
    after = seem_next_clicks(
        F.pad(truth, (0, padded_width - width, 0, padded_height - height)),
        logits,
        recording.unpacked("pos_in", padded_width),
        recording.unpacked("neg_in", padded_width),
    )
    compare.exact("pos_out", after.positive, recording.unpacked("pos_out", padded_width))
    compare.exact("neg_out", after.negative, recording.unpacked("neg_out", padded_width))


def squares(middles: Tensor, height: int, width: int) -> Tensor:
    """Draw 3x3 squares around (row, column)."""
    rows, columns = torch.arange(height)[None, :, None], torch.arange(width)[None, None]
    return ((rows - middles[:, :1, None]).abs() <= 1) & ((columns - middles[:, 1:, None]).abs() <= 1)


def seem_losses(given: Setting) -> None:
    """Every loss of every head, and which queries were matched."""
    recording, compare, dtype = given.recording, given.compare, given.dtype
    ours = dict(losses(recording, dtype).named())
    recorded = set(recording.names(r"loss_\w+"))
    assert set(ours) == recorded, f"not in both: {set(ours) ^ recorded}"
    for name, loss in ours.items():
        compare.ratios(name, loss)
    for photo in (0, 1):
        match = matching(recording, photo, dtype)
        compare.exact(f"match{photo}_src", match.queries)
        compare.exact(f"match{photo}_tgt", match.objects)


# ------------------------------------------------------------------------------------------------ the table

CASES: dict[str, Callable[[Setting], None]] = {
    "features": features,
    "panoptic_*": panoptic,
    "postprocess": postprocess,
    "grounding*": grounding,
    "language": language,
    "language_full_templates": language_full_templates,
    "inter_*": interactive,
    "edge_*": interactive,
    "interactive_f64": interactive_f64,
    "noc_loop": noc_loop,
    "train_forward": train_forward,
    "click_simulation": click_simulation,
    "seem_losses": seem_losses,
}
"""What a case is, by its name: the first pattern that fits."""

AGAINST_FLOAT64 = Tolerance(vectors=1e-5, masks=1e-5)
IN_FLOAT64 = Tolerance(vectors=1e-4, masks=2e-4, noise=5e-5)
IN_FLOAT32 = Tolerance(vectors=1e-4, masks=1e-3, noise=1e-4)
WITHOUT_NETWORK = {"click_simulation": Tolerance(1e-4, 1e-4), "seem_losses": Tolerance(1e-5, 1e-5)}


def is_later(case: str) -> bool:
    """Whether a case belongs to what is not compared yet."""
    return case.split("/")[0] in LATER


def precisions(case: str) -> tuple[torch.dtype, ...]:
    """Return the precisions that a case is asked in: float64 settles what is rounding, float32 is what people run.

    Cases that end in `_f64` were recorded in float64. Post-processing and clicks start from recorded float32 numbers
    and decide about every pixel of a photo: only the same precision decides the same at ties. The mean over all
    templates repeats `language` four hundred times and would take a minute in float64.
    """
    what = case.rpartition("/")[2]
    if what in ("postprocess", "click_simulation", "language_full_templates"):
        return (torch.float32,)
    return (torch.float64,) if what.endswith("_f64") else (torch.float64, torch.float32)


def tolerance(case: str, dtype: torch.dtype) -> Tolerance:
    """Return how near we have to be."""
    if case in WITHOUT_NETWORK:
        return WITHOUT_NETWORK[case]
    if case.endswith("_f64"):
        return AGAINST_FLOAT64
    return IN_FLOAT64 if dtype == torch.float64 else IN_FLOAT32


def play(folder: Folder, case: str, dtype: torch.dtype) -> Comparison:
    """Ask our network what a case asked the official one, and compare."""
    model, _, what = case.rpartition("/")
    functions = [function for pattern, function in CASES.items() if fnmatchcase(what, pattern)]
    assert functions, f"{case}: nobody knows what this case asks"
    assert not model or model in COMPARED, f"{case}: nobody knows this model"

    def ask() -> Comparison:
        recording = folder.open(case)
        compare = Comparison(recording, tolerance(case, dtype))
        with torch.inference_mode():
            functions[0](Setting(model, dtype, folder, recording, compare))
        return compare

    return settled(ask, tolerance(case, dtype).noise)
