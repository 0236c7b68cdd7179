"""`seem segment --format`: data sets of all photos beside the results of each."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from seem import zoo
from seem.checkpoints.network import MODEL_KEY
from seem.checkpoints.safe import write_tensors
from seem.cli.main import main
from seem.encoded_image import EncodedImage
from seem.errors import SeemError
from tiny import CONFIGS, picture, tiny_network


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    write_tensors(path, tiny_network("nano").state_dict(), {MODEL_KEY: "nano"})
    return path


@pytest.fixture
def run(tmp_path, monkeypatch, capfd, weights):
    """Run `seem segment` with a tiny network; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    for name, config in CONFIGS.items():
        monkeypatch.setitem(zoo.MODEL_CARDS, name, replace(zoo.MODEL_CARDS[name], config=config))

    def run(*arguments, verb="segment"):
        capfd.readouterr()
        options = ["--model", str(weights), "--device", "cpu", "--precision", "exact"]
        return main([verb, *map(str, arguments), *options]), *capfd.readouterr()

    return run


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "trip/a.png")):
        picture(53, 37, seed=seed).save(folder / name)
    return folder


def content(path):
    return json.loads(Path("seem-out", path).read_text())


def test_one_file_for_a_folder_has_distinct_ids(run, photos):
    code, out, err = run("photos", "--point", "9,9", "--format", "coco,labelme", "--format", "yolo")
    assert code == 0, err
    assert "seem-out/coco/annotations/: instances_all.json" in out
    assert "seem-out/labelme/: a.json, b.json" in out
    images = content("coco/annotations/instances_all.json")["images"]
    names = [(row["id"], row["file_name"]) for row in images]
    assert names == [(1, "a.png"), (2, "b.png"), (3, "trip/a.png")]
    truth = COCO("seem-out/coco/annotations/instances_all.json")
    results = truth.loadRes("seem-out/coco/results.json")
    assert len(results.anns) == len(truth.anns) > 0
    assert Path("seem-out/trip/a.json").is_file()  # the results of each photo are there as well
    assert content("labelme/trip/a.json")["imagePath"] == "../../../photos/trip/a.png"
    assert Path("seem-out/yolo/images/trip/a.png").read_bytes() == (photos / "trip/a.png").read_bytes()  # fmt: skip


def test_photos_of_one_name_from_two_folders_stay_apart(run, photos):
    code, _, err = run("photos/a.png", "photos/trip/a.png", "--point", "9,9", "--format", "coco")
    assert code == 0, err
    images = content("coco/annotations/instances_all.json")["images"]
    assert [row["file_name"] for row in images] == ["photos/a.png", "trip/a.png"]


def test_phrases_are_classes(run, photos):
    code, _, err = run("photos/a.png", "--text", "a red thing", "--threshold", "0", "--format", "coco")  # fmt: skip
    assert code == 0, err
    truth = content("coco/annotations/instances_all.json")
    names = {row["id"]: row["name"] for row in truth["categories"]}
    assert [names[row["category_id"]] for row in truth["annotations"]] == ["a red thing"]


def test_copies_are_no_photos_of_the_next_run(run, photos):
    first = ("photos", "--point", "9,9", "--out", "photos/out", "--format", "yolo")
    assert run(*first)[0] == 0
    code, _, err = run(*first, "--overwrite")
    assert code == 0, err
    names = {path.name for path in Path("photos/out/yolo/labels").rglob("*.txt")}
    assert names == {"a.txt", "b.txt"}
    assert not Path("photos/out/out").exists()
    named = run("photos/out/yolo/images", "--point", "9,9", "--out", "again")
    assert named[0] == 0, named[2]  # unless they are named


def interrupt_at(monkeypatch, name):
    original = EncodedImage.segment_many

    def interrupted(self, *arguments, **options):
        if self.name == name:
            raise KeyboardInterrupt
        return original(self, *arguments, **options)

    monkeypatch.setattr(EncodedImage, "segment_many", interrupted)


def files_of(folder):
    """The files of the data sets: JSON files of photos hold the seconds that they took."""
    data_sets = [Path(folder, name) for name in ("coco", "labelme", "yolo")]
    files = [path for home in data_sets for path in home.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_an_interrupted_run_goes_on_and_makes_the_same_data_sets(run, photos, monkeypatch):
    call = ("photos", "--point", "9,9", "--format", "coco,labelme,yolo")
    assert run(*call, "--out", "whole")[0] == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, "b.png")
        assert run(*call)[0] == 130
    assert not files_of("seem-out")
    code, _out, err = run(*call, "--resume")
    assert code == 0, err
    assert "1 of 3 photos have results already" in err
    assert len(files_of("whole")) > 8
    assert files_of("seem-out") == files_of("whole")


