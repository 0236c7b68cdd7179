import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from seem.checkpoints.safe import TensorFile, atomic_write, read_tensors, sha256_of, write_tensors
from seem.errors import SeemError

WEIGHTS = {
    "backbone.weight": torch.arange(6.0).reshape(2, 3),
    "criterion.empty_weight": torch.tensor([1.0, 0.1]),
}


SMALL = {
    "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
    "brain": torch.tensor([[1.5]], dtype=torch.bfloat16),
    "double": torch.tensor([0.1], dtype=torch.float64),
    "count": torch.tensor(7),
    "flag": torch.tensor([True, False]),
    "unusual": torch.tensor([40_000], dtype=torch.uint16),
    "nothing": torch.zeros(0, 3),
}


def test_safetensors_of_any_type_are_read(tmp_path):
    write_tensors(tmp_path / "a.safetensors", SMALL)
    read = read_tensors(tmp_path / "a.safetensors").tensors
    assert same(read, SMALL)
    assert {name: value.dtype for name, value in read.items()} == {
        name: value.dtype for name, value in SMALL.items()
    }


def test_tensors_stay_when_their_file_is_written_over(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {**WEIGHTS, **SMALL})
    read = read_tensors(path).tensors
    path.write_bytes(bytes(path.stat().st_size))
    assert same(read, {**WEIGHTS, **SMALL})


