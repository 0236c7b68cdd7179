"""The verbs beside `segment`, and what holds for all."""

import errno
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import seem
from seem import zoo
from seem.checkpoints import safe
from seem.checkpoints.class_embeddings import read_class_embeddings
from seem.checkpoints.mapping import to_official
from seem.cli import models_page
from seem.cli.demo import DEMONSTRATIONS
from seem.cli.demo import main as demo
from seem.cli.main import main
from seem.cli.options import PromptOptions
from seem.config import nano
from seem.errors import SeemError
from tiny import CONFIGS, picture, tiny_network

V1 = "seem-focal-t-v1"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Stand in an empty folder, with tiny networks behind the names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEEM_DEBUG", raising=False)
    for name, config in CONFIGS.items():
        monkeypatch.setitem(zoo.MODEL_CARDS, name, replace(zoo.MODEL_CARDS[name], config=config))


# --- For all verbs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_verbs(capsys, arguments):
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in ("segment", "models", "convert", "--version", "Exit codes"))


def test_help_of_segment_has_every_option_and_examples(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["segment", "--help"]) == 0
    out = capsys.readouterr().out
    options = (
        "--task --everything --point --not-point --box --stroke --not-stroke --scribble --not-scribble --polygon "
        "--width --mask "
        "--text --object --candidates --refine "
        "--classes --threshold --model --device --precision --size --out --overwrite --json --quiet"
    )
    assert [option for option in options.split() if f"{option} " not in out] == []
    assert "--second-look" not in out  # deprecated
    assert "seem segment street.jpg --point 410,220 --not-point 80,40" in out


def test_track_takes_the_prompts_of_segment(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["track", "--help"]) == 0
    out = capsys.readouterr().out
    flags = [f"--{name.replace('_', '-')}" for name in PromptOptions().values()]
    assert [flag for flag in flags if f"{flag} " not in out] == []


def test_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"seem {seem.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segmnt"], "No such command 'segmnt'"),
        (["--verbose"], "No such option: --verbose"),
        (["models", "nano", "xdecoder-focal-t"], "unexpected extra argument"),
        (["convert", "a.pt"], "Missing argument 'OUT'"),
        (["convert", "a.pt", "b.safetensors"], "Missing option '--model'"),
    ],
)
def test_a_wrong_call_is_one_line(capsys, arguments, message):
    assert main(arguments) == 2
    ran = capsys.readouterr()
    assert ran.out == ""
    assert len(ran.err.splitlines()) == 1
    assert message in ran.err
    assert ran.err.rstrip().endswith("--help.")


def test_seem_is_a_module_too():
    ran = subprocess.run(
        [sys.executable, "-m", "seem", "--version"], capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"seem {seem.__version__}\n", "")


# --- seem models ------------------------------------------------------------------------------------------------------


def test_models_as_json_have_exactly_the_promised_keys(capsys):
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [card.name for card in seem.list_models()]
    for row in rows:
        assert list(row) == [
            "name",
            "parameters",
            "tasks",
            "prompts",
            "weights",
            "licence",
            "published",
        ]
        assert row["weights"] in ("embedded", "download", "never released")
    assert rows[0]["published"] is None
    assert rows[1]["published"]["coco_pq"] == 50.8


def test_models_is_a_table(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "parameters", "float32", "weights", "licence", "tasks"]
    for name, part in (
        ("nano", "embedded Apache-2.0 panoptic, instance"),
        (V1, "164.6 M 658 MB download AFL-3.0"),
    ):
        assert any(line.startswith(f"{name} ") and part in " ".join(line.split()) for line in lines)
    assert any("huggingface.co: xdecoder/SEEM, xdecoder/X-Decoder." in line for line in lines)
    published = [line.split() for line in lines[lines.index("") :]]
    assert [V1, "50.8", "39.4", "60.7", "58.5", "63.7", "72.0", "3.19", "4.13"] in published
    assert lines[-1].startswith("Source: README of the official repositories")


def test_one_model_is_told_with_everything_published_about_it(capsys):
    assert main(["models", "seem-davit-d3-v1"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^family +SEEM, DaViT-d3$", out, re.MULTILINE)
    assert "Published for SEEM (B) (DaViT-d3; Zou et al., Segment Everything" in out
    assert "Published for SEEM (B) (DaViT-d3, text and a visual prompt together; " in out
    assert re.search(r"^Pascal VOC +NoC85, at most 20 clicks +2\.93 clicks$", out, re.MULTILINE)
    assert re.search(r"^ADE20K, 600 photos +IoU after one box +53\.6 %$", out, re.MULTILINE)
    assert "these weights" not in out
    assert main(["models", V1]) == 0
    assert "Published for these weights (FocalNet-T; README" in capsys.readouterr().out
    assert main(["models", "nano"]) == 0
    assert "what was measured here is in MODEL_CARD.md" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("nano", "captioning"),
        (V1, "retrieval, reference, captioning"),
        ("seem-focal-t-demo", "retrieval, captioning"),
        ("xdecoder-focal-t", "interactive, point, stroke, scribble, polygon, box, mask, reference"),
    ],
)
def test_a_model_says_what_it_was_not_made_for(capsys, name, without):
    assert main(["models", name]) == 0
    assert re.search(rf"^without +{without}$", capsys.readouterr().out, re.MULTILINE)


