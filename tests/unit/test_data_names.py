"""Class names and ids: any name is one, names that a model cannot tell apart are one class, ids may be anything."""

import json

import numpy as np
import pytest
from PIL import Image

import tiny_data as tiny
from seem.data.classes import share_texts
from seem.data.inspection import inspect_dataset
from seem.data.opening import open_dataset
from seem.data.records import CategoryRecord, FlawKind
from seem.evaluation.label_space import LabelSpace
from seem.finetuning.datasets import inspect_source, open_training_data
from seem.vocabulary import Vocabulary


def coco_of(root, categories, category_ids, change=lambda document: None):
    """Write a photo for each of `category_ids`, with one object of that category."""
    document = {"images": [], "annotations": [], "categories": []}
    for category_id, name in categories:
        document["categories"].append({"id": category_id, "name": name})
    for number, category_id in enumerate(category_ids, 1):
        tiny.photo(root / "images" / f"{number}.png", (30, 40), seed=number)
        row = {"id": number, "file_name": f"{number}.png", "height": 30, "width": 40}
        document["images"].append(row)
        row = {"id": number, "image_id": number, "category_id": category_id, "iscrowd": 0}
        polygon = [5.0, 5.0, 25.0, 5.0, 25.0, 20.0, 5.0, 20.0]
        document["annotations"].append({**row, "segmentation": [polygon]})
    change(document)
    (root / "annotations.json").write_text(json.dumps(document))
    return root


NAMES = ["background", "_background_", "object", "region", "void", "unlabeled", "Straße", "no", "-other"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_class(tmp_path, name):
    folder = coco_of(tmp_path, [(1, name), (2, "cat")], [1, 2, 1, 2])
    dataset = open_dataset(str(folder))
    report = inspect_dataset(dataset)
    assert (report.objects, report.flaws) == (4, ())
    texts = {category.text for category in dataset.categories.values()}
    data = open_training_data([inspect_source(str(folder))[0]], 0)
    assert set(data.classes) == texts - {""}
    assert len(Vocabulary.of(data.classes)) == len(LabelSpace.of(dataset).vocabulary)


SAME = [("Car", "car"), ("car", "car"), ("car", "car_"), ("tree-merged", "tree"), ("dirt-stuff", "Dirt")]  # fmt: skip


@pytest.mark.parametrize("pair", SAME)
def test_names_that_a_model_cannot_tell_apart_are_one_class_everywhere(tmp_path, pair):
    folder = coco_of(tmp_path, [(7, pair[0]), (9, pair[1])], [7, 9, 7, 9, 9])
    dataset = open_dataset(str(folder), tolerant=True)
    report = inspect_dataset(dataset)
    note = next(note for note in report.notes if note.kind is FlawKind.DUPLICATE_NAME)
    assert note.what == "ids 7, 9 count as one class"
    texts = {dataset.objects[image.id][0].category.text for image in dataset.images}
    assert len(texts) == 1
    assert all(dataset.complete_names(image) == texts for image in dataset.images)
    data = open_training_data([inspect_source(str(folder))[0]], 0)
    assert set(data.classes) == texts
    assert len(Vocabulary.of(data.classes)) == 1
    scored = LabelSpace.of(dataset)
    assert (len(scored.vocabulary), scored.class_ids) == (1, {7: 7, 9: 7})


def test_two_sets_may_spell_a_class_differently(tmp_path):
    sources = []
    for name in ("Car", "car"):
        (tmp_path / name.swapcase()).mkdir()
        folder = coco_of(tmp_path / name.swapcase(), [(1, name)], [1, 1, 1])
        sources.append(inspect_source(str(folder))[0])
    assert open_training_data(sources, 0).classes == ("Car",)


def test_texts_are_those_of_the_first():
    rows = [CategoryRecord(n, name, name, True) for n, name in enumerate(["Cat", "dog", "cat"], 1)]
    assert [category.text for category in share_texts(rows)] == ["Cat", "dog", "Cat"]
    assert [category.name for category in share_texts(rows)] == ["Cat", "dog", "cat"]


@pytest.mark.parametrize(
    ("ids", "read_as"),
    [
        ((0, 1), (1, 2)), ((0, 9), (1, 10)), ((-1, 3), (1, 5)), ((1.0, 2.0), (1, 2)), (("1", "2"), (1, 2)),
        (("cat", "dog"), (1, 2)), ((5, 10**12), (1, 2)), ((3, 90), (3, 90)),
    ],
)  # fmt: skip
def test_ids_of_any_kind(tmp_path, ids, read_as):
    folder = coco_of(tmp_path, list(zip(ids, ("cat", "dog"), strict=True)), [ids[1], ids[0]])
    dataset = open_dataset(str(folder))
    report = inspect_dataset(dataset)
    assert (report.objects, report.flaws) == (2, ())
    assert {row.id: row.name for row in report.classes} == dict(zip(read_as, ("cat", "dog"), strict=True))  # fmt: skip
    names = [dataset.objects[image.id][0].category.name for image in dataset.images]
    assert names == ["dog", "cat"]


def test_an_unknown_category_does_not_become_another_when_ids_move_up(tmp_path):
    folder = coco_of(tmp_path, [(0, "cat"), (1, "dog")], [0, 2])
    flaws = inspect_dataset(open_dataset(str(folder), tolerant=True)).flaws
    assert [flaw.kind for flaw in flaws] == [FlawKind.UNKNOWN_CATEGORY]
    assert "'2' is not among" in flaws[0].what


def test_a_panoptic_category_0_is_a_class(tmp_path):
    tiny.photo(tmp_path / "train/a.png", (30, 40))
    ids = np.zeros((30, 40, 3), np.uint8)
    ids[:, :20, 0], ids[:, 20:, 0] = 1, 2
    (tmp_path / "annotations/panoptic_train").mkdir(parents=True)
    Image.fromarray(ids).save(tmp_path / "annotations/panoptic_train/a.png")
    segments = [{"id": number, "category_id": number - 1, "iscrowd": 0} for number in (1, 2)]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 30, "width": 40}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        "categories": [{"id": n, "name": name, "isthing": 1 - n} for n, name in enumerate("ab")],
    }
    (tmp_path / "annotations/panoptic_train.json").write_text(json.dumps(document))
    dataset = open_dataset(str(tmp_path), "train")
    image = dataset.images[0]
    assert [record.category.name for record in dataset.objects[image.id]] == ["a", "b"]
    assert np.unique(dataset.semantic(image)).tolist() == [1, 2]
    assert not dataset.void(image).any()
