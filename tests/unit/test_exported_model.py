"""`seem segment` without PyTorch: exported graphs give the files that the model gives, and say what they cannot do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import seem
from exported import export_once
from seem import Box, Mask, Point, Reference, Stroke, exported_model
from seem.cli import graph_choice
from seem.cli.main import main
from seem.cli.options import ModelOptions
from seem.data.coco_rle import rle_to_mask
from seem.exported_model import ExportedModel

PHOTOS = Path(__file__).resolve().parents[2] / "examples" / "photos"
CAT = str(PHOTOS / "cat.jpg")
WITHOUT_PYTORCH = """
import sys
for package in ("torch", "safetensors", "huggingface_hub"):
    sys.modules[package] = None
from seem.cli.main import main
code = main(sys.argv[1:])
assert not [name for name in sys.modules if name.startswith("torch.")]
sys.exit(code)
"""
CALLS = {
    "click": ["--point", "250,170"],
    "corrected": ["--point", "250,170", "--not-point", "20,30", "--stroke", "200,150 280,230"],
    "objects": ["--text", "cat", "--object", "--box", "100,40,390,290", "--object", "--text", "zebra"],
    "polygon": ["--polygon", "170,110 330,120 280,260"],
    "absent phrase beside a mark": ["--text", "zebra", "--point", "250,170"],
    "panoptic": [],
    "own classes": ["--classes", "sky,cat,sofa,zebra"],
}  # fmt: skip


@pytest.fixture(scope="session")
def nano_folder(tmp_path_factory):
    return export_once(tmp_path_factory)


def run_without_pytorch(*words, cwd):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_PYTORCH, "segment", *words],
        cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip


def records(folder, *words):
    assert main(["segment", CAT, *words, "--out", str(folder), "--quiet", "--overwrite"]) == 0
    return json.loads((folder / "cat.json").read_text())


def comparable(record):
    """What does not depend on time, without masks and scores."""
    origin = {key: value for key, value in record["seem"].items() if key != "seconds"}
    annotations = []
    for annotation in record["annotations"]:
        drop = ("segmentation", "score", "label_score", "bbox", "area")
        annotations.append({key: value for key, value in annotation.items() if key not in drop})
    return {**record, "seem": origin, "annotations": annotations}


@pytest.mark.parametrize("name", CALLS)
def test_files_are_those_of_the_model(name, nano_folder, tmp_path):
    exact = records(tmp_path / "model", *CALLS[name], "--precision", "exact", "--device", "cpu")
    graphs = records(tmp_path / "graphs", *CALLS[name], "--model", str(nano_folder))
    assert comparable(graphs) == comparable(exact)
    assert exact["annotations"]
    for one, other in zip(exact["annotations"], graphs["annotations"], strict=True):
        first, second = (
            rle_to_mask(each["segmentation"]["counts"], (300, 451)) for each in (one, other)
        )
        assert (first & second).sum() >= 0.999 * (first | second).sum()
        for key in ("score", "label_score"):
            assert one[key] == pytest.approx(other[key], abs=1e-3)


def test_click_without_pytorch(nano_folder, tmp_path):
    run = run_without_pytorch(CAT, "--point", "250,170", "--model", nano_folder, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert "nano on cpu, float32" in run.stdout
    assert "1 object: cat" in run.stdout
    assert (tmp_path / "seem-out" / "cat.mask-0.png").is_file()


def test_packaged_graphs_answer_without_pytorch_and_for_few_photos(
    nano_folder, tmp_path, monkeypatch
):
    used = []

    class Watched(ExportedModel):
        def __init__(self, folder):
            used.append(folder)
            super().__init__(folder)

    monkeypatch.setattr("seem.cli.segmentation.ExportedModel", Watched)
    monkeypatch.setattr(graph_choice, "packaged_graphs", lambda: nano_folder)
    records(tmp_path, "--point", "250,170")
    assert used == [nano_folder]
    records(tmp_path, "--point", "250,170", "--size", "256")
    assert len(used) == 1, "the graphs have one size"
    monkeypatch.setattr(graph_choice, "FEW_PHOTOS", 0)
    records(tmp_path, "--point", "250,170")
    assert len(used) == 1, "for many photos PyTorch pays"
    monkeypatch.setattr(graph_choice, "has_pytorch", lambda: False)
    records(tmp_path, "--point", "250,170")
    assert len(used) == 2


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["--find", "cat"], "--find"),
        (["--everything"], "--everything"),
        (["--task", "semantic"], "--task semantic"),
        (["--point", "9,9", "--refine", "zoom"], "--refine zoom"),
        (["--point", "9,9", "--candidates", "3"], "--candidates 3"),
        (["--point", "9,9", "--size", "256"], "--size 256"),
        (["--point", "9,9", "--device", "cuda"], "--device cuda"),
        (["--point", "9,9", "--embeddings"], "--embeddings"),
        (["--caption"], "--caption"),
        (["--reference", CAT, "--reference-point", "9,9"], "--reference"),
    ],
)
def test_what_graphs_cannot_do_is_one_line(words, option, nano_folder, tmp_path, capsys):
    call = ["segment", CAT, *words, "--model", str(nano_folder), "--out", str(tmp_path / "out")]
    assert main(call) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"seem: {option} needs PyTorch, and {nano_folder} holds exported graphs"
    )
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_folder_does_not_hide_the_model_of_its_name(nano_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").symlink_to(nano_folder)
    option = "--find"  # which graphs do not answer
    assert graph_choice.choose_graphs(ModelOptions(model="nano"), option, 1) is None
    with pytest.raises(ValueError, match=r"--find needs PyTorch, and \./nano holds exported"):
        graph_choice.choose_graphs(ModelOptions(model="./nano"), option, 1)


def test_damaged_folder_is_one_line(nano_folder, tmp_path, capsys):
    (tmp_path / "preprocess.json").write_text((nano_folder / "preprocess.json").read_text())
    call = [
        "segment",
        CAT,
        "--point",
        "9,9",
        "--model",
        str(tmp_path),
        "--out",
        str(tmp_path / "o"),
    ]
    assert main(call) == 1
    error = capsys.readouterr().err
    assert "image.onnx cannot be read (No such file or directory); export the model again" in error
    assert error.count("\n") == 1


# --- Without PyTorch --------------------------------------------------------------------------------------------------


def test_model_without_pytorch_is_one_line(tmp_path):
    run = run_without_pytorch(CAT, "--point", "9,9", cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr == (
        "seem: nano needs PyTorch, which is not installed: pip install torch "
        "(exported graphs run without: --model FOLDER of seem export).\n"
    )


@pytest.mark.parametrize(
    ("program", "output"),
    [
        ("import seem, sys; print(any('torch' in name for name in sys.modules))", "False"),
        ("import seem; print(seem.Point(3, 4).x, seem.__version__ > '')", "3 True"),
        ("import seem; print('load' in dir(seem), hasattr(seem, 'loaf'))", "True False"),
        ("import seem; print(seem.vocabulary.Vocabulary is seem.Vocabulary)", "True"),
    ],
)
def test_package_is_imported_when_it_is_used(program, output):
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stdout.strip(), run.stderr) == (output, "")


@pytest.mark.parametrize("use", ["seem.load", "from seem import Model"])
def test_name_that_needs_pytorch_says_so(use):
    program = f"import sys; sys.modules['torch'] = None; import seem; {use}"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "needs PyTorch, which is not installed: pip install torch" in run.stderr.splitlines()[-1]


def test_other_verbs_say_that_they_need_pytorch():
    program = WITHOUT_PYTORCH.replace("sys.argv[1:]", "['track', 'a.mp4', '--point', '9,9']")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (1, "")
    assert (
        run.stderr == "seem: seem track needs PyTorch, which is not installed: pip install torch\n"
    )


# --- In Python --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([Mask(np.ones((300, 451), dtype=bool))], "Exported graphs take no Mask here"),
        ([Reference(CAT, Box(1, 1, 90, 90))], "Exported graphs take no Reference here"),
        ([Point(9000, 5)], "lies outside the image of 451 x 300 pixels"),
        ([Point(9, 9, positive=False)], "All prompts are negative"),
        ([Stroke([(9, 9), (20, 20)], 4), Stroke([(9, 9), (20, 30)], 6)], "4 and 6 pixels wide"),
    ],
)
def test_prompts_that_graphs_do_not_take(prompts, message, nano_folder):
    with pytest.raises(ValueError, match=message):
        ExportedModel(nano_folder).encode(CAT).segment_many([prompts])


def test_size_is_the_models_own(nano_folder):
    with pytest.raises(ValueError, match="size is 256; exported graphs"):
        ExportedModel(nano_folder).encode(CAT, 256)


def test_folder_that_cannot_be_used_is_a_seem_error(tmp_path):
    with pytest.raises(seem.SeemError, match="holds no preprocess"):
        ExportedModel(tmp_path)
    assert not exported_model.is_exported(tmp_path)


def test_no_graphs_are_packaged_without_a_runtime(monkeypatch):
    monkeypatch.setattr(exported_model, "is_exported", lambda folder: True)
    assert exported_model.packaged_graphs() is not None
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert exported_model.packaged_graphs() is None