def test_one_model_as_json_is_a_list_of_one(capsys):
    assert main(["models", V1, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [zoo.find_model_card(V1).to_json()]


def test_an_unknown_model_is_one_line(capsys):
    assert "There is no model 'nanno'; did you mean 'nano'?" in failed(
        capsys, main(["models", "nanno"]), 2
    )


def test_the_page_of_models_is_up_to_date():
    """Write it again: python -m seem.cli.models_page docs/models.md."""
    assert (Path(__file__).parents[2] / "docs" / "models.md").read_text(
        encoding="utf-8"
    ) == models_page.models_page()


def test_the_page_of_models_has_source_and_backbone_of_every_figure():
    page = models_page.models_page()
    for scores in zoo.published_scores():
        rows = [
            line
            for line in page.splitlines()
            if f"| {scores.backbone} |" in line and scores.source in line
        ]
        titled = (
            f"\n\n### {models_page.network_name(scores)}, {scores.backbone}\n\nSource: {scores.source}.\n"
            in page
        )
        for figure in scores.figures:
            assert titled or any(f" {figure.text} " in row for row in rows), (scores.model, figure)


def test_the_page_is_written_by_a_command(capsys):
    assert models_page.main(["models.md"]) == 0
    assert Path("models.md").read_text(encoding="utf-8") == models_page.models_page()
    capsys.readouterr()
    assert "Name the file to write" in failed(capsys, models_page.main([]), 2)


# --- seem convert -----------------------------------------------------------------------------------------------------


@pytest.fixture
def official():
    """What the authors' file of SEEM v1 would be for the tiny network."""
    path = Path("official.pt")
    tensors = to_official(tiny_network(V1).state_dict())
    torch.save({"model": {**tensors, "criterion.empty_weight": torch.ones(3)}}, path)
    return path


def convert(*arguments):
    return main(["convert", *map(str, arguments)])


def failed(capsys, code, expected):
    ran = capsys.readouterr()
    assert ran.out == ""
    assert len(ran.err.splitlines()) == 1, ran.err
    assert code == expected
    return ran.err


def test_a_converted_file_answers_as_the_network_it_came_from(capsys, official):
    assert convert(official, "ours.safetensors", "--model", V1) == 0
    out = capsys.readouterr().out
    assert "Left out on purpose, the network does not need them: criterion.empty_weight" in out
    assert "seem.load('ours.safetensors')" in out
    loaded = seem.load("ours.safetensors", "cpu", "exact").network.state_dict()
    wanted = tiny_network(V1).state_dict()
    assert loaded.keys() == wanted.keys()
    assert all(torch.equal(loaded[key], wanted[key]) for key in wanted)


def test_a_converted_file_has_the_embeddings_of_class_names_beside_it(capsys, official):
    assert convert(official, "ours.safetensors", "--model", V1) == 0
    assert "Computing the embeddings of class names" in capsys.readouterr().err
    names = read_class_embeddings(Path("ours.classes.safetensors")).names
    assert {"person", "background", "wall", "escalator"} <= set(names)
    Path("ours.safetensors").unlink()
    message = "ours.classes.safetensors exists already; pass --overwrite or --no-classes"
    assert message in failed(capsys, convert(official, "ours.safetensors", "--model", V1), 1)
    assert convert(official, "other.safetensors", "--model", V1, "--no-classes") == 0
    assert not Path("other.classes.safetensors").exists()


def test_a_conversion_without_the_tokenizer_has_no_embeddings(capsys, official, monkeypatch):
    def refuse(weights):
        raise SeemError("Cannot fetch words")

    monkeypatch.setattr("seem.cli.convert.write_built_in_classes", refuse)
    assert convert(official, "ours.safetensors", "--model", V1) == 0
    message = "ours.safetensors is written, without embeddings of class names: Cannot fetch words"
    assert message in capsys.readouterr().err
    assert seem.load("ours.safetensors", "cpu").name == V1


def test_what_is_there_is_not_overwritten_unless_asked(capsys, official):
    out = Path("ours.safetensors")
    out.write_text("precious")
    assert "ours.safetensors exists already; pass --overwrite" in failed(
        capsys, convert(official, out, "--model", V1), 1
    )
    assert out.read_text() == "precious"
    assert convert(official, out, "--model", V1, "--overwrite", "--quiet") == 0
    assert capsys.readouterr().out == ""
    assert seem.load(out, "cpu").name == V1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("seem-focal-t", f"There is no model 'seem-focal-t'; did you mean '{V1}'?"),
        ("nano", f"nano has no official checkpoint to convert; --model is one of {V1}"),
    ],
)
def test_a_model_without_official_weights_is_a_wrong_call(capsys, official, model, message):
    assert message in failed(capsys, convert(official, "ours.safetensors", "--model", model), 2)


