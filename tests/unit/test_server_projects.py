"""Projects over HTTP: photos of a folder, annotations with versions, conflicts, exports that our own reader opens."""

import errno
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import seem
from seem.coco_format import to_rle
from seem.data.opening import open_dataset
from seem.part_files import is_part
from seem.server.projects import photo_folder
from seem.server.projects.project import Project
from seem.server.settings import Limits
from server import decode, image_file, problem_of, running
from tiny import tiny_model

HEIGHT, WIDTH = 40, 48
FIRST = np.zeros((HEIGHT, WIDTH), dtype=bool)
FIRST[3:20, 4:30] = True
FIRST[8:12, 10:15] = False  # a hole
SECOND = np.zeros((HEIGHT, WIDTH), dtype=bool)
SECOND[25:39, 20:47] = True


def annotation(number=1, mask=FIRST, label="cat", **fields):
    return {"id": number, "label": label, "mask": to_rle(mask), **fields}


@pytest.fixture(autouse=True)
def _always_look(monkeypatch):
    monkeypatch.setattr(photo_folder, "RESCAN_SECONDS", 0.0)


@pytest.fixture(scope="module")
def model():
    return tiny_model("nano")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "street"
    (folder / "more").mkdir(parents=True)
    for name in ("a.png", "b.png", "more/a.png"):
        (folder / name).write_bytes(image_file(WIDTH, HEIGHT, seed=len(name)))
    return folder


@pytest.fixture
def client(model, photos):
    with running(model, Limits(image_pixels=100_000), project=Project.open(photos)) as client:
        yield client


def listed(client) -> dict:
    return {photo["name"]: photo for photo in client.get("/v1/project").json()["photos"]}


def edit(client, name, *objects, version=None, **fields):
    photo = listed(client)[name]
    body = {
        "version": photo["version"] if version is None else version,
        "width": WIDTH,
        "height": HEIGHT,
        "objects": list(objects),
        **fields,
    }
    return client.put(f"/v1/project/photos/{photo['id']}", json=body)


def read(client, name) -> dict:
    return client.get(f"/v1/project/photos/{listed(client)[name]['id']}").json()


def test_a_project_is_the_photos_of_its_folder(client):
    body = client.get("/v1/project").json()
    assert body["name"] == "street"
    assert [photo["name"] for photo in body["photos"]] == ["a.png", "b.png", "more/a.png"]
    assert len({photo["id"] for photo in body["photos"]}) == 3
    assert client.get("/v1/info").json()["project"] == "street"
    for photo in body["photos"]:
        assert (photo["version"], photo["objects"], photo["proposals"]) == (0, 0, 0)
        assert (photo["done"], photo["missing"]) == (False, False)


def test_without_a_folder_there_is_none(model):
    with running(model) as client:
        assert client.get("/v1/info").json()["project"] is None
        assert problem_of(client.get("/v1/project")) == "not-found"


def test_an_edit_is_stored_and_read_again(client):
    prompts = [{"kind": "point", "x": 3, "y": 4, "positive": True}]
    one = annotation(7, score=0.5, color=3, prompts=prompts, source="marks")
    two = annotation(2, SECOND, None, proposed=True, visible=False)
    answer = edit(client, "a.png", one, two, done=True)
    assert answer.json() == {**listed(client)["a.png"], "version": 1, "objects": 1, "proposals": 1}
    body = read(client, "a.png")
    assert (body["width"], body["height"], body["done"]) == (WIDTH, HEIGHT, True)
    first, second = body["objects"]
    assert (first["id"], first["label"], first["score"], first["color"]) == (7, "cat", 0.5, 3)
    assert first["prompts"] == prompts
    assert (second["id"], second["label"], second["proposed"], second["visible"]) == (2, None, True, False)  # fmt: skip
    assert (decode(first["mask"]) == FIRST).all()
    assert (decode(second["mask"]) == SECOND).all()


