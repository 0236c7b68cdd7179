"""Evaluation subsets: the same data and seed give the same file, a smaller one is part of a larger one."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tiny_data as tiny
from seem.cli.main import main
from seem.data.opening import open_dataset
from seem.data.records import DataError
from seem.data.subset import Subset, draw_subset, first_prompts
from tiny_data import CAT, DOG, HORSE


def many_photos(root, count=6):
    """COCO with a cat on every photo, and a dog on every second."""
    images, annotations = [], []
    for number in range(1, count + 1):
        tiny.photo(root / "images" / f"{number:03}.jpg", (40, 60), number)
        images.append({"id": number, "file_name": f"{number:03}.jpg", "height": 40, "width": 60})
        shapes = [(17, tiny.polygon(3, 4, 20, 30))] + [(18, tiny.polygon(30, 5, 55, 35))] * (
            number % 2
        )
        for place, (category, ring) in enumerate(shapes):
            annotations.append(
                {"id": 10 * number + place, "image_id": number, "category_id": category, "segmentation": [ring],
                 "bbox": [ring[0], ring[1], ring[4] - ring[0], ring[5] - ring[1]], "area": 1, "iscrowd": 0}
            )  # fmt: skip
    tiny.text(
        root / "annotations.json",
        {"images": images, "annotations": annotations, "categories": tiny.CATEGORIES},
    )
    return root


def test_a_subset_follows_from_data_and_seed_alone(tmp_path):
    cats = open_dataset(f"coco:{many_photos(tmp_path)}")
    first, again, other = draw_subset(cats, 3), draw_subset(cats, 3), draw_subset(cats, 3, seed=1)
    assert first == again
    assert first.fingerprint != other.fingerprint
    larger = {image.file_name for image in draw_subset(cats, 5).images}
    assert {image.file_name for image in first.images} < larger
    assert all(len(image.objects) == 1 for image in draw_subset(cats, 6, per_image=1).images)


@pytest.mark.parametrize("truth", [CAT, DOG, HORSE])
def test_first_prompts_are_on_the_object(truth):
    prompts = first_prompts(truth, 5)
    assert prompts == first_prompts(truth, 5)
    assert set(prompts) == {"point", "circle", "scribble", "polygon", "box"}
    x, y = prompts["point"]["point"]
    assert truth[y, x]
    rows, columns = np.nonzero(truth)
    assert prompts["box"]["box"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    json.dumps(prompts)


def test_a_subset_is_read_back_and_a_changed_one_refused(tmp_path):
    many_photos(tmp_path / "cats")
    out = tmp_path / "subset.json"
    command = ["data", "subset", f"coco:{tmp_path}/cats", str(out), "--photos", "4"]
    assert main(command) == 0
    before = out.read_bytes()
    assert main(command) == 1  # it exists
    assert main([*command, "--overwrite"]) == 0
    assert out.read_bytes() == before
    found = Subset.read(out)
    assert found == draw_subset(open_dataset(f"coco:{tmp_path}/cats"), 4)
    told = json.loads(before)
    told["photos"].pop()
    out.write_text(json.dumps(told))
    with pytest.raises(DataError, match="was changed"):
        Subset.read(out)
    out.write_text("{}")
    with pytest.raises(DataError, match="no evaluation subset"):
        Subset.read(out)


def test_too_few_images_are_said(tmp_path, capsys):
    assert main(["data", "subset", f"coco:{many_photos(tmp_path)}", str(tmp_path / "x.json")]) == 2
    assert "has 6 photos" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("write", [lambda root: tiny.ade20k_objects(root)[0], tiny.openimages])
def test_subsets_of_other_formats(tmp_path, write):
    drawn = draw_subset(open_dataset(str(write(tmp_path))), 1)
    assert drawn.images[0].objects
