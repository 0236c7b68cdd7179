"""One model, one photo, eight threads: everybody gets what they would have got alone."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import seem
from seem.inference.runtime import Runtime
from tiny import CONFIGS, picture, tiny_model, tiny_relative

THREADS = 8
CAR = seem.Text("the red car")


def rounds(photo):
    talk = photo.session()
    talk.add(seem.Point(4, 2))
    return talk.add(seem.Point(44, 8, positive=False))


QUESTIONS = [
    lambda photo: photo.panoptic(threshold=0.0),
    lambda photo: photo.instances(threshold=0.0, top=10),
    lambda photo: photo.semantic(["cat", "sky", "road"]),
    lambda photo: photo.segment(seem.Point(4, 2)),
    lambda photo: photo.segment(seem.Point(4, 2), CAR),
    lambda photo: photo.segment(CAR, text_threshold=0.0),
    lambda photo: photo.segment_many(
        [[seem.Point(1, 2)], [seem.Box(3, 4, 30, 30)], [CAR, seem.Point(9, 9)]]
    ),
    lambda photo: photo.find("a cat", threshold=0.0),
    lambda photo: photo.everything(
        points_per_side=4, pred_iou_threshold=0.0, stability_score_threshold=0.0
    ),
    lambda photo: photo.segment_boxes([[3, 4, 30, 30], [1, 1, 20, 9]]),
    lambda photo: photo.segment(seem.Point(4, 2), candidates=3),
    lambda photo: photo.segment(seem.Point(4, 2), refine="zoom"),
    rounds,
]
SHOWN = seem.Reference(picture(40, 30, seed=5), seem.Box(3, 4, 20, 20))
HEARD = seem.Audio(np.ones(8_000, np.float32), 16_000, transcribe=lambda sound: "a red car")
MORE = {
    "nano": [
        lambda photo: photo.segment(SHOWN, text_threshold=0.0),
        lambda photo: photo.segment(SHOWN, seem.Point(4, 2), CAR, HEARD),
    ],
    "seem-focal-t-v1": [lambda photo: photo.segment(HEARD, text_threshold=0.0)],
}
"""What only some models answer."""


def everything(result):
    """What a result says, labels included, as plain values that can be compared."""
    logits = None if result.logits is None else result.logits.tolist()
    return (
        result.masks.tolist(),
        result.scores.tolist(),
        result.labels,
        result.label_scores,
        result.kind,
        logits,
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_threads_get_the_same_answers_as_one_caller(name):
    questions = [*QUESTIONS, *MORE.get(name, ())]
    alone = tiny_model(name).encode(picture(53, 37))
    expected = [everything(question(alone)) for question in questions]

    photo = tiny_model(name).encode(
        picture(53, 37)
    )  # nothing is cached yet: threads meet at every first time
    gate = threading.Barrier(THREADS)

    def ask(seed):
        order = random.Random(seed).sample(range(len(questions)), len(questions))
        gate.wait()
        return {index: everything(questions[index](photo)) for index in order}

    with ThreadPoolExecutor(THREADS) as pool:
        for answers in pool.map(ask, range(THREADS)):
            for index, answer in answers.items():
                assert answer == expected[index], f"question {index}"


def test_threads_may_caption_and_compare():
    """X-Decoder's words for whole photos, between its other answers."""
    questions = [
        lambda photo: photo.caption(),
        lambda photo: photo.caption(seem.Box(3, 4, 30, 30)),
        lambda photo: photo.similarity(["a cat", "two owls"]).tolist(),
        lambda photo: everything(photo.panoptic(threshold=0.0)),
        lambda photo: everything(photo.segment(CAR, text_threshold=0.0)),
        lambda photo: everything(photo.find("a cat", threshold=0.0)),
    ]
    expected = [
        question(tiny_relative("xdecoder").encode(picture(53, 37))) for question in questions
    ]
    photo = tiny_relative("xdecoder").encode(picture(53, 37))

    def ask(seed):
        order = random.Random(seed).sample(range(len(questions)), len(questions))
        return {index: questions[index](photo) for index in order}

    with ThreadPoolExecutor(THREADS) as pool:
        for answers in pool.map(ask, range(THREADS)):
            assert answers == dict(enumerate(expected))


def test_threads_may_encode_different_photos_with_one_model(tmp_path):
    model = tiny_model("nano")
    photos = [picture(40 + index, 30, seed=index) for index in range(THREADS)]
    for index, photo in enumerate(photos):
        photo.save(tmp_path / f"{index}.png")
    expected = [model.encode(photo).segment(seem.Point(4, 2)).logits for photo in photos]
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(
            lambda i: model.encode(tmp_path / f"{i}.png").segment(seem.Point(4, 2)), range(THREADS)
        )
        for index, result in enumerate(found):
            np.testing.assert_array_equal(result.logits, expected[index])


def test_classes_are_encoded_once_however_many_threads_ask(monkeypatch):
    model, calls = tiny_model("nano"), []
    encode = Runtime.embed_class_names

    def counted(model, names, templates):
        calls.append(tuple(names))
        return encode(model, names, templates)

    monkeypatch.setattr(Runtime, "embed_class_names", counted)
    photo = model.encode(picture(53, 37))
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: photo.semantic(["cat", "dog"]), range(THREADS)))
    rivals = (
        *seem.Vocabulary.coco_panoptic().phrases,
        "background",
    )  # which are there first is asked among all names
    assert sorted(calls, key=len) == [("cat", "dog", "background"), rivals]
