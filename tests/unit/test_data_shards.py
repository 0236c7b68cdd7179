"""Shards hold exactly what the set holds that they were written from, and read photos by their place."""

from __future__ import annotations

import json
import shutil
import tarfile

import numpy as np
import pytest

import tiny_data as tiny
import tiny_training as training
from seem.cli import data as cli_data
from seem.cli.main import main
from seem.data.dataset import ALL_SPLIT
from seem.data.image_bank import ImageBank
from seem.data.inspection import inspect_dataset
from seem.data.opening import DatasetSpec, list_splits, open_dataset
from seem.data.readers.shards import write_shards
from seem.data.records import DataError
from seem.data.training_sampler import TrainingSampler
from unit.test_data_opening import WRITERS


@pytest.fixture
def pets(tmp_path):
    """The two photos of a COCO set with panoptic maps, and their shards."""
    whole = open_dataset(f"coco:{tiny.coco_panoptic(tmp_path / 'pets')}")
    write_shards(whole, tmp_path / "shards")
    return whole, tmp_path / "shards"


def contents_of(dataset, image):
    """Everything that a set says of a photo, and no file names."""
    panoptic, semantic, void = dataset.panoptic(image), dataset.semantic(image), dataset.void(image)
    record = (
        image.id,
        image.hw,
        image.labelled,
        image.captions,
        image.sequence,
        image.frame,
        image.path.name,
    )
    maps = [None if values is None else values.tolist() for values in (semantic, void)]
    partition = panoptic and (panoptic.ids.tolist(), panoptic.segments)
    said = [each for each in dataset.expressions if each.image_id == image.id]
    pixels = dataset.pixels(image).tolist()
    return (
        record,
        dataset.objects[image.id],
        maps,
        partition,
        dataset.complete_names(image),
        said,
        pixels,
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_shards_say_what_the_set_says(tmp_path, kind):
    spec = DatasetSpec.parse(f"{kind}:{WRITERS[kind](tmp_path / 'set')}")
    for split in list_splits(spec):
        whole = open_dataset(spec, split)
        write_shards(whole, tmp_path / "shards", per_shard=1)
        shards = open_dataset(tmp_path.joinpath("shards").as_posix(), split)
        assert shards.kind == "shards"
        assert shards.split == whole.split
        assert shards.categories == whole.categories
        for ours, theirs in zip(shards.images, whole.images, strict=True):
            assert contents_of(shards, ours) == contents_of(whole, theirs)
        assert inspect_dataset(shards).flaws == inspect_dataset(whole).flaws
    assert set(list_splits(tmp_path.joinpath("shards").as_posix())) == set(list_splits(spec))


def test_a_set_that_is_not_divided_stays_so(tmp_path):
    write_shards(open_dataset(str(tiny.folder_of_maps(tmp_path / "set"))), tmp_path / "shards")
    assert open_dataset(f"shards:{tmp_path}/shards", "train").split == ALL_SPLIT


def test_members_of_an_image_stand_together_and_share_their_name(pets):
    _, folder = pets
    (file,) = folder.glob("*.tar")
    with tarfile.open(file) as tar:
        names = tar.getnames()
    keys = [name.partition(".")[0] for name in names]
    assert keys == sorted(keys)
    assert [name.partition(".")[2] for name in names[:4]] == [
        "jpg",
        "json",
        "semantic.png",
        "panoptic.png",
    ]


def test_shards_of_shards_are_the_same_shards(pets, tmp_path):
    _, folder = pets
    write_shards(open_dataset(f"shards:{folder}"), tmp_path / "again")
    assert (tmp_path / "again" / "val-000000.tar").read_bytes() == (
        folder / "val-000000.tar"
    ).read_bytes()


def test_the_index_is_made_anew_when_it_is_gone_or_old(pets):
    whole, folder = pets
    index = folder / "val.index.json"
    kept = index.read_text()
    for damage in (
        index.unlink,
        lambda: index.write_text("{"),
        lambda: index.write_text(kept.replace("size", "s")),
    ):
        damage()
        shards = open_dataset(f"shards:{folder}")
        assert [image.id for image in shards.images] == [image.id for image in whole.images]
        assert index.read_text() == kept


def test_damage_is_told_in_one_line(pets, tmp_path):
    _, folder = pets
    (file,) = folder.glob("*.tar")
    content = file.read_bytes()
    shards = open_dataset(f"shards:{folder}")
    file.write_bytes(content[:700])
    with pytest.raises(DataError, match=r"val-000000.tar is cut short; copy it again"):
        shards.pixels(shards.images[0])
    for damage in (content[:700], b"no tar at all" * 100):
        file.write_bytes(damage)
        with pytest.raises(DataError, match=r"val-000000.tar cannot be read as a shard") as told:
            open_dataset(f"shards:{folder}")
        assert "\n" not in str(told.value)
    file.write_bytes(content)
    (folder / "classes.json").unlink()
    with pytest.raises(DataError, match=r"classes.json is missing"):
        open_dataset(f"shards:{folder}")


def test_a_shard_that_is_damaged_in_its_middle_loses_nothing_in_silence(pets):
    """`tarfile` takes a header that it cannot read for the end of the archive."""
    _, folder = pets
    (tar,) = folder.glob("*.tar")
    with tarfile.open(tar) as archive:
        offset = archive.getmembers()[2].offset
    content = bytearray(tar.read_bytes())
    content[offset : offset + 8] = b"\xff" * 8
    tar.write_bytes(content)
    with pytest.raises(DataError, match=f"damaged or cut short behind byte {offset}"):
        open_dataset(str(folder))
    tar.write_bytes(content[:offset])
    with pytest.raises(DataError, match=f"damaged or cut short behind byte {offset}"):
        open_dataset(str(folder))


def numbered_shards(folder, *names):
    """Copy the only shard of a folder under other names."""
    (tar,) = folder.glob("*.tar")
    for name in names:
        shutil.copy(tar, folder / name)
    tar.unlink()


def test_missing_numbers_of_shards_are_noted(pets):
    _, folder = pets
    numbered_shards(folder, "all-000001.TAR", "all-000004.tar")
    dataset = open_dataset(str(folder), "train", tolerant=True)
    assert [note.what for note in dataset.notes] == [
        "shards are numbered from 0: 3 missing, the first is number 0"
    ]
    assert len(dataset.images) == 2
    assert len(dataset.flaws) == 2  # the same photos again


def test_undivided_shards_beside_others_are_a_part(pets):
    _, folder = pets
    numbered_shards(folder, "all-000000.tar", "extra-000000.tar")
    assert list_splits(str(folder)) == ("all", "extra")
    assert len(open_dataset(str(folder), "extra").images) == 2


@pytest.mark.parametrize(
    "content",
    ['{"layout": 1}', "[]", '{"layout": 1, "tars": TARS, "photos": [{"record": {"id": []}, "members": {}}]}'],
)  # fmt: skip
def test_an_index_that_is_none_is_made_anew(pets, content):
    whole, folder = pets
    open_dataset(str(folder))
    (index,) = folder.glob("*.index.json")
    tars = json.dumps(json.loads(index.read_text())["tars"])
    index.write_text(content.replace("TARS", tars))
    assert len(open_dataset(str(folder)).images) == len(whole.images)


def test_an_image_that_cannot_be_read_is_not_written(tmp_path):
    folder = tiny.coco(tmp_path / "set")
    next(folder.rglob("b.jpg")).write_bytes(b"half")
    with pytest.raises(DataError, match=r"b.jpg"):
        write_shards(open_dataset(f"coco:{folder}"), tmp_path / "shards")
    assert not list((tmp_path / "shards").glob("*.tar"))
    assert not list((tmp_path / "shards").glob("*.part"))


def test_images_that_are_read_when_drawn_give_the_same_samples(pets):
    whole, folder = pets
    kept = ImageBank.from_datasets([whole])
    drawn = ImageBank.from_datasets([open_dataset(f"shards:{folder}")], in_memory=False)
    assert len(drawn) == len(kept) == 2
    assert drawn.by_name == kept.by_name
    assert [len(each) for each in (drawn.images[:1], drawn.images)] == [1, 2]
    ours, theirs = (
        TrainingSampler(bank, size=32, weights=bank.weights, seed=3) for bank in (drawn, kept)
    )
    for number in range(6):
        one, other = ours[number], theirs[number]
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.masks, other.masks)
        assert (one.names, one.phrases) == (other.names, other.phrases)
        assert ours.partner(one, number).image_id == theirs.partner(other, number).image_id


