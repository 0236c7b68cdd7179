"""`seem page`: a folder as a whole or not at all, and the expected runtime. The page itself: `tests/web`."""

import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import seem
from seem.cli.main import main
from seem.errors import SeemError
from seem.exporting import web_runtime
from seem.models.kind import QUERY
from seem.server import static_page
from seem.server.access import SECURITY_HEADERS
from seem.server.static_page import PAGE, write_page

CONTENTS = {name: name.encode() for name in web_runtime.CPU_FILES | web_runtime.GPU_FILES}


class QuietHost(SimpleHTTPRequestHandler):
    def log_message(self, *_values: object) -> None:
        pass


@pytest.fixture
def small_runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An installed package of a few bytes, whose sums are the expected ones."""
    for files in (web_runtime.CPU_FILES, web_runtime.GPU_FILES):
        sums = {name: hashlib.sha256(CONTENTS[name]).hexdigest() for name in files}
        for name, digest in sums.items():
            monkeypatch.setitem(files, name, digest)
    dist = tmp_path / "npm/node_modules/onnxruntime-web/dist"
    dist.mkdir(parents=True)
    for name, content in CONTENTS.items():
        (dist / name).write_bytes(content)
    (dist.parent / "package.json").write_text(json.dumps({"version": "1.2.3"}))
    return tmp_path / "npm"


@pytest.fixture
def small_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that writes two small files."""

    def export(_model: object, folder: Path, _format: str, precision: str) -> None:
        folder.mkdir(parents=True)
        (folder / "image.onnx").write_text(precision)
        (folder / "preprocess.json").write_text("{}")

    monkeypatch.setattr(static_page, "export", export)


