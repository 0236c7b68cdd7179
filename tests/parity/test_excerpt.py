"""Parity on a bare clone: small recordings that travel with the project.

They hold the token ids of their phrases, so that not even the vocabulary is needed.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from parity.cases import IN_FLOAT32, IN_FLOAT64, Setting, maps, objects, visual_round
from parity.comparison import Comparison
from parity.recording import Folder, read
from parity.thresholds import settled
from seem.models.decoder.policy import Kind
from seem.models.ops.masks import resize
from seem.models.segmenter import join_phrases
from seem.models.structures import Question, VisualPrompts
from seem.tasks.phrase import best_queries

EXCERPT = Path(__file__).parent / "excerpt"
NOT_COMPARED_YET = {"seem_demo_focalt_stroke_text", "xdecoder_focalt"}


def panoptic(given: Setting) -> None:
    sight = given.bench.see(given.recording.photo())
    maps(given, sight)
    given.compare.vectors("text_embeddings_12", given.classifier()[:12])
    objects(given, given.bench.ask(sight.memory, Question(), {Kind.OBJECT}))


def phrase(given: Setting) -> None:
    recording, compare = given.recording, given.compare
    assert len(recording.texts()) == 1
    photo = recording.photo()
    image = given.bench.encode(photo)
    text = given.bench.read(recording.tensor("input_ids"))
    said = given.bench.ask(image, Question(phrases=join_phrases(text)), {Kind.PHRASE}).phrase
    assert said is not None
    best = best_queries(given.bench.network.phrase_logits(said.answers.class_vectors, text.phrases)[0])
    compare.vectors("class_emb", text.phrases)
    compare.masks("mask_logits", resize(said.masks[:, best], photo.shape[:2])[0])


def clicks(given: Setting) -> None:
    recording, compare = given.recording, given.compare
    photo = recording.photo()
    image = given.bench.encode(photo)
    first, second, negative = (recording.unpacked(name, photo.shape[1])[None] for name in ("pos1", "pos2", "neg1"))
    before = visual_round(given.bench, image, VisualPrompts(first, negative))
    compare.masks("round1", before.masks)
    after = visual_round(given.bench, image, VisualPrompts(second, negative), before.masks)
    compare.masks("round2", after.masks)


PROVEN: dict[str, Callable[[Setting], None]] = {
    "seem_v1_focalt_panoptic": panoptic,
    "seem_v1_focalt_phrase": phrase,
    "seem_v1_focalt_clicks": clicks,
}


def test_no_recording_lies_idle():
    assert {path.stem for path in EXCERPT.iterdir()} == set(PROVEN) | NOT_COMPARED_YET


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        pytest.param(
            torch.float64, IN_FLOAT64, marks=pytest.mark.xdist_group("seem_v1_focalt-torch.float64"), id="float64"
        ),
        pytest.param(
            torch.float32, IN_FLOAT32, marks=pytest.mark.xdist_group("seem_v1_focalt-torch.float32"), id="float32"
        ),
    ],
)
@pytest.mark.parametrize("case", PROVEN)
def test_answers_equal_the_recording(case, dtype, tolerance):
    def ask():
        recording = read(EXCERPT / f"{case}.npz")
        compare = Comparison(recording, tolerance)
        with torch.inference_mode():
            PROVEN[case](Setting("seem_v1_focalt", dtype, Folder(EXCERPT), recording, compare))
        return compare

    assert settled(ask, tolerance.noise).complaints() == []