def test_an_edit_of_an_older_version_is_a_conflict_and_changes_nothing(client):
    assert edit(client, "a.png", annotation()).status_code == 200
    answer = edit(client, "a.png", annotation(label="dog"), version=0)
    assert answer.status_code == 409
    assert problem_of(answer) == "edit-conflict"
    assert "a.png" in answer.json()["detail"]
    assert [one["label"] for one in read(client, "a.png")["objects"]] == ["cat"]
    assert edit(client, "a.png", annotation(label="dog"), version=1).json()["version"] == 2


def test_classes_have_versions_too(client):
    first = {"version": 0, "names": ["dog", "cat"]}
    answer = client.put("/v1/project/classes", json=first)
    assert answer.json() == {"version": 1, "names": ["dog", "cat"]}
    assert problem_of(client.put("/v1/project/classes", json=first)) == "edit-conflict"
    assert client.get("/v1/project").json()["classes"]["names"] == ["dog", "cat"]


def test_another_server_continues_where_this_one_stopped(client, model, photos):
    edit(client, "a.png", annotation(), done=True)
    with running(model, project=Project.open(photos)) as other:
        assert listed(other) == listed(client)
        assert edit(other, "a.png", annotation(label="dog")).status_code == 200
    assert edit(client, "a.png", annotation(), version=1).status_code == 409


def test_changes_of_the_folder_are_noticed(client, photos):
    before = listed(client)
    edit(client, "a.png", annotation())
    (photos / "new.jpg").write_bytes(image_file(form="JPEG"))
    (photos / "a.png").unlink()
    (photos / "b.png").unlink()
    now = listed(client)
    assert set(now) == {"a.png", "more/a.png", "new.jpg"}  # b.png had nothing
    assert now["a.png"]["missing"]
    assert problem_of(client.post(f"/v1/project/photos/{now['a.png']['id']}/image")) == "gone"
    assert len(read(client, "a.png")["objects"]) == 1
    (photos / "b.png").write_bytes(image_file(WIDTH, HEIGHT))
    assert listed(client)["b.png"]["id"] == before["b.png"]["id"]


def test_a_photo_of_another_size_has_its_objects_drawn_anew(client, photos):
    edit(client, "a.png", annotation(), done=True)
    (photos / "a.png").write_bytes(image_file(20, 10))
    body = read(client, "a.png")
    assert (body["width"], body["height"], body["objects"]) == (20, 10, [])
    assert "20 x 10" in body["notes"][0]
    assert problem_of(edit(client, "a.png", annotation())) == "invalid-request"
    answer = client.get("/v1/project/export")
    assert problem_of(answer) == "invalid-request"
    assert "a.png is 20 x 10 pixels" in answer.json()["detail"]