def test_the_command_line_writes_every_part(tmp_path, capsys):
    folder = tiny.yolo(tmp_path / "set")
    shutil.copytree(folder / "labels" / "val", folder / "labels" / "train")
    words = ["data", "shards", str(folder), str(tmp_path / "out")]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert f"Use it: seem finetune --data shards:{tmp_path / 'out'}" in told
    assert set(list_splits(f"shards:{tmp_path}/out")) == set(list_splits(str(folder)))
    assert main(["data", "check", str(tmp_path / "out")]) == 0
    assert main(words) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


def test_the_command_line_replaces_nothing_but_shards(tmp_path, capsys):
    folder, out = training.coco_bricks(tmp_path / "set", 3), tmp_path / "out"
    words = ["data", "shards", str(folder), str(out), "--per-shard", "1"]
    assert main(words) == 0
    (out / "holidays.tar").write_bytes(b"somebody else's")
    assert main([*words[:-1], "2", "--overwrite"]) == 0
    assert {file.name for file in out.glob("*.tar")} == {
        "holidays.tar",
        "all-000000.tar",
        "all-000001.tar",
    }
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    assert main(["data", "shards", f"shards:{out}", str(out), "--overwrite"]) == 2
    assert "OUT is the data set itself" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_shards_that_cannot_be_written_leave_the_old_ones(tmp_path, monkeypatch):
    folder, out = training.coco_bricks(tmp_path / "set", 2), tmp_path / "out"
    assert main(["data", "shards", str(folder), str(out)]) == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}

    def full(dataset, aside, *others):
        (aside / "all-000000.tar").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli_data, "write_shards", full)
    assert main(["data", "shards", str(folder), str(out), "--overwrite"]) == 1
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert main(["data", "shards", str(folder), str(tmp_path / "new")]) == 1
    assert not (tmp_path / "new").exists()