def test_an_out_of_another_kind_is_a_wrong_call(capsys, official):
    assert "OUT is ours.pt; its name must end in .safetensors" in failed(
        capsys, convert(official, "ours.pt", "--model", V1), 2
    )
    assert "There is no folder" in failed(
        capsys, convert(official, "no/ours.safetensors", "--model", V1), 1
    )


def test_out_may_not_be_the_original(capsys):
    path = Path("same.safetensors")
    path.write_text("precious")
    assert "OUT and OFFICIAL are both" in failed(
        capsys, convert(path, path, "--model", V1, "--overwrite"), 2
    )
    assert path.read_text() == "precious"


class Trap:
    """Pickles as a call that makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"a.weight": torch.ones(2)},
            f"is no {V1} checkpoint: The checkpoint is of another architecture",
        ),
        ({"model": Trap()}, "is refused: reading it would run code"),
        ([1, 2], "holds no dictionary of tensors"),
    ],
)
def test_a_file_that_is_not_that_checkpoint_is_one_line(capsys, content, message):
    torch.save(content, "bad.pt")
    assert message in failed(capsys, convert("bad.pt", "ours.safetensors", "--model", V1), 1)
    assert sorted(path.name for path in Path().iterdir()) == ["bad.pt"]


@pytest.mark.parametrize("kept", [0, 100, -100])
def test_a_checkpoint_that_is_cut_short_is_one_line(capsys, official, kept):
    official.write_bytes(official.read_bytes()[:kept])
    assert "official.pt" in failed(capsys, convert(official, "ours.safetensors", "--model", V1), 1)
    assert not Path("ours.safetensors").exists()


def test_a_missing_checkpoint_is_one_line(capsys):
    assert "There is no file nowhere.pt" in failed(
        capsys, convert("nowhere.pt", "ours.safetensors", "--model", V1), 1
    )


def test_a_full_disk_leaves_nothing(capsys, official, monkeypatch):
    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(safe, "save_file", full)
    line = failed(capsys, convert(official, "ours.safetensors", "--model", V1), 1)
    assert "ours.safetensors" in line
    assert "No space left on device" in line
    assert sorted(path.name for path in Path().iterdir()) == ["official.pt"]


# --- The demonstration ------------------------------------------------------------------------------------------------


@pytest.fixture
def weights():
    safe.write_tensors(
        "tiny.safetensors", tiny_network("nano").state_dict(), {"seem_model": "nano"}
    )
    return "tiny.safetensors"


def test_the_demonstration_writes_four_answers_and_a_sheet(capsys, weights):
    photo = Path(__file__).parents[2] / "examples" / "photos" / "astronaut.jpg"
    for _ in range(2):  # it may be repeated
        assert demo([str(photo), "demo", weights]) == 0
    ran = capsys.readouterr()
    assert ran.err == ""
    assert "demo/demo.png" in ran.out
    assert all(way.caption in ran.out for way in DEMONSTRATIONS)
    written = {path.name for path in Path("demo").iterdir()}
    expected = {f"{way.name}.{kind}" for way in DEMONSTRATIONS for kind in ("overlay.png", "json")}
    assert expected | {"demo.png"} <= written


def test_a_demonstration_that_fails_is_one_line(capsys, weights):
    picture(20, 20).save("small.png")
    assert demo(["small.png", "demo", weights]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "lies outside the image of 20 x 20 pixels" in err


def test_the_embedded_model_is_the_one_described(monkeypatch):
    """Needs the weights in the package."""
    monkeypatch.setitem(zoo.MODEL_CARDS, "nano", replace(zoo.MODEL_CARDS["nano"], config=nano))
    parameters = sum(
        weight.numel() for weight in seem.load("nano", "cpu", "exact").network.parameters()
    )
    assert parameters == zoo.MODEL_CARDS["nano"].parameters
