"""The bank of photos takes any mixture of data sets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import tiny_data as tiny
from seem.data.augmentation import Augmentation
from seem.data.banked_image import BankedImage, BankedObject
from seem.data.coco_rle import mask_to_rle
from seem.data.dataset import WeightedDataset
from seem.data.image_bank import ImageBank
from seem.data.opening import open_dataset, open_mixture
from seem.data.records import CategoryRecord, DataError, image_record, object_record
from seem.data.training_sampler import TrainingSampler
from tiny_data import A_HW, CAT, DOG


def mask_of(entry, hw):
    canvas = np.zeros(hw, np.uint8)
    x0, y0, x1, y1 = entry.box
    canvas[y0:y1, x0:x1] = entry.soft_mask
    return canvas >= 128


def test_a_bank_of_two_sets(tmp_path):
    tiny.coco_panoptic(tmp_path / "pets")
    tiny.voc(tmp_path / "animals")
    sets = [
        open_dataset(f"coco:{tmp_path}/pets"),
        WeightedDataset(open_dataset(f"voc:{tmp_path}/animals"), 3.0),
    ]
    bank = ImageBank.from_datasets(sets)
    assert {name: len(rows) for name, rows in bank.by_set.items()} == {"pets": 2, "VOC2012": 2}
    assert bank.weights == {"pets": 1.0, "VOC2012": 3.0}
    first = bank[0]
    assert np.array_equal(first.image, sets[0].pixels(sets[0].images[0]))
    told = {entry.record.category.text: mask_of(entry, A_HW) for entry in first.objects}
    assert set(told) == {"cat", "dog", "grass"}
    assert np.array_equal(told["cat"], CAT)
    assert np.array_equal(told["dog"], DOG)
    (void,) = first.ignored
    assert void.box == (0, 11, 16, 12)
    assert "grass" in first.complete_names
    crowd = bank[1].ignored
    assert [entry.record.category.text for entry in crowd] == ["cat"]


def test_sets_of_one_name_are_told_apart_and_sampled_by_weight(tmp_path):
    for place in ("one", "two"):
        tiny.folder_of_classes(tmp_path / place / "photos")
    specs = [f"{tmp_path}/one/photos*1", f"{tmp_path}/two/photos*0.000001"]
    bank = ImageBank.from_datasets(open_mixture(specs))
    assert bank.weights == {"photos": 1.0, "photos-2": 1e-6}
    assert len(bank) == 2  # photos without a class map tell nothing
    sampler = TrainingSampler(bank, size=32, weights=bank.weights, augmentation=Augmentation.none())
    samples = [sampler[number] for number in range(5)]
    assert {sample.set_name for sample in samples} == {"photos"}
    assert set(samples[0].names) == {"lesion", "vessel"}
    assert samples[0].complete_names == {"lesion", "vessel"}
    assert samples[0].ignore.any()


def test_large_images_are_shrunk(tmp_path):
    bank = ImageBank.from_datasets([open_dataset(f"coco:{tiny.coco(tmp_path)}")], longest_side=8)
    assert bank[0].image.shape == (6, 8, 3)
    assert bank[0].objects[0].area == pytest.approx(CAT.sum() / 4, rel=0.1)


def test_a_cached_bank_equals_the_decoded_one_and_follows_its_files(tmp_path):
    folder = tiny.voc(tmp_path / "animals")
    cache = tmp_path / "bank.bin"
    plain = ImageBank.from_datasets([open_dataset(f"voc:{folder}")])
    for _ in range(2):
        kept = ImageBank.from_datasets([open_dataset(f"voc:{folder}")], cache=cache)
        for a, b in zip(plain.images, kept.images, strict=True):
            assert np.array_equal(a.image, b.image)
            assert a.record == b.record
            for one, two in zip(a.objects + a.ignored, b.objects + b.ignored, strict=True):
                assert (one.record, one.box) == (two.record, two.box)
                assert np.array_equal(one.soft_mask, two.soft_mask)
    before = cache.stat().st_mtime_ns
    labels = folder / "VOC2012" / "SegmentationObject" / "a.png"
    os.utime(labels, ns=(1, 1))
    os.utime(folder / "VOC2012" / "SegmentationClass" / "a.png", ns=(1, 1))
    ImageBank.from_datasets([open_dataset(f"voc:{folder}")], cache=cache)
    assert cache.stat().st_mtime_ns > before


def test_a_set_that_tells_nothing_makes_no_bank(tmp_path):
    tiny.folder_of_classes(tmp_path)
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "a_lesion.png")
    bank = ImageBank.from_datasets([open_dataset(f"folder:{tmp_path}")])
    assert [entry.record.category.text for entry in bank[0].objects] == ["lesion"]
    with pytest.raises(DataError, match="no photo"):
        ImageBank.from_datasets([])


def test_a_damaged_annotation_is_not_trained_on_in_silence(tmp_path):
    document = tiny.coco_document()
    document["annotations"][0]["category_id"] = 99
    tiny.photos(tmp_path / "images")
    tiny.text(tmp_path / "annotations.json", document)
    with pytest.raises(DataError, match="seem data check"):
        ImageBank.from_datasets([open_dataset(f"coco:{tmp_path}")])
    assert (
        len(ImageBank.from_datasets([open_dataset(f"coco:{tmp_path}", tolerant=True)])[0].objects)
        == 1
    )


def test_the_pack_gives_the_same_images_both_ways(shared):
    pack = open_dataset(f"pack:{shared / 'data' / 'davis2016'}", "train")
    one = ImageBank.load(shared / "data", sets=["davis2016"], max_images=2)
    two = ImageBank.from_datasets([pack], max_images=2)
    for a, b in zip(one.images, two.images, strict=True):
        assert (a.record, a.complete_names) == (b.record, b.complete_names)
        assert np.abs(a.image.astype(int) - b.image).mean() < 1.0  # two JPEG decoders
        for x, y in zip(a.objects, b.objects, strict=True):
            assert (x.record, x.box) == (y.record, y.box)
            assert np.array_equal(x.soft_mask, y.soft_mask)


def banked_image(set_name, *names):
    """An image of one pixel an object; an object of no name is one without a class."""
    record = image_record(1, set_name, Path("a.png"), (1, 1), "train", "instances")
    rle = mask_to_rle(np.ones((1, 1), bool))
    entries = []
    for number, name in enumerate(names, 1):
        category = CategoryRecord(number, name, name, is_thing=True)
        truth = object_record(number, record, category, rle)
        entries.append(BankedObject(truth, (0, 0, 1, 1), np.full((1, 1), 255, np.uint8), 1.0))
    return BankedImage(record, np.zeros((1, 1, 3), np.uint8), tuple(entries), (), frozenset())


def test_classes_are_in_alphabetical_order_whatever_pythons_hash_seed():
    names = [f"class {letter}" for letter in "qwertyuiopasdfghjklzxcvbnm"]
    bank = ImageBank([banked_image("b", "zebra", "ant", ""), banked_image("a", *names, "ant")])
    assert list(bank.by_name) == ["ant", *sorted(names), "zebra"]
    assert (bank.by_name["ant"], bank.by_name["zebra"]) == ((0, 1), (0,))
    assert bank.by_name["class q"] == (1,)
    assert list(bank.by_set) == ["b", "a"]  # in the order of the images


def test_a_bank_that_reads_on_request_lists_the_same_classes(tmp_path):
    folder = tiny.coco_panoptic(tmp_path / "pets")
    dataset = open_dataset(f"coco:{folder}")
    decoded = ImageBank.from_datasets([dataset])
    read_on_request = ImageBank.from_datasets([dataset], in_memory=False)
    assert list(decoded.by_name.items()) == list(read_on_request.by_name.items())
    assert list(decoded.by_name) == ["cat", "dog", "grass", "horse"]
