"""Parts of data sets: all of them as one, parts of any name, parts for validation that cannot be used."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import tiny_data as tiny
import tiny_training
from seem.data.image_bank import ImageBank
from seem.data.opening import list_splits, open_dataset
from seem.data.records import DataError
from seem.data.training_sampler import TrainingSampler
from seem.finetuning.console import source_lines
from seem.finetuning.datasets import inspect_source, open_training_data
from seem.training.batch_sampler import draw_sample_pairs
from seem.training.targets import PromptMix, draw_targets


def coco_file(file, folder, names, categories=("cat",), first_id=1, annotated=True):
    """Write a COCO file, and photos in a folder, with a square each."""
    document = {"images": [], "annotations": [], "categories": []}
    for number, name in enumerate(categories, 1):
        document["categories"].append({"id": number, "name": name})
    for number, name in enumerate(names, first_id):
        tiny.photo(folder / name, (30, 40), seed=number)
        document["images"].append({"id": number, "file_name": name, "height": 30, "width": 40})
        row = {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0}
        polygon = [5.0, 5.0, 25.0, 5.0, 25.0, 20.0, 5.0, 20.0]
        if annotated:
            document["annotations"].append({**row, "segmentation": [polygon]})
    tiny.text(file, json.dumps(document))


def coco_part(folder, names, *args, **kwargs):
    """Write one part of a COCO export."""
    coco_file(folder / "_annotations.coco.json", folder, names, *args, **kwargs)
    return folder


@pytest.mark.parametrize("categories", [("cat",), ("dog",)])
def test_all_parts_are_one_set(tmp_path, categories):
    coco_part(tmp_path / "train", ["a.png", "b.png"])
    coco_part(tmp_path / "valid", ["c.png"], categories)
    everything = open_dataset(str(tmp_path), "all")
    assert everything.split == "all"
    assert [image.path.name for image in everything.images] == ["a.png", "b.png", "c.png"]
    assert [image.id for image in everything.images] == [1, 2, 3]
    objects = [everything.objects[image.id][0] for image in everything.images]
    assert [record.image_id for record in objects] == [1, 2, 3]
    assert [record.category.name for record in objects] == ["cat", "cat", *categories]
    assert {record.category.id for record in objects} <= everything.categories.keys()
    last = everything.images[2]
    assert everything.pixels(last).shape == (30, 40, 3)
    assert everything.complete_names(last) == set(categories)
    assert everything.read_encoded(last) == (tmp_path / "valid/c.png").read_bytes()


def test_class_maps_of_all_parts_use_the_joined_numbers(tmp_path):
    for part, value in (("train", 1), ("val", 2)):
        tiny.photo(tmp_path / part / "images" / f"{part}.jpg", (30, 40))
        tiny.grey(tmp_path / part / "masks" / f"{part}.png", np.full((30, 40), value))
    tiny.text(tmp_path / "classes.txt", "cat\ndog\n")
    everything = open_dataset(str(tmp_path), "all")
    values = [np.unique(everything.semantic(image)).tolist() for image in everything.images]
    assert values == [[1], [2]]


def pack_with_parts(root, parts):
    document = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    for number, part in enumerate(parts, 1):
        tiny.photo(root / "images" / f"{number}.png", (30, 40))
        row = {"id": number, "file_name": f"{number}.png", "height": 30, "width": 40}
        document["images"].append({**row, "split": part, "labelled": "instances"})
    (root / "annotations.json").write_text(json.dumps(document))
    return root


def test_parts_of_a_pack_may_have_any_name(tmp_path):
    root = pack_with_parts(tmp_path, ["train", "fold-1", "größe 2"])
    assert list_splits(str(root)) == ("train", "fold-1", "größe 2")
    for name, count in (("fold-1", 1), ("größe 2", 1), ("all", 3)):
        assert len(open_dataset(str(root), name).images) == count
    with pytest.raises(DataError, match="has no part 'fold'; it has train, fold-1, größe 2"):
        open_dataset(str(root), "fold")


def said_about(path):
    source, reports = inspect_source(str(path))
    return source, "\n".join(source_lines(source, reports))


def paths_of(datasets):
    return {image.path for dataset in datasets for image in dataset.images}


@pytest.mark.parametrize(
    ("names", "annotated", "words"),
    [
        ([], True, "its part 'valid' cannot be used: .*has no photo"),
        (["v.png", "w.png"], False, "its part 'valid' has no photo with an object"),
    ],
)
def test_a_part_for_validation_that_cannot_be_used_is_replaced(tmp_path, names, annotated, words):
    coco_part(tmp_path / "train", [f"{number}.png" for number in range(8)])
    coco_part(tmp_path / "valid", names, annotated=annotated)
    source, said = said_about(tmp_path)
    assert source.validation_split is None
    assert re.search(f"{words}.*; a tenth of the training photos is held out", said)
    data = open_training_data([source], 0)
    assert not data.is_shared
    assert (data.num_train, data.num_validation) == (7, 1)
    assert type(source).from_json(json.loads(json.dumps(source.to_json()))) == source


def test_photos_that_are_trained_on_are_never_validated_on(tmp_path):
    for name in ("a", "b", "c", "d"):
        tiny.photo(tmp_path / f"images/train/{name}.png", (30, 40))
        tiny.text(tmp_path / f"labels/train/{name}.txt", "0 0.1 0.1 0.6 0.1 0.6 0.6\n")
    tiny.text(tmp_path / "data.yaml", "train: images/train\nval: images/train\nnames: [cat]\n")
    source, said = said_about(tmp_path)
    assert "the photos of its part 'val' are those of 'train'" in said
    data = open_training_data([source], 0)
    train = paths_of(weighted.dataset for weighted in data.train)
    assert train.isdisjoint(paths_of(data.validation))
    assert not data.is_shared
    tiny.photo(tmp_path / "images/val/e.png", (30, 40))
    tiny.text(tmp_path / "labels/val/e.txt", "0 0.1 0.1 0.6 0.1 0.6 0.6\n")
    (tmp_path / "data.yaml").write_text(
        "train: images/train\nval: [images/train, images/val]\nnames: [cat]\n"
    )
    source, said = said_about(tmp_path)
    assert "4 photos of its part 'val' are in 'train' too; they are left out" in said
    validation = paths_of(open_training_data([source], 0).validation)
    assert {path.name for path in validation} == {"e.png"}


def test_photos_marked_as_containing_nothing_are_learnt_from(tmp_path):
    def without_last_object(document):
        del document["annotations"][-1]

    folder = tiny_training.coco_bricks(tmp_path / "coco", count=6, change=without_last_object)
    data = open_training_data([inspect_source(str(folder))[0]], 0)
    negatives = [
        image
        for image in data.train[0].dataset.images
        if not data.train[0].dataset.objects[image.id]
    ]
    assert [image.id for image in negatives] == [6]
    assert 6 not in {image.id for image in data.validation[0].images}
    bank = ImageBank.from_datasets(data.train)
    sampler = TrainingSampler(bank, size=32, weights=bank.weights)
    samples = draw_sample_pairs(sampler, 0, 40, with_negatives=True)
    empty = [sample for sample in samples[::2] if sample.image_id == 6]
    assert empty
    assert all(sample.image_id != 6 for sample in samples[1::2])  # a reference needs an object
    targets = draw_targets(empty[0], 3, PromptMix(), np.random.default_rng(0))
    assert (targets[0].phrase, targets[0].truth.any()) == ("brick", False)


def test_photos_about_which_nothing_is_known_are_no_negatives(tmp_path):
    folder = tiny_training.bricks(tmp_path / "set", count=5)
    (folder / "masks" / "p4.png").unlink()
    Image.new("L", (64, 48)).save(folder / "masks" / "p3.png")
    data = open_training_data([inspect_source(str(folder))[0]], 0)
    used = {path.name for path in paths_of(weighted.dataset for weighted in data.train)}
    used |= {path.name for path in paths_of(data.validation)}
    assert used == {"p0.png", "p1.png", "p2.png", "p3.png"}


@pytest.mark.parametrize("folder", ["", "annotations"])
def test_several_coco_files_in_one_folder_are_parts(tmp_path, folder):
    for number, name in enumerate(("batch1", "batch2"), 1):
        coco_file(tmp_path / folder / f"{name}.json", tmp_path / "images", [f"{number}.png"])
    assert list_splits(str(tmp_path)) == ("batch1", "batch2")
    everything = open_dataset(str(tmp_path), "all")
    assert [image.path.name for image in everything.images] == ["1.png", "2.png"]
    assert all(everything.objects[image.id] for image in everything.images)
    source, said = said_about(tmp_path)
    assert (source.train_split, source.validation_split) == ("all", None)
    assert open_training_data([source], 0).num_train == 1  # and one held out
    assert "not used" not in said


def test_names_of_several_coco_files_say_which_part_they_are(tmp_path):
    for name in ("coco_train", "coco-Val", "extra"):
        coco_file(tmp_path / f"{name}.JSON", tmp_path / "images", [f"{name}.png"])
    assert list_splits(str(tmp_path)) == ("train", "val", "extra")
    source, said = said_about(tmp_path)
    assert (source.train_split, source.validation_split) == ("train", "val")
    assert "not used: part extra" in said


def test_parts_may_hold_their_file_in_a_folder_of_its_own(tmp_path):
    for name in ("ds0", "ds1"):
        file = tmp_path / name / "annotations/coco_instances.json"
        coco_file(file, tmp_path / name / "images", [f"{name}.png"])
    assert list_splits(str(tmp_path)) == ("ds0", "ds1")
    assert len(open_dataset(str(tmp_path), "all").images) == 2


def test_a_photo_of_two_parts_is_noted(tmp_path):
    for name in ("first", "second"):
        coco_file(tmp_path / f"{name}.json", tmp_path / "images", ["1.png"])
    notes = [str(note) for note in open_dataset(str(tmp_path), "all").notes]
    assert notes == [
        "1.png: photo listed twice, photos 1, 2 are this file, each with its own annotations alone"
    ]


def test_parts_are_known_by_their_names_in_any_case(tmp_path):
    for part in ("Train", "Validation"):
        tiny.photo(tmp_path / part / "Images/a.png", (30, 40))
        tiny.grey(tmp_path / part / "Masks/a.png", np.ones((30, 40)))
    assert list_splits(str(tmp_path)) == ("Train", "Validation")
    assert open_dataset(str(tmp_path), "val").split == "Validation"
    source, _ = said_about(tmp_path)
    assert (source.train_split, source.validation_split) == ("Train", "Validation")


def labelme_file(path, **flags):
    shape = {"label": "cat", "points": [[5, 5], [25, 5], [25, 20]], "shape_type": "polygon"}
    content = {"shapes": [{**shape, "flags": flags}], "imagePath": f"{path.stem}.png"}
    tiny.photo(path.with_suffix(".png"), (30, 40))
    tiny.text(path, json.dumps(content))


def test_groups_alone_are_refused_before_training(tmp_path):
    labelme_file(tmp_path / "a.json", iscrowd=True)
    labelme_file(tmp_path / "b.json", iscrowd=True)
    source, _ = inspect_source(str(tmp_path))
    with pytest.raises(
        DataError, match=r"every mask is a group of several objects .*; mark single"
    ):
        open_training_data([source], 0)
    labelme_file(tmp_path / "c.json")
    source, _ = inspect_source(str(tmp_path))
    assert open_training_data([source], 0).num_train


def test_a_part_of_groups_alone_is_no_validation(tmp_path):
    for name in ("a", "b", "c"):
        labelme_file(tmp_path / f"train/{name}.json")
    labelme_file(tmp_path / "val/d.json", iscrowd=True)
    source, said = said_about(tmp_path)
    assert source.validation_split is None
    assert "its part 'val' has no photo with an object that could be used" in said