class Bomb:
    """Pickles as a call that creates a file: what a malicious checkpoint would do on loading."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pytorch_files_are_read(tmp_path, suffix, zipped):
    path = tmp_path / f"weights{suffix}"
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=zipped)
    assert same(read_tensors(path).tensors, WEIGHTS)


@pytest.mark.parametrize(
    "wrapped",
    [
        {"model": WEIGHTS, "epoch": 3},
        {"state_dict": OrderedDict(WEIGHTS)},
        {
            "module": WEIGHTS,
            "optimizer": {"state": {}, "param_groups": []},
            "lr_scheduler": {},
            "amp_state": None,
        },
        {"module": {f"module.{name}": tensor for name, tensor in WEIGHTS.items()}},
        {"module": {f"module.model.{name}": tensor for name, tensor in WEIGHTS.items()}},
        {"model": {"state_dict": {f"model.{name}": tensor for name, tensor in WEIGHTS.items()}}},
    ],
    ids=["model", "state_dict", "training", "distributed", "distributed_model", "nested"],
)
def test_training_wrappers_are_taken_off(tmp_path, wrapped):
    torch.save(wrapped, tmp_path / "training.pt")
    assert same(read_tensors(tmp_path / "training.pt").tensors, WEIGHTS)


def test_module_inside_a_longer_word_stays(tmp_path):
    torch.save({"submodule.weight": torch.ones(1), "a.module.b": torch.ones(2)}, tmp_path / "a.pt")
    assert list(read_tensors(tmp_path / "a.pt").tensors) == ["submodule.weight", "a.b"]


def test_a_dictionary_that_holds_itself_is_refused(tmp_path):
    endless = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "endless.pt")
    with pytest.raises(SeemError, match=r"endless\.pt"):
        read_tensors(tmp_path / "endless.pt")


def test_names_that_meet_without_their_wrapper_are_refused(tmp_path):
    torch.save({"a": torch.ones(1), "module.a": torch.ones(1)}, tmp_path / "a.pt")
    with pytest.raises(SeemError, match="two tensors of one name"):
        read_tensors(tmp_path / "a.pt")


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", ["torch zip", "torch legacy", "bare pickle"])
def test_pickled_code_is_refused_and_never_runs(tmp_path, kind, protocol):
    trace, path = tmp_path / "trace", tmp_path / "bomb.pt"
    payload = {"model": WEIGHTS, "extra": Bomb(trace)}
    if kind == "bare pickle":
        path.write_bytes(pickle.dumps(payload["extra"], protocol=protocol))
    else:
        zipped = kind == "torch zip"
        torch.save(
            payload, path, pickle_protocol=max(protocol, 2), _use_new_zipfile_serialization=zipped
        )
    with pytest.raises(SeemError, match=r"bomb\.pt is refused") as caught:
        read_tensors(path)
    assert not trace.exists()
    assert len(str(caught.value).splitlines()) == 1
    if protocol == 2:
        assert "would run code (posix.mkdir)" in str(
            caught.value
        ) or "would run code (nt.mkdir)" in str(caught.value)

    pickle.loads(pickle.dumps(payload["extra"]))
    assert trace.exists(), "the bomb is a dud: this test would prove nothing"


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"seem", "cut short"),
        (b"A letter, not a checkpoint. " * 40, "cut short|more than tensors"),
        (b"PK\x03\x04" + bytes(200), "cut short"),
        (bytes(4096), "cut short"),
    ],
    ids=["zero bytes", "four bytes", "text", "broken zip", "zeros"],
)
def test_what_is_no_checkpoint_gets_one_line(tmp_path, suffix, content, says):
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)
    with pytest.raises(SeemError, match=says) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_zip_of_something_else_is_refused(tmp_path):
    path = tmp_path / "photos.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photos/cat.txt", "a cat")
    with pytest.raises(SeemError, match="not a PyTorch checkpoint"):
        read_tensors(path)


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt", "ours.safetensors"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95])
def test_truncated_files_are_refused(tmp_path, name, kept):
    path = tmp_path / name
    weights = {"weight": torch.rand(64, 64)}
    if path.suffix == ".pt":
        torch.save(weights, path, _use_new_zipfile_serialization=name == "zip.pt")
    else:
        write_tensors(path, weights)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(SeemError, match="cut short"):
        read_tensors(path)


def test_missing_file_and_folder_get_one_line(tmp_path):
    with pytest.raises(SeemError, match="There is no file"):
        read_tensors(tmp_path / "none.pt")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(SeemError, match="is a folder"):
        read_tensors(tmp_path / "folder.pt")


def test_unknown_ending_is_a_wrong_call(tmp_path):
    (tmp_path / "weights.onnx").write_bytes(b"onnx")
    with pytest.raises(ValueError, match=r"\.safetensors, \.pt, \.pth, \.bin"):
        read_tensors(tmp_path / "weights.onnx")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (torch.ones(3), "no dictionary of tensors"),
        ([torch.ones(3)], "no dictionary of tensors"),
        ({}, "nothing"),
        ({"weight": torch.ones(3), "epoch": 4}, "a int under 'epoch'"),
        ({0: torch.ones(3)}, "under 0"),
    ],
    ids=["tensor", "list", "empty", "number", "numbered"],
)
def test_only_named_tensors_pass(tmp_path, content, says):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(SeemError, match=says):
        read_tensors(tmp_path / "a.pt")


def test_written_file_reads_back_with_its_notes(tmp_path):
    path = tmp_path / "ours.safetensors"
    write_tensors(path, WEIGHTS, {"model": "nano"})
    back = read_tensors(path)
    assert isinstance(back, TensorFile)
    assert same(back.tensors, WEIGHTS)
    assert back.metadata == {"model": "nano"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["ours.safetensors"]


def test_shared_strided_and_trained_tensors_are_written(tmp_path):
    table = torch.arange(6.0).reshape(2, 3)
    tensors = {
        "a": table,
        "tied": table,
        "turned": table.T,
        "row": table[1],
        "grad": table.clone().requires_grad_(),
    }
    write_tensors(tmp_path / "a.safetensors", tensors)
    back = read_tensors(tmp_path / "a.safetensors").tensors
    assert same(back, {name: tensor.detach() for name, tensor in tensors.items()})


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "ours.safetensors"
    write_tensors(path, WEIGHTS)
    before = sha256_of(path)

    def full_disk(tensors, filename, metadata):
        Path(filename).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seem.checkpoints.safe.save_file", full_disk)
    with pytest.raises(SeemError, match="No space left on device"):
        write_tensors(path, {"other": torch.ones(1)})
    assert sha256_of(path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["ours.safetensors"]


def test_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(SeemError, match="nowhere"):
        write_tensors(tmp_path / "nowhere" / "a.safetensors", WEIGHTS)


def test_interrupted_block_leaves_nothing(tmp_path):
    def write_half():
        with atomic_write(tmp_path / "a.json") as aside:
            aside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_sha256_is_the_usual_one(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert (
        sha256_of(tmp_path / "a")
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
