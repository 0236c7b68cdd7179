"""`seem serve` as a process of its own, asked over real connections."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import seem
from seem.cli.main import main
from seem.cli.options import ModelOptions
from server import decode, wait_until

CAT = Path(__file__).parents[2] / "examples/photos/cat.jpg"
TOKEN = "a-token-of-this-test"
CLICK = {"prompts": [{"kind": "point", "x": 200, "y": 150}]}


class Server:
    """A running `seem serve`."""

    def __init__(self, *options: str, **environment: str) -> None:
        command = [
            sys.executable,
            "-m",
            "seem",
            "serve",
            "--port",
            "0",
            "--device",
            "cpu",
            *options,
        ]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            text=True,
        )
        self.lines = []
        self.errors = ""
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("Listening"):
                break
        self.address = re.search(r"http://[^ ]+(?=/ )", self.lines[-1])[0]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def client(self, **options) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=120, **options)

    def raw(self, content: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(content)
        return connection

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        rest, self.errors = self.process.communicate(timeout=60)
        self.lines.append(rest)
        return self.process.returncode

    def log(self) -> list[dict]:
        return [json.loads(line) for line in self.errors.splitlines()]


@pytest.fixture
def started():
    servers = []

    def start(*options: str, **environment: str) -> Server:
        servers.append(Server(*options, **environment))
        return servers[-1]

    yield start
    for server in servers:
        with contextlib.suppress(ProcessLookupError):
            server.process.kill()
        server.process.communicate()


def test_a_server_answers_survives_bad_connections_and_stops_when_asked(started):
    server = started("--workers", "1", SEEM_TOKEN=TOKEN)
    with server.client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        wait_until(lambda: is_ready(client), 60)
        assert httpx.get(f"{server.address}/v1/info").status_code == 401
        image = client.post("/v1/images?name=cat.jpg", content=CAT.read_bytes())
        path = f"/v1/images/{image.json()['id']}"
        (found,) = client.post(f"{path}/segment", json=CLICK).json()["objects"]
        photo = seem.load("nano", "cpu").encode(CAT)
        expected = photo.segment(seem.Point(200, 150))[0].mask
        assert (decode(found["mask"]) == expected).mean() > 0.999

        authorized = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
        upload = b"POST /v1/images HTTP/1.1\r\n" + authorized
        with server.raw(upload + b"Content-Length: 500000000\r\n\r\n") as large:
            assert large.recv(4096).startswith(b"HTTP/1.1 413 ")
        with server.raw(b"\x16\x03\x01 no request\r\n\r\n") as garbage:
            assert garbage.recv(4096).startswith(b"HTTP/1.1 400 ")
        with server.raw(upload + b"Content-Length: 1000\r\n\r\nhalf"):
            pass

        question = json.dumps({"points_per_side": 64, "crop_n_layers": 2}).encode()
        long = server.raw(
            f"POST {path}/everything HTTP/1.1\r\n".encode()
            + authorized
            + b"Content-Type: application/json\r\n"
            + f"Content-Length: {len(question)}\r\n\r\n".encode()
            + question
        )
        wait_until(lambda: pending_work(client, "heavy") == 1, 30)
        assert client.post(f"{path}/segment", json=CLICK).status_code == 200
        long.close()
        wait_until(lambda: pending_work(client, "heavy") == 0, 60)

    assert server.stop() == 0
    log = server.log()
    requests = [line for line in log if line["event"] == "request"]
    assert {"request_id", "method", "route", "status", "seconds", "time", "level"} <= set(
        requests[0]
    )
    assert [line for line in log if line["level"] == "error"] == []
    statuses = [(line["route"], line["status"]) for line in requests]
    assert ("/v1/images/{image_id}/everything", 499) in statuses
    assert TOKEN not in server.errors + "".join(server.lines)


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def pending_work(client: httpx.Client, pool: str) -> float:
    metrics = client.get("/metrics").text
    return float(re.search(rf'seem_pending_work{{of="{pool}"}} (\S+)', metrics)[1])


def test_an_answer_under_way_is_sent_before_the_server_stops(started):
    server = started()
    with server.client() as client:
        wait_until(lambda: is_ready(client), 60)
        image = client.post("/v1/images?name=cat.jpg", content=CAT.read_bytes()).json()
        question = json.dumps({"points_per_side": 8}).encode()
        connection = server.raw(
            f"POST /v1/images/{image['id']}/everything HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(question)}\r\n\r\n".encode()
            + question
        )
        wait_until(lambda: pending_work(client, "heavy") == 1, 30)
    server.process.send_signal(signal.SIGTERM)
    with connection:
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):  # it took longer than the server waits
        assert head.startswith(b"HTTP/1.1 503 ")
        assert json.loads(body)["type"] == "urn:seem:problem:shutting-down"
    server.process.communicate(timeout=60)
    assert server.process.returncode == 0


def test_an_address_that_is_taken_is_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"seem: Cannot listen at 127.0.0.1, port {port}: ")
    assert message.count("\n") == 1


def test_a_missing_extra_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "seem.server.run", raising=False)
    assert main(["serve"]) == 1
    assert 'pip install "seem[serve]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--token", "a b"],
        ["--token", ""],
        ["--token", "\u00fc"],
        ["--token", "a", "--without-token"],
        ["--port", "70000"],
        ["--workers", "0"],
        ["--max-pixels", "-1"],
    ],
)
def test_options_that_cannot_be(options, capsys):
    assert main(["serve", *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_another_address_asks_for_a_token(monkeypatch, capsys):
    served = []
    monkeypatch.setattr(
        "seem.server.run.run_server", lambda _model, settings, *_: served.append(settings)
    )
    monkeypatch.setattr(ModelOptions, "load", lambda _: seem.load("nano", "cpu", "exact"))
    for options in ([], ["--host", "0.0.0.0"], ["--host", "0.0.0.0", "--without-token"]):
        assert main(["serve", "--port", "0", *options]) == 0
    own, random, nobody = (settings.token for settings in served)
    assert (own, nobody) == (None, None)
    assert len(random) >= 20
    assert f"Token: {random}" in capsys.readouterr().out


@pytest.fixture
def served(monkeypatch):
    """What `seem serve` would serve, without serving it: the model, the settings, the listener, the project, ..."""
    calls = []
    monkeypatch.setattr("seem.server.run.run_server", lambda *parts: calls.append(parts))
    monkeypatch.setattr(ModelOptions, "load", lambda options: Loaded(options.model))
    monkeypatch.setattr("seem.cli.serve.describe_loaded_model", lambda model, _: model.name)
    return calls


class Loaded:
    def __init__(self, name: str) -> None:
        self.name = name


def test_a_folder_is_served_as_a_project_by_a_fine_tuned_model(served, capsys, tmp_path):
    (tmp_path / "street").mkdir()
    for name in ("a.png", "b.jpg", "notes.txt"):
        (tmp_path / "street" / name).write_bytes(b"")
    options = ["--port", "0", "--model", "runs/mine", "--project", "Street"]
    assert main(["serve", str(tmp_path / "street"), *options]) == 0
    ((model, _, _, project, _),) = served
    assert (model.name, project.name) == ("runs/mine", "Street")
    assert "Project Street: 2 photos" in capsys.readouterr().out
    assert (tmp_path / "street" / "seem-project.sqlite").is_file()
    project.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nowhere"], "give a folder of photos"),
        (["--database", "sqlite:///a.sqlite"], "--database has no effect without a folder"),
        (["--project", "a"], "--project has no effect without a folder"),
        (["--label-studio-url", "localhost"], "--label-studio-url"),
        (["--label-studio-files", "nowhere"], "--label-studio-files"),
        ([".", "--database", "mysql://a/b"], "--database"),
    ],
)
def test_projects_and_sources_that_cannot_be(served, capsys, monkeypatch, tmp_path, options, words):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", *options]) in (1, 2)
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert served == []