def test_saved_results_become_further_data_sets_without_the_model(run, photos):
    assert run("photos", "--point", "9,9")[0] == 0
    run_without_model = ("photos", "--point", "9,9", "--resume", "--format", "geojson")
    code, _, err = run(*run_without_model, "--quiet")
    assert (code, err) == (0, "")
    features = content("geojson/trip/a.geojson")["features"]
    assert len(features) == len(content("trip/a.json")["annotations"]) > 0


def test_a_saved_result_that_was_damaged_is_named(run, photos):
    assert run("photos", "--point", "9,9")[0] == 0
    Path("seem-out/b.json").write_text('{"images": []}')
    code, _, err = run("photos", "--point", "9,9", "--resume", "--quiet", "--format", "coco")
    assert code == 1
    assert err.startswith("seem: seem-out/b.json holds no result (IndexError")
    assert not Path("seem-out/coco/annotations").exists()


def test_a_photo_that_failed_is_in_no_data_set(run, photos, monkeypatch):
    original = EncodedImage.segment_many

    def failing(self, *arguments, **options):
        if self.name == "b.png":
            raise SeemError("no luck")
        return original(self, *arguments, **options)

    assert run("photos", "--point", "9,9")[0] == 0
    monkeypatch.setattr(EncodedImage, "segment_many", failing)
    assert run("photos", "--point", "9,9", "--overwrite", "--format", "coco")[0] == 1
    images = content("coco/annotations/instances_all.json")["images"]
    assert [row["file_name"] for row in images] == ["a.png", "trip/a.png"]


# --- seem label -------------------------------------------------------------------------------------------------------


@pytest.fixture
def label(run):
    """Run `seem label` with the tiny network."""
    return lambda *arguments: run(*arguments, verb="label")


def test_label_writes_a_data_set_and_a_page_to_look_it_through(label, photos):
    code, out, err = label("photos", "--classes", "cat,dog", "--threshold", "0", "--format", "voc")
    assert code == 0, err
    assert "seem-out/review/index.html" in out
    assert Path("seem-out/voc/SegmentationClass/trip/a.png").is_file()
    labels = Path("seem-out/voc/labelmap.txt").read_text().splitlines()
    assert labels[2:] == ["cat:128,0,0::", "dog:0,128,0::"]
    page = Path("seem-out/review/index.html").read_text()
    lowest = {}
    for name in ("a", "b", "trip/a"):
        lowest[f"{name}.png"] = min(row["score"] for row in content(f"{name}.json")["annotations"])
    order = sorted(lowest, key=lowest.get)
    assert re.findall(r"<strong>(.*?)</strong>", page) == order
    for link in re.findall(r'(?:href|src)="(.*?)"', page):
        assert Path("seem-out/review", link).is_file()


def test_label_writes_coco_unless_another_format_is_named(label, photos):
    assert label("photos/a.png", "--classes", "cat", "--threshold", "0")[0] == 0
    assert content("coco/annotations/instances_all.json")["categories"][0]["name"] == "cat"


def test_label_makes_panoptic_maps_of_panoptic_results(label, photos):
    assert label("photos/a.png", "--classes", "cat,sky", "--format", "coco-panoptic")[0] == 0
    assert content("a.json")["seem"]["task"] == "panoptic"
    code, _, err = label("photos", "--classes", "cat", "--format", "coco-panoptic,yolo")
    assert code == 2
    assert "yolo has objects one by one" in err


def test_label_goes_on_and_replaces_the_page(label, photos, monkeypatch):
    call = ("photos", "--classes", "cat", "--threshold", "0")
    assert label(*call)[0] == 0
    Path("seem-out/b.json").unlink()
    Path("seem-out/review/0009.jpg").write_bytes(b"of a longer page")
    code, _, err = label(*call, "--resume")
    assert code == 0, err
    assert sorted(path.name for path in Path("seem-out/review").iterdir()) == [
        "0001.jpg", "0002.jpg", "0003.jpg", "index.html",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--format", "coko"], 2, "There is no format 'coko'; there are coco, coco-polygons"),
        (["--format", ""], 2, "There is no format ''"),
        (["--copy-photos"], 2, "--copy-photos has an effect on --format alone"),
        (["--ids-from", "truth.json"], 2, "is for --format coco and --boxes"),
        (["--ids-from", "no.json", "--format", "coco"], 1, "no.json cannot be read"),
    ],
)
def test_a_wrong_call_is_one_line_and_leaves_nothing(run, photos, options, code, message):
    Path("truth.json").write_text('{"images": [], "categories": []}')
    result, out, err = run("photos", "--point", "9,9", *options)
    assert (result, out) == (code, "")
    assert len(err.splitlines()) == 1
    assert message in err
    assert not Path("seem-out").exists()


def test_a_data_set_that_is_there_is_not_touched(run, photos):
    Path("seem-out/coco").mkdir(parents=True)
    Path("seem-out/coco/mine.json").write_text("{}")
    code, _, err = run("photos", "--point", "9,9", "--format", "coco")
    assert code == 1
    assert "seem-out/coco holds files already; pass --overwrite" in err
    assert not Path("seem-out/a.json").exists()
