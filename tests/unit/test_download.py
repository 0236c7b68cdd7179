"""The hub is played by a small server on this machine, so that nothing here needs a network."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from seem.checkpoints import download
from seem.checkpoints.download import HubFile, fetch
from seem.errors import SeemError

CONTENT = bytes(range(256)) * 1024  # 256 KiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = HubFile("someone/Model", "weights.pt")


@dataclass
class Request:
    method: str
    path: str
    range: str | None


@dataclass
class Hub:
    """What the played hub serves, and what it was asked."""

    url: str = ""
    served: bytes = CONTENT
    etag: str | None = SHA256
    status: int = 200
    breaks: list[int] = field(
        default_factory=list
    )  # of each coming transfer: bytes sent before the line drops
    fails_after_break: bool = False
    knows_ranges: bool = True
    requests: list[Request] = field(default_factory=list)

    @property
    def transfers(self) -> list[Request]:
        return [
            request
            for request in self.requests
            if request.path.startswith("/cdn/") and request.method == "GET"
        ]


class Handler(http.server.BaseHTTPRequestHandler):
    """As the hub does: /<repository>/resolve/main/<file> tells what the file is and redirects to where it is stored."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        if self.path.startswith(
            "/api/"
        ):  # the client may ask the hub about itself; that is no business of ours
            self.reply(404, {})
            return
        self.hub.requests.append(Request(self.command, self.path, self.headers.get("Range")))
        if self.path.startswith("/cdn/"):
            self.transfer()
        elif self.hub.status != 200:
            self.reply(
                self.hub.status, {"X-Error-Code": "EntryNotFound"} if self.hub.status == 404 else {}
            )
        else:
            about = {
                "X-Repo-Commit": COMMIT,
                "X-Linked-Size": str(len(CONTENT)),
                "Accept-Ranges": "bytes",
            }
            if self.hub.etag is not None:
                about["X-Linked-Etag"] = f'"{self.hub.etag}"'
            storage = self.hub.url.replace(
                "127.0.0.1", "localhost"
            )  # another host, as the hub's storage is
            self.reply(302, {**about, "Location": f"{storage}/cdn/{self.hub.etag}?signature=1"})

    def transfer(self) -> None:
        if self.hub.fails_after_break and not self.hub.breaks:
            self.reply(500, {})
            return
        begin = 0
        if self.hub.knows_ranges and (asked := self.headers.get("Range")):
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
        body = self.hub.served[begin:]
        headers = {"ETag": f'"{self.hub.etag}"', "Accept-Ranges": "bytes"}
        if begin:
            headers["Content-Range"] = (
                f"bytes {begin}-{len(self.hub.served) - 1}/{len(self.hub.served)}"
            )
        sent = self.hub.breaks.pop(0) if self.hub.breaks else len(body)
        self.reply(206 if begin else 200, headers, body, sent)

    def reply(
        self, status: int, headers: dict[str, str], body: bytes = b"", sent: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])
        self.close_connection = sent is not None and sent < len(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that plays on a free port until the test ends."""
    played = Hub()
    handler = type("HubHandler", (Handler,), {"hub": played, "timeout": 10})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    played.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", played.url)
    monkeypatch.setenv("SEEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(
        "huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000
    )  # what is kept of a broken transfer
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    yield played
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


def names_in_cache() -> list[str]:
    """Everything in the folder of the file, but for the lock."""
    folder = WEIGHTS.path.parent
    return (
        sorted(entry.name for entry in folder.iterdir() if entry.suffix != ".lock")
        if folder.exists()
        else []
    )


def one_line(caught: pytest.ExceptionInfo[SeemError]) -> str:
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


def test_first_download_is_checked_and_recorded(hub):
    path = fetch(WEIGHTS)
    assert path == WEIGHTS.path
    assert path.read_bytes() == CONTENT
    assert names_in_cache() == ["weights.pt", "weights.pt.json"]
    record = json.loads(path.with_name("weights.pt.json").read_text())
    assert record == {
        "sha256": SHA256,
        "size": len(CONTENT),
        "source": f"{hub.url}/someone/Model/resolve/main/weights.pt",
    }


def test_second_use_needs_no_network(hub):
    fetch(WEIGHTS)
    asked = len(hub.requests)
    hub.status = 503
    assert fetch(WEIGHTS).read_bytes() == CONTENT
    assert len(hub.requests) == asked


def test_dropped_line_is_taken_up_in_the_same_call(hub):
    hub.breaks = [100_000]
    assert fetch(WEIGHTS).read_bytes() == CONTENT
    assert [request.range for request in hub.transfers] == [None, "bytes=100000-"]


def test_interrupted_download_is_resumed_by_a_later_call(hub):
    hub.breaks, hub.fails_after_break = [100_000], True
    with pytest.raises(SeemError, match="Cannot fetch"):
        fetch(WEIGHTS)
    assert names_in_cache() == [f"weights.pt.{SHA256[:12]}.part"]

    hub.fails_after_break = False
    hub.requests.clear()
    assert fetch(WEIGHTS).read_bytes() == CONTENT
    assert [request.range for request in hub.transfers] == ["bytes=100000-"]
    assert names_in_cache() == ["weights.pt", "weights.pt.json"]


def test_server_without_ranges_sends_everything_again(hub):
    hub.breaks, hub.knows_ranges = [100_000], False
    assert fetch(WEIGHTS).read_bytes() == CONTENT


def test_part_of_another_version_is_not_continued(hub):
    WEIGHTS.path.parent.mkdir(parents=True)
    WEIGHTS.path.with_name("weights.pt.aaaaaaaaaaaa.part").write_bytes(b"old")
    assert fetch(WEIGHTS).read_bytes() == CONTENT
    assert [request.range for request in hub.transfers] == [None]


def test_part_that_is_too_long_is_started_anew(hub):
    WEIGHTS.path.parent.mkdir(parents=True)
    WEIGHTS.path.with_name(f"weights.pt.{SHA256[:12]}.part").write_bytes(CONTENT + b"more")
    assert fetch(WEIGHTS).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "served", [CONTENT[:-1] + b"!", CONTENT[:-1000]], ids=["other bytes", "too short"]
)
def test_damaged_download_is_refused(hub, served):
    hub.served = served
    with pytest.raises(SeemError) as caught:
        fetch(WEIGHTS)
    one_line(caught)
    assert "weights.pt" not in names_in_cache()
    if len(served) == len(CONTENT):
        assert f"expected sha256 {SHA256}, got {hashlib.sha256(served).hexdigest()}" in str(
            caught.value
        )
        assert names_in_cache() == [], "a damaged part would be continued for ever"


@pytest.mark.parametrize("how", ["changed", "cut", "empty"])
def test_tampered_file_is_found_out(hub, how):
    path = fetch(WEIGHTS)
    path.write_bytes({"changed": b"?" + CONTENT[1:], "cut": CONTENT[:-1], "empty": b""}[how])
    with pytest.raises(SeemError, match="is not what it was") as caught:
        fetch(WEIGHTS)
    text = one_line(caught)
    assert str(path) in text
    assert f"expected sha256 {SHA256}, got {hashlib.sha256(path.read_bytes()).hexdigest()}" in text
    assert "Delete it and weights.pt.json" in text

    path.unlink()
    path.with_name("weights.pt.json").unlink()
    assert fetch(WEIGHTS).read_bytes() == CONTENT


def test_broken_record_is_found_out(hub):
    record = fetch(WEIGHTS).with_name("weights.pt.json")
    record.write_text("{")
    with pytest.raises(SeemError, match="no record of a download"):
        fetch(WEIGHTS)


def test_another_file_than_the_known_one_is_refused(hub):
    pinned = HubFile(WEIGHTS.repository, WEIGHTS.name, sha256="0" * 64)
    with pytest.raises(SeemError, match="than the one Seem knows"):
        fetch(pinned)
    assert hub.transfers == []
    assert names_in_cache() == []


def test_file_without_a_promised_sum_is_refused(hub):
    hub.etag = (
        "2f0595a2f0595a2f0595a2f0595a2f0595a2f059"  # of a small file: git's own, which is no sha256
    )
    with pytest.raises(SeemError, match="does not say the sha256") as caught:
        fetch(WEIGHTS)
    assert f"put it at {WEIGHTS.path}" in one_line(caught)


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_refusal_of_the_hub_says_what_to_fetch_and_where_to_put_it(hub, status):
    hub.status = status
    with pytest.raises(SeemError, match=str(status)) as caught:
        fetch(WEIGHTS)
    assert f"fetch {WEIGHTS.url} yourself and put it at {WEIGHTS.path}" in one_line(caught)
    assert names_in_cache() == []


def test_unreachable_hub_says_what_to_fetch_and_where_to_put_it(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nothing listens
    with pytest.raises(SeemError, match=r"Cannot fetch weights\.pt") as caught:
        fetch(WEIGHTS)
    text = one_line(caught)
    assert (
        f"fetch http://127.0.0.1:9/someone/Model/resolve/main/weights.pt yourself and put it at {WEIGHTS.path}"
        in text
    )
    assert names_in_cache() == []


def test_all_that_is_missing_is_named_at_once(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    words = HubFile("someone/Words", "words.txt")
    with pytest.raises(SeemError, match=r"Cannot fetch words\.txt") as caught:
        fetch(WEIGHTS, words)
    text = one_line(caught)
    assert (
        f"fetch {words.url} yourself and put it at {words.path}, and {WEIGHTS.url} to {WEIGHTS.path}."
        in text
    )

    words.path.parent.mkdir(parents=True)
    words.path.write_bytes(b"mine")
    with pytest.raises(SeemError, match=r"Cannot fetch weights\.pt") as caught:
        fetch(WEIGHTS, words)
    assert words.url not in one_line(caught)


def test_companions_come_with_a_file(hub):
    assert fetch(WEIGHTS, WEIGHTS).read_bytes() == CONTENT
    assert len(hub.transfers) == 1


def test_file_put_there_by_hand_is_taken_and_remembered(hub):
    hub.status = 503
    WEIGHTS.path.parent.mkdir(parents=True)
    WEIGHTS.path.write_bytes(b"mine")
    assert fetch(WEIGHTS).read_bytes() == b"mine"
    WEIGHTS.path.write_bytes(b"thine")
    with pytest.raises(SeemError, match="is not what it was"):
        fetch(WEIGHTS)
    assert hub.requests == []


def test_wrong_file_put_there_by_hand_is_refused_where_the_sum_is_known(hub):
    download.CLIP_VOCABULARY.path.parent.mkdir(parents=True)
    download.CLIP_VOCABULARY.path.write_bytes(b"another vocabulary")
    with pytest.raises(SeemError, match=download.CLIP_VOCABULARY.sha256):
        fetch(download.CLIP_VOCABULARY)


def test_two_at_once_download_once(hub):
    got: list[bytes] = []
    workers = [
        threading.Thread(target=lambda: got.append(fetch(WEIGHTS).read_bytes())) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    assert got == [CONTENT] * 3
    assert len(hub.transfers) == 1


def test_folder_that_cannot_be_made_gets_one_line(hub, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("SEEM_CACHE", str(tmp_path / "file"))
    with pytest.raises(SeemError, match="Cannot fetch") as caught:
        fetch(WEIGHTS)
    one_line(caught)


def test_offline_switch_of_the_hub_is_honoured(hub):
    program = "from seem.checkpoints.download import HubFile, fetch; fetch(HubFile('someone/Model', 'weights.pt'))"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 1
    assert "yourself and put it at" in run.stderr
    assert hub.requests == []


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"SEEM_CACHE": "/a/b"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/seem"),
        ({"SEEM_CACHE": "", "XDG_CACHE_HOME": ""}, str(Path("~/.cache/seem").expanduser())),
    ],
    ids=["chosen", "desktop", "home"],
)
def test_cache_folder_follows_the_environment(monkeypatch, variables, folder):
    for name in ("SEEM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(download.cache_folder()) == folder


def test_vocabulary_of_the_recordings_is_the_pinned_one(shared):
    recorded = shared / "parity" / "text" / "bpe_simple_vocab_16e6.txt.gz"
    assert hashlib.sha256(recorded.read_bytes()).hexdigest() == download.CLIP_VOCABULARY.sha256