@pytest.fixture
def host(small_runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The host of the runtime's files, with an empty cache on this side."""
    dist = small_runtime / "node_modules/onnxruntime-web/dist"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHost, directory=str(dist)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(web_runtime, "SOURCE", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("SEEM_CACHE", str(tmp_path / "cache"))
    yield dist
    server.shutdown()
    server.server_close()


# --- The runtime ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "below",
    ["", "node_modules", "node_modules/onnxruntime-web", "node_modules/onnxruntime-web/dist"],
)
def test_an_installed_runtime_is_found_wherever_one_points(small_runtime: Path, below: str):
    assert web_runtime.runtime_files(small_runtime / below) == CONTENTS


def test_another_version_is_refused_by_name(small_runtime: Path):
    file = small_runtime / "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"
    file.write_bytes(b"another")
    with pytest.raises(
        SeemError, match=r"not that of onnxruntime-web 1\.30\.0 \(it is of 1\.2\.3\)"
    ):
        web_runtime.runtime_files(small_runtime)


def test_a_folder_without_the_runtime_says_how_to_get_it(tmp_path: Path):
    with pytest.raises(SeemError, match="npm install --prefix"):
        web_runtime.runtime_files(tmp_path)


def test_files_are_fetched_once_and_again_where_they_are_damaged(host: Path, tmp_path: Path):
    assert web_runtime.runtime_files() == CONTENTS
    for file in host.iterdir():
        file.unlink()
    assert web_runtime.runtime_files() == CONTENTS
    cached = tmp_path / "cache/onnxruntime-web-1.30.0/ort.wasm.min.mjs"
    (host / cached.name).write_bytes(cached.read_bytes())
    cached.write_bytes(b"half")
    assert web_runtime.runtime_files() == CONTENTS


def test_a_file_that_is_not_the_expected_one_is_not_stored(host: Path, tmp_path: Path):
    (host / "ort.wasm.min.mjs").write_bytes(b"something else")
    with pytest.raises(SeemError, match="damaged"):
        web_runtime.runtime_files()
    assert not (tmp_path / "cache/onnxruntime-web-1.30.0/ort.wasm.min.mjs").exists()


def test_without_a_network_the_error_names_the_way_out(host: Path):
    for file in host.iterdir():
        file.unlink()
    with pytest.raises(SeemError, match=r"Cannot fetch .*--runtime FOLDER"):
        web_runtime.runtime_files()


# --- The folder -------------------------------------------------------------------------------------------------------


def test_the_page_holds_model_runtime_and_licence(
    small_runtime: Path, small_export: None, tmp_path: Path
):
    folder = tmp_path / "site"
    files = write_page(folder, runtime=small_runtime)
    assert {path for path in folder.rglob("*") if path.is_file()} == set(files)
    assert (folder / "model/image.onnx").read_text() == "fp16"
    assert "Microsoft" in (folder / "runtime/LICENSE.txt").read_text()
    assert not list(folder.rglob("*.mjs"))  # some hosts do not send it as JavaScript
    modules = {path.relative_to(PAGE) for path in PAGE.rglob("*.js")}
    assert all((folder / module).is_file() for module in modules)


def test_the_document_has_the_policy_of_the_server(
    small_runtime: Path, small_export: None, tmp_path: Path
):
    write_page(tmp_path / "site", runtime=small_runtime)
    document = (tmp_path / "site/index.html").read_text()
    assert 'data-engine="browser"' in document
    policy = document.partition('http-equiv="Content-Security-Policy" content="')[2].partition('"')[
        0
    ]
    sent = SECURITY_HEADERS["Content-Security-Policy"].split("; ")
    assert policy.split("; ") == [each for each in sent if each != "frame-ancestors 'none'"]


def test_an_earlier_page_is_replaced_when_asked_and_other_files_stay(
    small_runtime: Path, small_export: None, tmp_path: Path
):
    folder = tmp_path / "site"
    write_page(folder, runtime=small_runtime)
    (folder / "CNAME").write_text("seem.example.org")
    with pytest.raises(FileExistsError, match="--overwrite"):
        write_page(folder, runtime=small_runtime)
    listed = (folder / "files.js").read_text()
    (folder / "files.js").write_text(
        listed.replace('"needed": {', '"needed": {"old.js": "0", "../kept": "0",')
    )
    (folder / "old.js").write_text("")
    (tmp_path / "kept").write_text("")
    write_page(folder, runtime=small_runtime, precision="int8", overwrite=True)
    assert (folder / "model/image.onnx").read_text() == "int8"
    assert not (folder / "old.js").exists()
    assert (folder / "CNAME").exists()
    assert (tmp_path / "kept").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "npm", "site"]


def test_a_version_is_named_by_its_content(small_runtime: Path, small_export: None, tmp_path: Path):
    versions = []
    for name, precision in (("a", "fp16"), ("b", "fp16"), ("c", "fp32")):
        write_page(tmp_path / name, precision=precision, runtime=small_runtime)
        versions.append((tmp_path / name / "files.js").read_text())
    assert versions[0] == versions[1] != versions[2]


def test_a_failed_export_leaves_nothing(small_runtime: Path, monkeypatch, tmp_path: Path):
    def fail(*_values: object) -> None:
        raise SeemError("no disk")

    monkeypatch.setattr(static_page, "export", fail)
    with pytest.raises(SeemError, match="no disk"):
        write_page(tmp_path / "site", runtime=small_runtime)
    assert [path.name for path in tmp_path.iterdir()] == ["npm"]


def test_the_command_line_says_what_it_wrote(
    small_runtime: Path, small_export: None, tmp_path: Path, capsys: pytest.CaptureFixture
):
    words = ["page", "--out", str(tmp_path / "site"), "--runtime", str(small_runtime)]
    assert main(words) == 0
    assert "http.server" in capsys.readouterr().out
    assert main(words) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_model_that_cannot_run_in_a_browser_is_refused(
    small_runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    model = seem.load("nano", device="cpu", precision="exact")
    monkeypatch.setattr(model.network, "kind", QUERY)
    with pytest.raises(SeemError, match="nano and models fine-tuned from it can"):
        write_page(tmp_path / "site", model, runtime=small_runtime)
