"""Models as folders of the Hugging Face hub: saved, loaded, pushed and fetched; the hub is a server on this machine."""

import base64
import hashlib
import http.server
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

import seem
from seem.checkpoints import hub_repository
from seem.checkpoints.network import FineTuningData, LoadedNetwork
from seem.checkpoints.safe import read_tensors
from seem.model import Model
from seem.models.text.tokenizer import BytePairTokenizer
from seem.vocabulary import Vocabulary
from tiny import picture, tiny_model, tiny_network

# What the hub's client does with its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

FILES = {"model.safetensors", "config.json", "preprocessor_config.json", "README.md"}


@pytest.fixture
def tiny_zoo(monkeypatch):
    """Let files of nano hold the small network of tests."""
    from seem import zoo

    find, tiny = zoo.find_model_card, tiny_network("nano").config

    def find_tiny(name):
        card = find(name)
        fields = {key: getattr(card, key) for key in card.__dataclass_fields__}
        return type(card)(**{**fields, "config": lambda: tiny})

    monkeypatch.setattr(zoo, "find_model_card", find_tiny)


def fine_tuned_model():
    classes = Vocabulary.of(["leaf", "sky", "pot"], ["sky"], background=True)
    data = (FineTuningData("coco:plants", "train", is_whole=True),)
    loaded = LoadedNetwork(
        "nano", tiny_network("nano"), "ab" * 32, BytePairTokenizer.nano, classes, data
    )
    return Model(loaded, torch.device("cpu"), "float32")


def assert_same(one, other):
    expected, found = one.network.state_dict(), other.network.state_dict()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    photo, prompts = picture(90, 60), [seem.Point(40, 30)]
    first, second = (model.encode(photo).segment(*prompts) for model in (one, other))
    assert (first.masks == second.masks).all()