def test_nothing_outside_of_the_folder_is_listed_or_read(client, photos, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(image_file())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.png").write_bytes(image_file())
    (photos / "link.png").symlink_to(secret)
    (photos / "folder").symlink_to(tmp_path / "elsewhere")
    (photos / "inside.png").symlink_to("a.png")
    (photos / ".hidden.png").write_bytes(image_file())
    (photos / "broken.png").symlink_to("nowhere.png")
    os.mkfifo(photos / "pipe.png")
    assert set(listed(client)) == {"a.png", "b.png", "more/a.png", "inside.png"}
    photo = listed(client)["b.png"]
    (photos / "b.png").unlink()
    (photos / "b.png").symlink_to(secret)
    assert problem_of(client.post(f"/v1/project/photos/{photo['id']}/image")) == "gone"
    for path in ("../secret.png", "..%2Fsecret.png", "a.png"):
        assert client.get(f"/v1/project/photos/{path}").status_code == 404


def test_a_photo_is_encoded_once_for_everybody(client, photos):
    photo = listed(client)["a.png"]
    first = client.post(f"/v1/project/photos/{photo['id']}/image")
    assert first.status_code == 201
    assert first.json()["name"] == "a.png"
    again = client.post(f"/v1/project/photos/{photo['id']}/image").json()
    assert again["id"] == first.json()["id"]
    question = {"prompts": [{"kind": "point", "x": 20, "y": 10}]}
    assert client.post(f"/v1/images/{again['id']}/segment", json=question).status_code == 200
    client.delete(f"/v1/images/{again['id']}")
    new = client.post(f"/v1/project/photos/{photo['id']}/image").json()
    (photos / "a.png").write_bytes(image_file(30, 30))
    changed = client.post(f"/v1/project/photos/{photo['id']}/image").json()
    assert len({again["id"], new["id"], changed["id"]}) == 3
    assert changed["width"] == 30


def test_thumbnails_are_small_and_upright(client, photos):
    turned = Image.new("RGB", (480, 200), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(photos / "large.jpg", exif=exif)
    photo = listed(client)["large.jpg"]
    answer = client.get(f"/v1/project/photos/{photo['id']}/thumbnail")
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as small:
        assert (small.height, small.width) == (320, 133)
    (photos / "large.jpg").write_bytes(b"no picture")
    assert problem_of(client.get(f"/v1/project/photos/{photo['id']}/thumbnail")) == "unreadable"


@pytest.mark.parametrize(
    "fields",
    [
        {"objects": [annotation(1), annotation(1)]},
        {"objects": [annotation(mask=FIRST[:20])]},
        {"objects": [{"id": 1, "mask": {"size": [HEIGHT, WIDTH], "counts": "\x00!"}}]},
        {"objects": [annotation(label="a\x00b")]},
        {"objects": [annotation(label="")]},
        {"objects": [annotation(0)]},
        {"objects": [annotation(2**40)]},
        {"version": 2**40},
        {"width": 0},
        {"width": WIDTH + 1},
        {"name": "a.png"},
    ],
)
def test_an_edit_that_cannot_be_is_refused_whole(client, fields):
    photo = listed(client)["a.png"]
    body = {"version": 0, "width": WIDTH, "height": HEIGHT, "objects": [], **fields}
    answer = client.put(f"/v1/project/photos/{photo['id']}", json=body)
    assert problem_of(answer) == "invalid-request"
    assert listed(client)["a.png"] == photo


def test_a_label_of_half_a_character_is_refused(client):
    photo = listed(client)["a.png"]
    body = json.dumps({"version": 0, "width": WIDTH, "height": HEIGHT, "objects": [annotation()]})
    content = body.replace('"cat"', '"\\ud800"').encode()
    headers = {"Content-Type": "application/json"}
    answer = client.put(f"/v1/project/photos/{photo['id']}", content=content, headers=headers)
    assert answer.status_code == 422


# --- Export -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(client):
    client.put("/v1/project/classes", json={"version": 0, "names": ["dog", "cat"]})
    proposal = annotation(3, SECOND, "dog", proposed=True)
    edit(client, "a.png", annotation(1, FIRST, "Cat", score=0.75), proposal, done=True)
    edit(client, "more/a.png", annotation(1, SECOND, "bird"), done=True)
    edit(client, "b.png", annotation(1, FIRST, "dog"))
    return client


def files_in(response) -> dict[str, bytes]:
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_coco_has_what_is_done_without_proposals(finished):
    answer = finished.get("/v1/project/export")
    assert answer.headers["content-disposition"] == 'attachment; filename="street-coco.json"'
    content = answer.json()
    names = {row["id"]: row["name"] for row in content["categories"]}
    assert list(names.values()) == ["dog", "cat", "bird"]
    assert [row["file_name"] for row in content["images"]] == ["a.png", "more/a.png"]
    rows = content["annotations"]
    assert [names[row["category_id"]] for row in rows] == ["cat", "bird"]
    assert rows[0]["score"] == 0.75
    for row, mask in zip(rows, (FIRST, SECOND), strict=True):
        assert (decode(row["segmentation"]) == mask).all()
    everything = finished.get("/v1/project/export", params={"which": "annotated"}).json()
    assert len(everything["images"]) == 3


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("coco-panoptic", {"annotations/panoptic_all.json", "annotations/panoptic_all/a.png"}),
        ("yolo", {"data.yaml", "images/a.png", "images/more/a.png", "labels/a.txt"}),
        ("masks", {"a.png/001_Cat.png", "more/a.png/001_bird.png"}),
        ("labelme", {"a.json", "more/a.json"}),
        ("cvat", {"annotations.xml"}),
        ("label-studio", {"tasks.json", "label_config.xml"}),
    ],
)
def test_other_formats_come_as_an_archive(finished, format, expected, photos):
    files = files_in(finished.get("/v1/project/export", params={"format": format}))
    assert expected <= set(files)
    assert not any(str(photos).encode() in content for content in files.values())
    if format == "masks":
        mask = np.asarray(Image.open(io.BytesIO(files["a.png/001_Cat.png"])))
        np.testing.assert_array_equal(mask, FIRST * 255)


