"""A video: upload, frames as images, a job with progress, its results and its end."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

import seem
from seem.server.settings import Limits
from seem.video import VideoWriter
from server import POINT, decode, image_file, problem_of, running, service_of, wait_until
from tiny import picture, tiny_model

NUM_FRAMES = 6
BOX = {"kind": "box", "x0": 5, "y0": 5, "x1": 40, "y1": 30}
PLAYLIST = (
    b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
)
CONCATENATION = b"ffconcat version 1.0\nfile '/etc/passwd'\n"


@pytest.fixture(scope="module")
def model():
    return tiny_model("nano")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path) as writer:
        for index in range(NUM_FRAMES):
            writer.add(picture(64, 48, seed=index // 3))
    return path.read_bytes()


@pytest.fixture
def client(model):
    with running(model, Limits(image_pixels=10_000, video_bytes=10**6, jobs=1)) as client:
        yield client


def upload_clip(client, clip, name="clip.mp4"):
    response = client.post("/v1/videos", params={"name": name}, content=clip)
    assert response.status_code == 201, response.text
    return response.json()


def begin(client, video, *objects, **fields):
    requested = list(objects) or [{"id": 1, "prompts": [BOX]}]
    return client.post(f"/v1/videos/{video['id']}/jobs", json={"objects": requested, **fields})


def finished(client, job) -> dict:
    path = f"/v1/jobs/{job['id']}"
    wait_until(lambda: client.get(path).json()["status"] not in ("queued", "running"), 60)
    return client.get(path).json()


def test_a_job_tracks_as_in_python(client, model, clip, tmp_path):
    video = upload_clip(client, clip)
    assert (video["width"], video["height"], video["frames"]) == (64, 48, NUM_FRAMES)
    response = begin(client, video, {"id": 7, "frame": 1, "prompts": [BOX]})
    assert response.status_code == 202
    job = finished(client, response.json())
    assert (job["status"], job["frames_done"], job["problem"]) == ("done", NUM_FRAMES, None)

    path = tmp_path / "clip.mp4"
    path.write_bytes(clip)
    tracker = model.tracker(path)
    tracker.add(1, 7, seem.Box(5, 5, 40, 30))
    expected = list(tracker)
    frames = client.get(f"/v1/jobs/{job['id']}/frames").json()["frames"]
    assert [frame["frame"] for frame in frames] == list(range(NUM_FRAMES))
    for frame, results in zip(frames, expected, strict=True):
        assert frame["time"] == results.time
        assert [body["id"] for body in frame["objects"]] == results.ids.tolist()
        assert [body["label"] for body in frame["objects"]] == list(results.labels)
        for body, mask in zip(frame["objects"], results.masks, strict=True):
            assert (decode(body["mask"]) == mask).all()
    assert any(frame["objects"] for frame in frames)
    part = client.get(f"/v1/jobs/{job['id']}/frames?start=2&count=2").json()
    assert part["frames"] == frames[2:4]


def test_a_frame_becomes_an_image(client, clip, tmp_path):
    video = upload_clip(client, clip)
    response = client.post(f"/v1/videos/{video['id']}/frames/4/image")
    assert response.status_code == 201
    body = response.json()
    assert (body["name"], body["width"], body["height"]) == ("clip-00004.png", 64, 48)
    drawn = client.get(f"/v1/images/{body['id']}/picture?form=png")
    pixels = np.asarray(Image.open(io.BytesIO(drawn.content))).astype(int)
    assert abs(pixels - np.asarray(picture(64, 48, seed=1)).astype(int)).mean() < 10
    assert problem_of(client.post(f"/v1/videos/{video['id']}/frames/6/image")) == "not-found"
    assert problem_of(client.post(f"/v1/videos/{video['id']}/frames/-1/image")) == "invalid-request"


@pytest.mark.parametrize("format", ["youtube-vis", "davis", "mots"])
def test_a_finished_job_is_exported(client, clip, format):
    video = upload_clip(client, clip, "../my clip.mp4")
    job = finished(client, begin(client, video).json())
    response = client.get(f"/v1/jobs/{job['id']}/export?format={format}")
    assert response.status_code == 200, response.text
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.namelist()
        assert not any(".." in name for name in archive.namelist())


def test_a_job_that_runs_can_be_watched_and_stopped(client, clip, monkeypatch):
    import threading

    gate = threading.Event()
    video = upload_clip(client, clip)
    forward = type(service_of(client).videos.get(video["id"]).open()).forward

    def slow_forward(self):
        for index, frame in enumerate(forward(self)):
            if index == 2:
                gate.wait(20)
            yield frame

    monkeypatch.setattr("seem.video.VideoFile.forward", slow_forward)
    job = begin(client, video).json()
    path = f"/v1/jobs/{job['id']}"
    wait_until(lambda: client.get(path).json()["frames_done"] == 2)
    assert client.get(path).json()["status"] == "running"
    assert problem_of(client.get(f"{path}/export")) == "not-finished"
    assert begin(client, video).status_code == 202
    assert problem_of(begin(client, video)) == "queue-full"
    running_job = service_of(client).jobs.get(job["id"])
    assert client.delete(path).status_code == 204
    assert client.delete(f"/v1/videos/{video['id']}").status_code == 204
    gate.set()
    wait_until(lambda: running_job.status.value == "cancelled")
    assert problem_of(client.get(path)) == "gone"
    wait_until(lambda: not list(service_of(client).folder.iterdir()))


@pytest.mark.parametrize("error", [RuntimeError("secret"), SystemExit("secret")])
def test_a_job_that_fails_unexpectedly_is_in_the_log(client, clip, monkeypatch, caplog, error):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr("seem.tracker.Pass.step", fail)
    job = finished(client, begin(client, upload_clip(client, clip)).json())
    assert (job["status"], job["frames_done"]) == ("failed", 0)
    assert job["problem"]["type"] == "urn:seem:problem:internal"
    assert "secret" not in str(job)
    assert "job failed" in caplog.messages


def test_a_clip_that_breaks_off_keeps_its_good_frames(client, clip):
    cut = clip[: len(clip) * 2 // 3]
    response = client.post("/v1/videos?name=cut.mp4", content=cut)
    assert response.status_code in (201, 422)
    if response.status_code == 422:
        assert problem_of(response) == "unreadable"
        assert "cut.mp4" in response.json()["detail"]
        return
    job = finished(client, begin(client, response.json()).json())
    assert job["status"] == "failed"
    assert job["problem"]["type"] == "urn:seem:problem:unreadable"
    assert "cut.mp4" in job["problem"]["detail"]
    assert "/tmp" not in job["problem"]["detail"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "unreadable"),
        (b"no video at all", "unsupported-media-type"),
        (image_file(), "unsupported-media-type"),
        (PLAYLIST, "unsupported-media-type"),
        (CONCATENATION, "unsupported-media-type"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 9 RTP/AVP 96\n", "unsupported-media-type"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 100, "unreadable"),
        (b"\x1aE\xdf\xa3" + b"\0" * 100, "unreadable"),
        (b"\0" * 1_000_001, "too-large"),
    ],
)
def test_uploads_that_are_no_video(client, content, kind):
    response = client.post("/v1/videos?name=a.mp4", content=content)
    assert problem_of(response) == kind
    assert list(service_of(client).folder.iterdir()) == []


def test_a_video_of_too_many_pixels_is_refused(client, tmp_path):
    path = tmp_path / "large.mp4"
    with VideoWriter(path) as writer:
        writer.add(picture(128, 96))
    response = client.post("/v1/videos", content=path.read_bytes())
    assert problem_of(response) == "too-many-pixels"


@pytest.mark.parametrize(
    "requested",
    [
        {"id": 1, "prompts": [{**POINT, "x": 4000}]},
        {"id": 0, "prompts": [POINT]},
        {"id": 1, "frame": 4000, "prompts": [POINT]},
        {"id": 1, "prompts": []},
        {"id": 1, "prompts": [{**POINT, "positive": False}]},
    ],
)
def test_objects_that_cannot_be_tracked(client, clip, requested):
    response = begin(client, upload_clip(client, clip), requested)
    if response.status_code == 202:  # what the tracker itself finds out on the frame
        job = finished(client, response.json())
        assert job["problem"]["type"] == "urn:seem:problem:invalid-request"
    else:
        assert problem_of(response) == "invalid-request"


def test_a_clip_longer_than_the_limit_is_not_tracked(model, clip):
    with running(model, Limits(video_frames=NUM_FRAMES - 1)) as client:
        assert problem_of(begin(client, upload_clip(client, clip))) == "too-large"


def test_the_folder_of_uploads_is_gone_when_the_server_has_stopped(model, clip):
    with running(model) as client:
        folder = service_of(client).folder
        upload_clip(client, clip)
        assert list(folder.iterdir())
    assert not folder.exists()
