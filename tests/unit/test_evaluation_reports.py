"""Reports beside each other: tables, published scores, pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colours import ColourModel, make_pack
from seem.cli.main import main
from seem.errors import SeemError
from seem.evaluation import formatting
from seem.evaluation.compare import (
    DIFFERENT_NOTE,
    OWN_NOTE,
    ComparedValue,
    ComparisonRow,
    LoadedReport,
    comparison_rows,
    published_key,
    read_reports,
    results_markdown,
)
from seem.evaluation.compare import comparison_table as compared
from seem.evaluation.plan import EvaluationRequest, EvaluationTask
from seem.evaluation.plots import contact_sheet, per_class_scores, plot, worst_cases
from seem.evaluation.report import EvaluationReport, Machine, ModelDescription, Timing
from seem.evaluation.runner import run_evaluation
from seem.evaluation.scoreboard import BEGIN, END, scoreboard, write_into


def entry(protocol, scores, contestant="model", fingerprint="f", set_name="coco"):
    selection = {
        "set_name": set_name,
        "split": "val",
        "photos": 1,
        "items": 1,
        "fingerprint": fingerprint,
    }
    return {
        "protocol": protocol,
        "contestant": contestant,
        "selection": selection,
        "scores": scores,
        "rules": [],
    }


def quality(pq):
    return {"classes": 1, "pq": pq, "sq": pq, "rq": pq}


def panoptic(pq):
    return {
        "photos": 1,
        "all": quality(pq),
        "things": quality(pq),
        "stuff": quality(None),
        "per_class": [],
    }


def told(label, *entries, kind="coco"):
    cards = [
        {"name": each["selection"]["set_name"], "kind": kind, "classes": {"1": "cat"}}
        for each in entries
    ]
    return LoadedReport(label, {"model": {"name": label}, "entries": list(entries), "data": cards})


# --- Tables -----------------------------------------------------------------------------------------------------------


def test_reports_stand_beside_each_other():
    one, other = (
        told("a", entry("panoptic", panoptic(50.0))),
        told("b", entry("panoptic", panoptic(51.25))),
    )
    assert compared([one, other]).splitlines()[:2] == [
        "data       protocol  who    taken on  figure        a     b",
        "coco, val  panoptic  model   1 photo  PQ         50.0  51.2",
    ]


def test_what_does_not_compare_is_marked():
    one = told("a", entry("panoptic", panoptic(50.0)))
    other = told("b", entry("panoptic", panoptic(51.0), fingerprint="g"))
    other.entries[0]["selection"]["photos"] = 31
    lines = compared([one, other]).splitlines()
    assert lines[1].endswith("51.0*")
    assert "  1 photo; 31 photos  " in lines[1]
    assert lines[-1] == DIFFERENT_NOTE


def test_a_figure_that_only_one_has_leaves_a_gap():
    rows = comparison_rows(
        [
            told("a", entry("panoptic", panoptic(50.0))),
            told("b", entry("caption", {"cider_d": 90.0})),
        ]
    )
    assert [row.values for row in rows if row.figure in ("PQ", "CIDEr-D")] == [
        (ComparedValue(50.0, True), None),
        (None, ComparedValue(90.0, True)),
    ]


def test_a_number_that_does_not_exist_is_a_dash():
    assert (
        formatting.format_figure("PQ", None) == formatting.format_figure("PQ", float("nan")) == "-"
    )
    assert formatting.format_figure("NoC20@90", 4.126) == "4.13"


def test_two_runs_of_one_model_are_told_apart(tmp_path):
    for name in ("first", "second"):
        (tmp_path / f"{name}.json").write_text(
            json.dumps({"model": {"name": "nano"}, "entries": []})
        )
    labels = [
        report.label for report in read_reports([tmp_path / "first.json", tmp_path / "second.json"])
    ]
    assert labels == ["nano (first)", "nano (second)"]


# --- Beside what was published ----------------------------------------------------------------------------------------


def row(kind, protocol, figure, set_name="x"):
    return ComparisonRow(f"{set_name}, val", kind, protocol, "model", figure, ())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (row("coco", "panoptic", "PQ"), ("coco_pq", True)),
        (row("coco", "panoptic", "PQ things"), None),
        (row("coco", "instance", "AP"), ("coco_map", True)),
        (row("ade20k", "semantic", "mIoU (full label set)"), ("ade150_miou", True)),
        (row("pack", "panoptic", "PQ", "coco_full"), ("coco_pq", False)),
        (row("pack", "panoptic", "PQ", "open_mix"), None),
        (row("coco", "prompts: 1-IoU", "circle"), ("coco_stroke", False)),
        (row("ade20k_full", "prompts: 1-IoU", "box"), ("ade_box", False)),
        (row("voc", "clicks: seem", "NoC20@90"), ("voc_noc90_20", True)),
        (row("voc", "clicks: ritm", "NoC20@90"), None),
        (row("refcoco", "phrases: referring", "P@0.5", "refcocog"), ("refcocog_ap50", True)),
        (row("refcoco", "phrases: referring", "cIoU", "refcoco"), None),
    ],
)
def test_figures_find_their_published_ones(given, expected):
    assert published_key(given) == expected


def test_markdown_has_our_results_and_the_published_ones_with_their_source():
    text = results_markdown([told("ours", entry("panoptic", panoptic(12.3)))])
    assert "| coco, val | panoptic | ours | 1 photo | PQ | 12.3 |" in text
    assert "| network | COCO val2017: PQ | source |" in text
    assert "| **ours** | 12.3 | ours, on coco, val |" in text
    assert "| seem-focal-t-v1 | 50.8 | README of the official repositories" in text
    assert OWN_NOTE not in text


def test_scores_on_own_photos_say_that_they_do_not_compare():
    own = told("ours", entry("panoptic", panoptic(12.3), set_name="coco_full"), kind="pack")
    assert OWN_NOTE in results_markdown([own])
    whole = entry("panoptic", panoptic(12.3))  # COCO's format, but without its parts
    whole["selection"]["split"] = "all"
    assert OWN_NOTE in results_markdown([told("ours", whole)])
    draw = told("ours", entry("panoptic", panoptic(12.3)))
    draw.content["arguments"] = {"at_most": 20}
    assert OWN_NOTE in results_markdown([draw])


# --- All scores of one model ------------------------------------------------------------------------------------------


def curve(first):
    return {"objects": 1, "mean_iou": {"1": first, "5": first + 30}, "noc": []}


def of_model(name, *entries, sha="ab", **kind):
    made = told(name, *entries, **kind)
    made.content["model"]["sha256"] = sha
    return made


def lines_of(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if "|" in line
    ]


def test_baselines_stand_under_the_model_where_they_were_asked_the_same():
    own = of_model("nano", entry("clicks: ritm", curve(40.0), set_name="duts"))
    same = entry("clicks: ritm", curve(20.0), "GrabCut", set_name="duts")
    other = entry("clicks: ritm", curve(30.0), "random walker", fingerprint="g", set_name="duts")
    text = scoreboard([of_model("none", same, other, sha=None), own])
    assert lines_of(text) == [
        ["protocol", "data", "taken on", "who", "IoU@1", "IoU@5"],
        ["---"] * 6,
        ["clicks: ritm", "duts", "1 object of 1 photo", "**nano**", "40.0", "70.0"],
        ["clicks: ritm", "duts", "1 object of 1 photo", "GrabCut, in another run", "20.0", "50.0"],
    ]
    assert "**Clicks: mean IoU after each" in text


def test_published_figures_stand_under_ours_with_their_source():
    text = scoreboard(
        [of_model("nano", entry("panoptic", panoptic(12.3), set_name="coco_full"), kind="pack")]
    )
    rows = lines_of(text)
    assert rows[2] == ["panoptic", "coco_full", "1 photo", "**nano**", "12.3", "12.3", "-"]
    assert ["as published", "COCO val2017", "", "seem-focal-t-v1 [1]", "50.8", "", ""] in rows
    assert "[1] README of the official repositories" in text
    assert text.rstrip().endswith(OWN_NOTE)


def test_scores_of_one_kind_share_a_table():
    counted = {"count": 3, "cumulative_iou": 20.0, "mean_iou": 10.0, "precision": {"0.5": 5.0}}
    entries = [
        entry(name, counted, set_name="a")
        for name in ("phrases: class names, find", "reference: pairs")
    ]
    assert [row[0] for row in lines_of(scoreboard([of_model("nano", *entries)]))[2:]] == [
        "phrases: class names, find",
        "reference: pairs",
    ]


def test_larger_draws_and_the_model_come_first():
    small, large = (
        entry("clicks: ritm", curve(40.0), set_name="duts", fingerprint=name) for name in ("a", "b")
    )
    twice = entry(
        "clicks: ritm", curve(50.0), "model, zoom-in refinement", set_name="duts", fingerprint="b"
    )
    for each in (large, twice):
        each["selection"]["items"] = 9
    disc = entry("clicks: ritm", curve(9.0), "disc", set_name="duts", fingerprint="a")
    other = entry("clicks: ritm", curve(40.0), set_name="duts", fingerprint="c")
    text = scoreboard([of_model("nano", small, large, twice, disc, other)])
    assert [(row[2], row[3]) for row in lines_of(text)[2:]] == [
        ("9 objects of 1 photo", "**nano**"),
        ("9 objects of 1 photo", "**nano**, zoom-in refinement"),
        ("1 object of 1 photo", "**nano**"),
        ("1 object of 1 photo", "disc"),
        ("1 object of 1 photo, draw 2", "**nano**"),
    ]


def test_clicks_with_a_name_have_a_table_of_their_own():
    named = entry(
        "composition: clicks and the class name", curve(40.0), "model with the class name"
    )
    text = scoreboard([of_model("nano", entry("clicks: ritm", curve(30.0)), named)])
    assert [row[3] for row in lines_of(text)] == [
        *("who", "---", "**nano**"),
        *("who", "---", "**nano** with the class name"),
    ]
    assert "**Clicks beside the class name**" in text


def test_a_table_of_all_scores_is_of_one_model():
    reports = [of_model("nano", entry("panoptic", panoptic(1.0)), sha=sha) for sha in ("ab", "cd")]
    with pytest.raises(ValueError, match="of one model"):
        scoreboard(reports)


def test_tables_go_between_the_marks_of_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter \\1\n")
    for _ in range(2):
        write_into(page, "| new \\1 |")
    assert page.read_text() == f"before\n{BEGIN}\n\n| new \\1 |\n{END}\nafter \\1\n"
    page.write_text(f"{END} {BEGIN}")
    with pytest.raises(ValueError, match="has no place for the tables"):
        write_into(page, "new")
    assert page.read_text() == f"{END} {BEGIN}"


def test_a_page_is_filled_by_the_command(report, tmp_path, capsys):
    report.save(tmp_path / "result.json")
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    assert main(["evaluate", "--compare", str(tmp_path / "result.json"), "--into", str(page)]) == 0
    assert "**ColourModel** without memory" in page.read_text()
    assert capsys.readouterr() == ("", f"{page}\n")


# --- A real report ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return make_pack(tmp_path_factory.mktemp("pack"), photos=2)


@pytest.fixture(scope="module")
def report(pack):
    tasks = (
        EvaluationTask.PANOPTIC,
        EvaluationTask.INSTANCE,
        EvaluationTask.SEMANTIC,
        EvaluationTask.CLICKS,
    )
    return run_evaluation(
        ColourModel, EvaluationRequest((f"pack:{pack.path}",), tasks, clicks=2, baselines="disc")
    )


def test_a_report_becomes_a_table(report):
    text = compared([LoadedReport.of(report), LoadedReport.of(report)])
    assert "GrabCut" not in text
    assert [line.split()[-1] for line in text.splitlines() if " IoU@1 " in line][:1] == ["66.7"]
    assert DIFFERENT_NOTE not in text


def test_classes_have_their_names(report):
    told = LoadedReport.of(report)
    named = {entry["protocol"]: per_class_scores(told, entry) for entry in told.entries}
    assert named["semantic"] == {"cat": 100, "kite": 100, "grass-merged": 100}
    assert set(named["panoptic"]) == {"cat", "kite", "grass-merged"}
    assert named["instance"]["kite"] == 100
    assert named["clicks: ritm"] == {}


def test_reports_beside_each_other_are_drawn_by_the_command(report, tmp_path, capsys):
    for name in ("first", "second"):
        report.save(tmp_path / f"{name}.json")
    files = [str(tmp_path / f"{name}.json") for name in ("first", "second")]
    assert main(["evaluate", "--compare", *files, "--plots", str(tmp_path / "plots")]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0].split()[-4:] == [
        "ColourModel",
        "(first)",
        "ColourModel",
        "(second)",
    ]
    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"coco_full_clicks-ritm.png"} < drawn
    assert {Path(line).name for line in printed.err.splitlines()} == drawn


def test_pictures_are_drawn(report, pack, tmp_path):
    other = LoadedReport("other", LoadedReport.of(report).content)
    paths = plot([LoadedReport.of(report), other], tmp_path / "plots", [pack])
    assert sorted(paths) == sorted((tmp_path / "plots").iterdir())
    names = {path.name for path in paths}
    assert {"coco_full_clicks-ritm.png", "other_coco_full_semantic_classes.png"} < names
    for path in paths:
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 1


def test_worst_cases_show_truth_and_answer(report, pack, tmp_path):
    (first, *_) = worst_cases([LoadedReport.of(report)], pack, tmp_path)
    with Image.open(first) as picture:
        sheet = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    assert (np.abs(sheet - (110, 95, 15)).sum(axis=1) < 200).any()
    assert contact_sheet([Image.new("RGB", (240, 208))] * 5).size == (
        4 * 246,
        20 + 2 * 214,
    )  # a line about colours


def test_without_matplotlib_the_extra_is_named(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SeemError, match=r'pip install "seem\[evaluate\]"'):
        plot([LoadedReport.of(report)], tmp_path)


def test_a_set_that_is_not_there_draws_no_cases(report, tmp_path):
    other = make_pack(tmp_path, photos=1, name="other")
    assert list(worst_cases([LoadedReport.of(report)], other, tmp_path)) == []


def test_numbers_that_do_not_exist_are_null():
    card = ModelDescription("m", None, 0, 1, 1, "float32", "cpu")
    report = EvaluationReport(card, Machine.here(1), {}, [], float("nan"), {})
    assert json.loads(report.to_json())["seconds"] is None
    assert np.isnan(Timing.of([]).median_ms)
    assert Timing.of([0.1, 0.3]).mean_ms == 200


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path):
    report = EvaluationReport(
        ModelDescription("m", None, 0, 1, 1, "float32", "cpu"), Machine.here(1), {}, [], 1.0, {}
    )
    (tmp_path / "out.json").mkdir()
    with pytest.raises(OSError, match=r"out\.json"):
        report.save(tmp_path / "out.json")
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert isinstance(tmp_path, Path)