def test_the_command_line_leaves_out_what_cannot_be_read(tmp_path, capsys):
    folder = training.coco_bricks(tmp_path / "set", 4, spoil)
    (folder / "images" / "p3.png").write_bytes(b"half")
    words = ["data", "shards", str(folder), str(tmp_path / "out")]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "3 photos in 1 tar; 1 that cannot be used are left out" in told
    assert f"seem data check {folder}" in told
    shards = open_dataset(f"shards:{tmp_path}/out")
    assert [image.path.name for image in shards.images] == ["p1.png", "p2.png", "p4.png"]
    assert [len(shards.objects[image.id]) for image in shards.images] == [0, 1, 1]
    assert inspect_dataset(shards).ok


def test_a_set_of_which_nothing_can_be_read_leaves_old_shards_alone(tmp_path, capsys):
    folder = training.coco_bricks(tmp_path / "set", 2)
    words = ["data", "shards", str(folder), str(tmp_path / "out")]
    assert main(words) == 0
    before = sorted((tmp_path / "out").iterdir())
    for image in (folder / "images").iterdir():
        image.write_bytes(b"half")
    assert main([*words, "--overwrite"]) == 1
    assert "has no photo that can be read" in capsys.readouterr().err
    assert sorted((tmp_path / "out").iterdir()) == before


def spoil(document):
    """Name a class that is not there."""
    document["annotations"][0]["category_id"] = 9
