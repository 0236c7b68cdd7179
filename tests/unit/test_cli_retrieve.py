"""`seem retrieve` from its arguments to its ranking and its files, with a network of a few thousand weights."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import seem
from seem import zoo
from seem.checkpoints.network import MODEL_KEY
from seem.checkpoints.safe import write_tensors
from seem.cli.main import main
from tiny import CONFIGS, picture, tiny_network, tiny_relative

NAME = "xdecoder-focal-t"
PHOTOS = ("a.png", "b.png", "c.png")


@dataclass(frozen=True)
class Ran:
    """What a call left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Run `seem retrieve` beside a folder of three photos, with a tiny X-Decoder."""
    monkeypatch.chdir(tmp_path)
    network = tiny_relative("xdecoder").network
    monkeypatch.setitem(
        zoo.MODEL_CARDS, NAME, replace(zoo.MODEL_CARDS[NAME], config=lambda: network.config)
    )
    monkeypatch.setitem(
        zoo.MODEL_CARDS, "nano", replace(zoo.MODEL_CARDS["nano"], config=CONFIGS["nano"])
    )
    write_tensors(Path("words.safetensors"), network.state_dict(), {MODEL_KEY: NAME})
    write_tensors(Path("nano.safetensors"), tiny_network("nano").state_dict(), {MODEL_KEY: "nano"})
    other = "seem-focal-t-v1"
    monkeypatch.setitem(
        zoo.MODEL_CARDS, other, replace(zoo.MODEL_CARDS[other], config=CONFIGS[other])
    )
    write_tensors(Path("seem.safetensors"), tiny_network(other).state_dict(), {MODEL_KEY: other})
    Path("photos").mkdir()
    for seed, name in enumerate(PHOTOS):
        picture(53, 37, seed).save(Path("photos", name))

    def run(*arguments, model="words.safetensors"):
        capfd.readouterr()
        rest = ("--model", model, "--device", "cpu", "--precision", "exact")
        return Ran(main(["retrieve", *arguments, *rest]), *capfd.readouterr())

    return run


@pytest.fixture
def expected(run):
    """The names of the photos as `Model.retrieve` ranks them, with their scores."""
    model = seem.load("words.safetensors", "cpu", "exact")
    photos = [model.encode(Path("photos", name)) for name in PHOTOS]
    return [
        (f"photos/{PHOTOS[match.index]}", match.score)
        for match in model.retrieve(photos, "two owls")
    ]


def test_photos_are_ranked_as_in_python(run, expected):
    ran = run("photos", "--text", "two owls", "--json", "--quiet")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["photo"] for row in rows] == [name for name, _ in expected]
    assert [row["score"] for row in rows] == pytest.approx(
        [score for _, score in expected], abs=1e-5
    )
    assert not Path("seem-out").exists()


def test_the_best_few_are_told_to_people(run, expected):
    ran = run("photos", "--text", "two owls", "--top", "2")
    assert ran.out.splitlines()[1:] == [f"{score:.3f}  {name}" for name, score in expected[:2]]


def test_the_phrase_is_segmented_in_the_best_photo(run, expected):
    ran = run("photos", "--text", "two owls", "--out", "found")
    assert ran.code == 0, ran.err
    stem = Path(expected[0][0]).stem
    assert {path.name for path in Path("found").iterdir()} >= {
        f"{stem}.json",
        f"{stem}.overlay.png",
    }
    record = json.loads(Path("found", f"{stem}.json").read_text())
    assert record["seem"]["kind"] == "phrase"
    assert run("photos", "--text", "two owls", "--out", "found").code == 1
    assert run("photos", "--text", "two owls", "--out", "found", "--overwrite").code == 0


def test_nano_ranks_by_how_surely_a_photo_shows_the_phrase(run):
    ran = run("photos", "--text", "two owls", "--json", "--quiet", model="nano.safetensors")
    assert ran.code == 0
    scores = [json.loads(line)["score"] for line in ran.out.splitlines()]
    assert len(scores) == len(PHOTOS)
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_a_bad_photo_is_told_and_the_others_are_ranked(run):
    Path("photos", "b.png").write_bytes(b"x")
    ran = run("photos", "--text", "two owls", "--json", "--quiet")
    assert ran.code == 1
    assert len(ran.out.splitlines()) == 2
    assert "b.png" in ran.err


@pytest.mark.parametrize(
    ("arguments", "model", "code", "message"),
    [
        (["photos", "--text", " "], "words.safetensors", 2, "--text ' ': The phrase ' ' is empty"),
        (["photos"], "words.safetensors", 2, "see seem retrieve --help"),
        (["nothing.png", "--text", "owls"], "words.safetensors", 1, "nothing.png"),
        (
            ["photos", "--text", "owls"],
            "seem.safetensors",
            2,
            "compares no full images; load nano, or an X-Decoder",
        ),
    ],
    ids=["an empty phrase", "no phrase", "no photo", "a model that cannot"],
)
def test_a_wrong_call_is_one_line(run, arguments, model, code, message):
    ran = run(*arguments, model=model)
    assert ran.code == code
    (line,) = (line for line in ran.err.splitlines() if line.startswith("seem: "))
    assert message in line
