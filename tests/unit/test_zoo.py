import json

import pytest
import torch

from seem import zoo
from seem.models.build import build


def test_every_model_is_listed_and_found():
    assert len(zoo.list_models()) == 16
    assert zoo.list_models()[0].name == "nano"
    for card in zoo.list_models():
        assert zoo.find_model_card(card.name) is card
        assert card.config().name == card.name


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("nanno", "nano"),
        ("Nano", "nano"),
        ("seem-focal-t", "seem-focal-t-v1"),
        ("seem_focal_t_v1", "seem-focal-t-v1"),
        ("seem_v1_focalt", "seem-focal-t-v1"),
        ("seem_focalt_v1", "seem-focal-t-v1"),
        ("SEEM-FOCAL-T-V1", "seem-focal-t-v1"),
        ("xdecoder-davit-d4", "xdecoder-davit-d"),
    ],
)
def test_unknown_name_gets_the_nearest(typed, meant):
    with pytest.raises(ValueError, match=f"did you mean '{meant}"):
        zoo.find_model_card(typed)


@pytest.mark.parametrize("typed", ["", "resnet50", "🐱"])
def test_far_name_gets_the_list_alone(typed):
    with pytest.raises(ValueError, match="There is no model") as caught:
        zoo.find_model_card(typed)
    assert "did you mean" not in str(caught.value)
    assert "nano, seem-focal-t-v1, " in str(caught.value)


def test_rows_are_sound():
    for name, card in zoo.MODEL_CARDS.items():
        assert card.name == name
        assert (card.file is not None) == (card.weights is zoo.WeightsAvailability.DOWNLOAD)
        assert len(set(card.tasks)) == len(card.tasks) > 0
        assert len(set(card.prompts)) == len(card.prompts) > 0


@pytest.mark.parametrize("name", [card.name for card in zoo.list_models()])
def test_parameters_are_those_of_the_network(name):
    card = zoo.find_model_card(name)
    with torch.device("meta"):  # shapes without memory
        network = build(card.config())
    assert card.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_rows_agree_with_the_architectures_recorded(shared):
    for card in zoo.MODEL_CARDS.values():
        if card.manifest is None:
            continue
        manifest = json.loads(
            (shared / "parity" / "manifests" / f"{card.manifest}.json").read_text()
        )
        assert card.parameters == manifest["param_count"]
        released = [line.split()[0] for line in manifest["checkpoints"]]
        assert card.file is None or card.file.name in released
        assert (card.file is None) == (not released)


def test_scores_agree_with_the_published_table(shared):
    published = json.loads((shared / "design" / "published.json").read_text())[
        "released_checkpoints"
    ]
    rows = {row["model"]: row for row in published["rows"]}
    for card in zoo.MODEL_CARDS.values():
        assert (card.published is not None) == (card.name in rows)
        if card.published is not None:
            assert card.published.source == published["source"]
            assert card.published.backbone == card.backbone == rows[card.name]["backbone"]
            ours = {figure.key: figure.value for figure in card.published.figures}
            assert ours == {
                key: value for key, value in rows[card.name].items() if key in zoo.MAIN_SCORES
            }


def numbers(row):
    return {key: value for key, value in row.items() if isinstance(value, float)}


def test_the_papers_figures_agree_with_the_published_table(shared):
    published = json.loads((shared / "design" / "published.json").read_text())
    rows = [numbers(row) for table in ("table1", "table2") for row in published[table]]
    rows.append(
        {
            f"{data}_{key}": v
            for data, row in published["xdecoder_zero_shot"]["rows"].items()
            for key, v in row.items()
        }
    )
    papers = [
        scores for scores in zoo.published_scores() if " " in scores.model and not scores.note
    ]
    assert len(papers) == 13
    for scores in papers:
        assert {figure.key: figure.value for figure in scores.figures} in rows
        letter = scores.model.split("(")[-1][0]
        assert scores.backbone == {"T": "FocalNet-T", "B": "DaViT-d3", "L": "DaViT-d5"}.get(
            letter, "FocalNet-T"
        )


def test_every_figure_says_what_it_is_and_where_it_stands():
    for scores in zoo.published_scores():
        assert scores.family in ("SEEM", "X-Decoder")
        assert scores.backbone in zoo.BACKBONES.values()
        assert scores.source
        assert scores.figures
        for figure in scores.figures:
            assert figure.benchmark
            assert figure.metric
            assert figure.unit == ("clicks" if "NoC" in figure.metric else "%")


@pytest.mark.parametrize(
    ("name", "relatives"),
    [
        ("nano", []),
        ("seem-focal-l-v0", ["seem-focal-l-v1"]),
        ("seem-davit-d5-v1", ["SEEM (L)"] * 3),
        ("seem-focal-l-demo", ["seem-focal-l-v0", "seem-focal-l-v1"]),
        ("xdecoder-focal-t", ["X-Decoder (T)", "X-Decoder BestSeg Tiny"]),
    ],
)
def test_figures_of_other_weights_are_not_taken_for_a_models_own(name, relatives):
    card = zoo.find_model_card(name)
    assert [scores.model for scores in card.relatives] == relatives
    assert card.published is None or card.published.model == name


def test_a_row_prints_as_json():
    row = json.loads(json.dumps(zoo.find_model_card("seem-focal-t-v1").to_json()))
    assert list(row) == [
        "name",
        "parameters",
        "tasks",
        "prompts",
        "weights",
        "licence",
        "published",
    ]
    assert row["weights"] == "download"
    assert row["published"]["coco_pq"] == 50.8
    assert row["published"]["backbone"] == "FocalNet-T"
    assert zoo.find_model_card("xdecoder-focal-t").to_json()["published"]["voc_noc85_20"] is None
    assert zoo.find_model_card("nano").to_json()["weights"] == "embedded"