def test_with_photos_the_archive_is_a_data_set(finished, tmp_path):
    answer = finished.get("/v1/project/export", params={"photos": True})
    (tmp_path / "set.zip").write_bytes(answer.content)
    assert_dataset(open_dataset(f"coco:{tmp_path / 'set.zip'}", "train"))


def assert_dataset(dataset):
    masks = {}
    for image in dataset.images:
        for one in dataset.objects[image.id]:
            masks[image.path.name, one.category.name] = one.mask()
    assert len(dataset.images) == 2
    assert {name for _, name in masks} == {"cat", "bird"}
    np.testing.assert_array_equal(masks["a.png", "cat"], FIRST)
    np.testing.assert_array_equal(masks["a.png", "bird"], SECOND)


def test_the_finished_project_is_what_fine_tuning_reads(finished, photos):
    body = finished.post("/v1/project/dataset").json()
    assert (body["file"], body["photos"], body["objects"]) == ("street/seem-project.json", 2, 2)
    assert body["command"] == "seem finetune --data street/seem-project.json --out street-model"
    assert_dataset(open_dataset(str(photos / "seem-project.json"), "train"))
    assert finished.post("/v1/project/dataset").status_code == 201  # again, over the old one
    assert_dataset(open_dataset(str(photos), "val"))


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, "disk-full"), (errno.EROFS, "unreadable")]
)
def test_data_set_that_cannot_be_written_leaves_the_old_one(
    finished, photos, monkeypatch, number, kind
):
    finished.post("/v1/project/dataset")
    before = (photos / "seem-project.json").read_bytes()

    def refuse(_source, _target):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(shutil, "copyfile", refuse)
    answer = finished.post("/v1/project/dataset")
    assert problem_of(answer) == kind
    assert "seem-project.json" in answer.json()["detail"]
    assert "download an export instead" in answer.json()["detail"]
    assert (photos / "seem-project.json").read_bytes() == before
    assert not [path for path in photos.iterdir() if is_part(path)]


def test_full_disk_of_temporary_files_is_called_so(finished, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", refuse)
    answer = finished.get("/v1/project/export")
    assert (answer.status_code, problem_of(answer)) == (507, "disk-full")


def test_nothing_done_is_nothing_to_export(client):
    answer = client.get("/v1/project/export")
    assert problem_of(answer) == "invalid-request"
    assert "mark photos as done" in answer.json()["detail"]
    assert problem_of(client.post("/v1/project/dataset")) == "invalid-request"


# --- Import -----------------------------------------------------------------------------------------------------------


def coco(*annotations, images=None, **fields):
    images = images or [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "unlabelled"}]
    return {"images": images, "annotations": list(annotations), "categories": categories, **fields}


POLYGON = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[4, 3, 30, 3, 30, 20, 4, 20]]}
CODE = {"id": 2, "image_id": 1, "category_id": 2, "segmentation": to_rle(SECOND), "score": 0.25}


def test_an_export_comes_back_by_import(finished, model, tmp_path):
    exported = finished.get("/v1/project/export").content
    copy = tmp_path / "copy"
    (copy / "more").mkdir(parents=True)
    for name in ("a.png", "more/a.png"):
        (copy / name).write_bytes(image_file(WIDTH, HEIGHT))
    with running(model, project=Project.open(copy)) as other:
        answer = other.post("/v1/project/import", content=exported)
        assert answer.json() == {"photos": 2, "objects": 2, "notes": []}
        assert other.get("/v1/project").json()["classes"]["names"] == ["dog", "cat", "bird"]
        (one,) = read(other, "a.png")["objects"]
        assert (one["label"], one["score"]) == ("cat", 0.75)
        assert (decode(one["mask"]) == FIRST).all()


