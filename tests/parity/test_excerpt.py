"""Parity on a bare clone: small recordings that travel with the project.

They hold the token ids of their phrases, so that not even the vocabulary is needed.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from parity.cases import IN_FLOAT32, IN_FLOAT64, marks
from parity.comparison import Comparison
from parity.picture import caption, maps, objects
from parity.prompted import demo
from parity.recording import Folder, read
from parity.setting import Setting
from parity.thresholds import settled
from seem.models.decoder.draws import RecordedDraws
from seem.models.ops.masks import resize
from seem.models.structures import DecoderQuery, VisualPrompts
from seem.tasks.interactive import segment_objects
from seem.tasks.phrase import answer_phrases

EXCERPT = Path(__file__).parent / "excerpt"


def panoptic(given: Setting) -> None:
    image_features = given.bench.encode_parts(given.recording.photo())
    maps(given, image_features)
    given.compare.vectors("text_embeddings_12", given.classifier()[:12])
    objects(
        given, given.bench.ask(image_features.memory, DecoderQuery(), given.policy.region_kinds)
    )


def phrase(given: Setting) -> None:
    recording, compare = given.recording, given.compare
    assert len(recording.texts()) == 1
    text = given.bench.read(recording.tensor("input_ids"))
    mask = (
        answer_phrases(given.bench.network, given.encode_image(), text, RecordedDraws())
        .logits[0, 0]
        .float()
    )
    compare.vectors("class_emb", text.phrases)
    compare.masks("mask_logits", resize(mask[None, None], recording.photo().shape[:2])[0])


def clicks(given: Setting) -> None:
    recording, image = given.recording, given.encode_image()
    width = recording.photo().shape[1]
    negative = recording.unpacked("neg1", width)[None]
    before = None
    for number in (1, 2):
        visual_prompts = VisualPrompts(recording.unpacked(f"pos{number}", width)[None], negative)
        before = segment_objects(
            given.bench.network, image, visual_prompts, RecordedDraws(), previous=before
        ).logits
        given.compare.masks(f"round{number}", before)


def panoptic_and_caption(given: Setting) -> None:
    image = given.encode_image()
    objects(given, given.bench.ask(image, DecoderQuery(), given.policy.region_kinds))
    caption(given, "caption_tokens", image, steps=5)


PROVEN: dict[str, tuple[str, Callable[[Setting], None]]] = {
    "seem_v1_focalt_panoptic": ("seem_v1_focalt", panoptic),
    "seem_v1_focalt_phrase": ("seem_v1_focalt", phrase),
    "seem_v1_focalt_clicks": ("seem_v1_focalt", clicks),
    "seem_demo_focalt_stroke_text": ("seem_demo_focalt", demo),
    "xdecoder_focalt": ("xdecoder_focalt", panoptic_and_caption),
}
"""The network that a recording asks, and what."""

PRECISIONS = {torch.float32: IN_FLOAT32, torch.float64: IN_FLOAT64}

CASES = [
    pytest.param(
        case,
        dtype,
        id=f"{case}-{dtype}".replace("torch.", ""),
        marks=marks(f"{model}/{case}", dtype),
    )
    for dtype in PRECISIONS
    for case, (model, _) in PROVEN.items()
]


def test_no_recording_lies_idle():
    assert {path.stem for path in EXCERPT.iterdir()} == set(PROVEN)


@pytest.mark.parametrize(("case", "dtype"), CASES)
def test_answers_equal_the_recording(case, dtype):
    model, compare_case = PROVEN[case]
    tolerance = PRECISIONS[dtype]

    def ask():
        recording = read(EXCERPT / f"{case}.npz")
        compare = Comparison(recording, tolerance)
        with torch.inference_mode():
            compare_case(Setting(model, dtype, Folder(EXCERPT), recording, compare))
        return compare

    assert settled(ask, tolerance.noise).complaints() == []