# --- Folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tiny_zoo")
def test_folder_gives_the_same_model(tmp_path):
    model = tiny_model("nano")
    files = model.save_pretrained(tmp_path / "mine")
    assert {file.name for file in files} == FILES == {f.name for f in (tmp_path / "mine").iterdir()}
    assert_same(model, seem.load(tmp_path / "mine", "cpu", "exact"))
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    assert (config["library_name"], config["seem_model"]) == ("seem", "nano")
    settings = json.loads((tmp_path / "mine" / "preprocessor_config.json").read_text())
    assert settings["size"] == {"shortest_edge": 64, "longest_edge": 128}
    assert settings["image_mean"] == pytest.approx([0.485, 0.456, 0.406], abs=1e-6)
    card = (tmp_path / "mine" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: seem\n")
    assert "license: apache-2.0\n" in card


@pytest.mark.usefixtures("tiny_zoo")
def test_classes_and_data_of_a_fine_tuned_model_stay(tmp_path):
    model = fine_tuned_model()
    model.save_pretrained(tmp_path)
    loaded = seem.load(tmp_path, "cpu", "exact")
    assert loaded.classes.names == ("leaf", "sky", "pot")
    assert (loaded.classes.is_thing, loaded.classes.background) == ((True, False, True), True)
    assert loaded.fine_tuned_on == model.fine_tuned_on
    thresholds = (loaded.network.config.presence_midpoint, loaded.network.config.panoptic_threshold)
    config = model.network.config
    assert thresholds == (config.presence_midpoint, config.panoptic_threshold)
    assert "Fine-tuned on 3 classes: leaf, sky, pot." in (tmp_path / "README.md").read_text()


def test_weights_that_came_in_half_precision_are_stored_in_it(tmp_path):
    seem.load("nano", "cpu", "exact").save_pretrained(tmp_path)
    tensors = read_tensors(tmp_path / "model.safetensors").tensors.values()
    assert {tensor.dtype for tensor in tensors} <= {torch.float16, torch.int64}
    assert_same(seem.load("nano", "cpu", "exact"), seem.load(tmp_path, "cpu", "exact"))


def test_earlier_files_stay_without_overwrite(tmp_path):
    (tmp_path / "config.json").write_text("mine")
    with pytest.raises(FileExistsError, match="json exists already"):
        tiny_model("nano").save_pretrained(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]
    tiny_model("nano").save_pretrained(tmp_path, overwrite=True)
    assert {file.name for file in tmp_path.iterdir()} == FILES


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds neither model.safetensors nor best.safetensors"),
        ({"preprocess.json": "{}"}, "holds exported graphs and no weights; they are run by"),
        ({"config.json": '{"model_type": "bert"}'}, "holds a bert model, none of Seem"),
        ({"config.json": "{"}, "config.json of .* is no JSON"),
        ({"config.json": "[]", "model.safetensors": ""}, "holds something else, none of Seem"),
        (
            {"config.json": '{"library_name": "seem"}', "model.safetensors": "short"},
            "is not a safetensors file, or it is cut short",
        ),
        (
            {"config.json": '{"library_name": "seem"}', "pytorch_model.bin": "code"},
            "holds neither model.safetensors",
        ),
    ],
)
def test_bad_folder_is_one_line(files, message, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(seem.SeemError, match=message) as error:
        seem.load(tmp_path)
    assert "\n" not in str(error.value)


# --- The hub ----------------------------------------------------------------------------------------------------------


@dataclass
class Hub:
    """Repositories by name, each with its commits: files by name."""

    url: str = ""
    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    damages: bool = False


class Handler(http.server.BaseHTTPRequestHandler):
    """The parts of the hub's protocol that saving and loading a model take."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def reply(self, status, headers=None, content=b""):
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def reply_json(self, content):
        self.reply(200, {"Content-Type": "application/json"}, json.dumps(content).encode())

    def do_PUT(self):
        self.hub.stored[self.path.rsplit("/", 1)[1]] = self.body()
        self.reply(200)

    def do_POST(self):
        path, body = self.path, self.body()
        if path == "/api/repos/create":
            content = json.loads(body)
            name = f"{content['organization']}/{content['name']}"
            self.hub.repositories.setdefault(name, {})
            self.reply_json({"url": f"{self.hub.url}/{name}", "id": name})
        elif path == "/api/validate-yaml":
            self.reply_json({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = []
            for each in json.loads(body)["files"]:
                mode = "lfs" if each["path"].endswith(".safetensors") else "regular"
                files.append({"path": each["path"], "uploadMode": mode, "shouldIgnore": False})
            self.reply_json({"files": files})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = []
            for each in json.loads(body)["objects"]:
                upload = {"href": f"{self.hub.url}/stored/{each['oid']}"}
                objects.append({**each, "actions": {"upload": upload}})
            self.reply_json({"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            self.commit(path, body)
        else:
            self.reply(404)

    def commit(self, path, body):
        name = path.removeprefix("/api/models/").split("/commit/")[0]
        files = {}
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
        commit = hashlib.sha1(body).hexdigest()
        self.hub.repositories[name][commit] = files
        self.hub.branches[name] = commit
        address = f"{self.hub.url}/{name}/commit/{commit}"
        self.reply_json(
            {"success": True, "commitUrl": address, "commitOid": commit, "hookOutput": ""}
        )

    def do_HEAD(self):
        self.give()

    def do_GET(self):
        self.give()

    def give(self):
        name, _, rest = self.path[1:].partition("/resolve/")
        revision, _, file = rest.partition("/")
        commits = self.hub.repositories.get(name)
        if commits is None:
            self.reply(404, {"X-Error-Code": "RepoNotFound"})
            return
        commit = self.hub.branches.get(name) if revision == "main" else revision
        if commit not in commits:
            self.reply(404, {"X-Error-Code": "RevisionNotFound"})
            return
        content = commits[commit].get(file)
        about = {"X-Repo-Commit": commit}
        if content is None:
            self.reply(404, {**about, "X-Error-Code": "EntryNotFound"})
            return
        if file.endswith(".safetensors"):
            about["X-Linked-Etag"] = f'"{hashlib.sha256(content).hexdigest()}"'
            about["X-Linked-Size"] = str(len(content))
        blob = b"blob %d\0%b" % (len(content), content)
        about["ETag"] = f'"{hashlib.sha1(blob).hexdigest()}"'
        if self.hub.damages:
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.reply(200, about, content)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.hub = Hub(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", Handler.hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setenv("HF_TOKEN", "a-token-of-nobody")
    yield Handler.hub
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("tiny_zoo")
def test_pushed_model_is_loaded_by_its_name(hub):
    model = fine_tuned_model()
    address = model.push_to_hub("someone/leaves", commit_message="Leaves")
    first = hub.branches["someone/leaves"]
    assert address == f"{hub.url}/someone/leaves/commit/{first}"
    assert set(hub.repositories["someone/leaves"][first]) == FILES
    loaded = seem.load("someone/leaves", "cpu", "exact")
    assert_same(model, loaded)
    assert loaded.classes.names == ("leaf", "sky", "pot")

    tiny_model("nano").push_to_hub("someone/leaves")
    assert seem.load("someone/leaves", "cpu", "exact").classes is None
    pinned = seem.load(f"someone/leaves@{first}", "cpu", "exact")
    assert pinned.classes.names == ("leaf", "sky", "pot")


@pytest.mark.usefixtures("tiny_zoo")
def test_cached_model_needs_no_hub(hub, monkeypatch):
    from huggingface_hub import constants

    tiny_model("nano").push_to_hub("someone/leaves")
    seem.load("someone/leaves", "cpu", "exact")
    hub.repositories.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert seem.load("someone/leaves", "cpu", "exact").name == "nano"


@pytest.mark.usefixtures("tiny_zoo")
def test_damaged_file_is_refused(hub):
    tiny_model("nano").push_to_hub("someone/leaves")
    hub.damages = True
    with pytest.raises(seem.SeemError, match="of someone/leaves is damaged: expected the digest"):
        seem.load("someone/leaves")


def with_files(hub, **files):
    hub.repositories["some/one"] = {"c" * 40: {k: v.encode() for k, v in files.items()}}
    hub.branches["some/one"] = "c" * 40


@pytest.mark.parametrize(
    ("files", "name", "message"),
    [
        (None, "some/one", "There is neither a file or folder some/one nor a model of that name"),
        ({}, "some/one", "some/one on the hub holds no config.json; it is no model of Seem"),
        ({}, "some/one@v2", "some/one has no revision 'v2'"),
        ({"config.json": '{"model_type": "bert"}'}, "some/one", "some/one holds a bert model"),
        (
            {"config.json": '{"library_name": "seem"}', "pytorch_model.bin": "code"},
            "some/one", "some/one on the hub holds no model.safetensors",
        ),
    ],
)  # fmt: skip
def test_bad_repository_is_one_line(files, name, message, hub):
    if files is not None:
        with_files(hub, **files)
    with pytest.raises(seem.SeemError, match=message) as error:
        seem.load(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["leaves", "a/b/c", "../leaves", "someone/leaves@v2", ""])
def test_push_to_what_is_no_repository(name):
    with pytest.raises(ValueError, match="a repository of the hub is called USER/NAME"):
        tiny_model("nano").push_to_hub(name)


def test_push_that_is_refused_is_one_line(hub, monkeypatch):
    monkeypatch.setattr(Handler, "do_POST", lambda self: self.reply(403))
    with pytest.raises(seem.SeemError, match="Cannot push to someone/leaves") as error:
        tiny_model("nano").push_to_hub("someone/leaves")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["nano", "./a/b", "a/b.safetensors", "a/b/c", "/a/b", Path("a/b"), "a/b@", "~/a"]
)
def test_paths_and_names_are_no_repositories(text):
    assert hub_repository.repository_named(text) is None


def test_folder_here_comes_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(hub_repository.repository_named("runs/leaves")) == "runs/leaves"
    (tmp_path / "runs" / "leaves").mkdir(parents=True)
    assert hub_repository.repository_named("runs/leaves") is None