def test_polygons_and_codes_are_imported(client):
    crowd = {**CODE, "id": 3, "iscrowd": 1}
    broken = {**POLYGON, "id": 4, "segmentation": [[1, 2]]}
    content = coco(POLYGON, CODE, crowd, broken)
    answer = client.post("/v1/project/import", json=content).json()
    assert (answer["photos"], answer["objects"]) == (1, 2)
    assert len(answer["notes"]) == 2
    first, second = read(client, "a.png")["objects"]
    assert (first["label"], second["label"], second["score"]) == ("cat", None, 0.25)
    assert decode(first["mask"]).sum() == 26 * 17
    assert (decode(second["mask"]) == SECOND).all()


def test_an_import_leaves_what_is_there_unless_asked(client):
    edit(client, "a.png", annotation(label="mine"))
    other = {"id": 2, "file_name": "elsewhere.png", "width": 1, "height": 1}
    content = coco(POLYGON, images=[*coco()["images"], other])
    answer = client.post("/v1/project/import", json=content).json()
    assert (answer["photos"], len(answer["notes"])) == (0, 2)
    assert [one["label"] for one in read(client, "a.png")["objects"]] == ["mine"]
    answer = client.post("/v1/project/import", params={"existing": "replace"}, json=content)
    assert answer.json()["objects"] == 1
    assert [one["label"] for one in read(client, "a.png")["objects"]] == ["cat"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (coco(POLYGON, images=[{"id": 1, "file_name": "a.png", "width": 99, "height": 9}]), "99 x 9"),
        (coco({**CODE, "segmentation": to_rle(SECOND[:9])}), "a.png"),
        (coco(images=[{"id": 1, "file_name": "x.png"}]), "x.png"),
        ({"images": []}, "annotations"),
        ([1], "annotations"),
    ],
)  # fmt: skip
def test_an_import_that_does_not_fit_is_refused_in_one_line(client, content, words):
    answer = client.post("/v1/project/import", json=content)
    assert problem_of(answer) == "invalid-request"
    assert words in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]
    assert listed(client)["a.png"]["version"] == 0


def test_bytes_that_are_no_json_are_refused(client):
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        assert problem_of(client.post("/v1/project/import", content=content)) == "invalid-request"


def test_objects_of_one_photo_are_imported_without_a_project(model):
    where = {"name": "a.png", "width": WIDTH, "height": HEIGHT}
    with running(model) as client:
        answer = client.post("/v1/import", params=where, json=coco(POLYGON, CODE)).json()
        assert [one["label"] for one in answer["objects"]] == ["cat", None]
        assert (decode(answer["objects"][1]["mask"]) == SECOND).all()
        renamed = client.post("/v1/import", params={**where, "name": "b.png"}, json=coco(CODE))
        assert len(renamed.json()["objects"]) == 1  # the file has one photo alone
        wrong = client.post("/v1/import", params={**where, "width": 9}, json=coco(CODE))
        assert problem_of(wrong) == "invalid-request"
        detail = "a.png is 9 x 40 pixels, in the file 48 x 40; nothing is imported."
        assert wrong.json()["detail"] == detail


# --- Opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("database", "words"),
    [
        ("mysql://a:secret@b/c", "'mysql'"),
        ("nonsense", "no address"),
        ("sqlite://", "no database"),
        ("sqlite:////nowhere/at/all.sqlite", "nowhere"),
        ("postgresql://user:secret@127.0.0.1:1/name", "127.0.0.1"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(photos, database, words):
    with pytest.raises((ValueError, seem.SeemError), match=words) as caught:
        Project.open(photos, database)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_none_is_refused(photos):
    for path in (photos / "a.png", photos / "nowhere"):
        with pytest.raises(seem.SeemError, match="give a folder of photos"):
            Project.open(path)
