"""Invent cases, score them with the reference implementations, and write both down for the tests of our metrics.

    PYTHONPATH=<panopticapi>:<davis2017-evaluation>:<pycocoevalcap> python record.py

Run where these are, with numpy, pillow, opencv, scikit-image and scikit-learn; nothing of them is needed to run the
tests. References: cocodataset/panopticapi 7bb4655, davisvideochallenge/davis2017-evaluation ac7c43f (`metrics` and
`utils`), salaniz/pycocoevalcap ad63453 (`cider.cider_scorer`, without its Java tokenizer), scikit-learn 1.9.1.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
THINGS, STUFF, CLASSES = (1, 2, 3), (10, 11), 6


def write(name, document):
    (HERE / name).write_text(json.dumps(document, separators=(",", ":")) + "\n")


# --- Panoptic quality -------------------------------------------------------------------------------------------------


def partition(rng, hw):
    """Draw rectangles over each other; some pixels stay void."""
    ids = np.zeros(hw, int)
    for number in range(1, int(rng.integers(3, 9))):
        y, x = (int(rng.integers(0, side - 2)) for side in hw)
        ids[y : y + int(rng.integers(2, hw[0])), x : x + int(rng.integers(2, hw[1]))] = number
    return ids


def described(rng, ids, crowds):
    categories = (*THINGS, *STUFF)
    regions = []
    for number in np.unique(ids[ids > 0]).tolist():
        category = int(rng.choice(categories))
        regions.append(
            [number, category, bool(crowds and category in THINGS and rng.random() < 0.35)]
        )
    return {"ids": ids.tolist(), "regions": regions}


def retold(rng, truth):
    """Move the truth by a pixel or so, rename its regions, and get some of their categories wrong."""
    ids = np.roll(np.array(truth["ids"]), tuple(rng.integers(-1, 2, 2)), axis=(0, 1))
    if rng.random() < 0.3:
        ids = np.where(
            ids == 0, int(ids.max()) + 1, ids
        )  # says something where nothing is labelled
    known = {number: category for number, category, _ in truth["regions"]}
    names = {
        number: 300 + 7 * int(place)
        for place, number in enumerate(rng.permutation(np.unique(ids[ids > 0])))
    }
    regions = []
    for number, name in names.items():
        wrong = rng.random() < 0.2 or number not in known
        regions.append(
            [name, int(rng.choice((*THINGS, *STUFF))) if wrong else known[number], False]
        )
    return {
        "ids": [[names.get(pixel, 0) for pixel in row] for row in ids.tolist()],
        "regions": regions,
    }


def panoptic():
    from panopticapi.evaluation import pq_compute_single_core
    from panopticapi.utils import id2rgb

    rng = np.random.default_rng(7)
    photos = []
    for _ in range(40):
        truth = described(rng, partition(rng, (8, 11)), crowds=True)
        photos.append({"truth": truth, "predicted": retold(rng, truth)})
    categories = {k: {"id": k, "isthing": int(k in THINGS)} for k in (*THINGS, *STUFF, 12)}
    with tempfile.TemporaryDirectory() as folder:
        pairs = []
        for number, photo in enumerate(photos):
            pair = []
            for side, told in photo.items():
                ids = np.array(told["ids"])
                name = f"{side}{number}.png"
                Image.fromarray(id2rgb(ids)).save(Path(folder) / name)
                rows = [
                    {
                        "id": k,
                        "category_id": c,
                        "iscrowd": int(crowd),
                        "area": int((ids == k).sum()),
                    }
                    for k, c, crowd in told["regions"]
                ]
                pair.append({"image_id": number, "file_name": name, "segments_info": rows})
            pairs.append(tuple(pair))
        counted = pq_compute_single_core(0, pairs, folder, folder, categories)
    scores = {}
    for name, is_thing in (("all", None), ("things", True), ("stuff", False)):
        scores[name], per_class = counted.pq_average(categories, is_thing)
        if name == "all":
            scores["per_class"] = per_class
    scores["counts"] = {k: [counted[k].tp, counted[k].fp, counted[k].fn] for k in categories}
    is_thing = {k: bool(row["isthing"]) for k, row in categories.items()}
    write("panoptic.json", {"is_thing": is_thing, "photos": photos, "scores": scores})


# --- J and F ----------------------------------------------------------------------------------------------------------


def blob(hw, centre, size, lobes, turn):
    rows, columns = np.ogrid[: hw[0], : hw[1]]
    angle = np.arctan2(rows - centre[0], columns - centre[1])
    wobble = 1 + 0.3 * np.sin(angle * lobes + turn)
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= (size * wobble) ** 2


def clip(rng, hw, frames):
    """A blob that walks, and an answer that gets worse; sometimes either is missing."""
    truth, predicted = np.zeros((2, frames, *hw), bool)
    centre, size, lobes = (
        rng.random(2) * hw,
        float(rng.uniform(0.12, 0.4)) * min(hw),
        rng.integers(2, 6),
    )
    for frame in range(frames):
        centre = centre + rng.normal(0, 3, 2)
        turn = rng.random() * 6
        truth[frame] = blob(hw, centre, size, lobes, turn)
        off, more = rng.normal(0, 0.5 + 0.3 * frame, 2), rng.uniform(0.95, 1.1)
        predicted[frame] = blob(hw, centre + off, size * more, lobes, turn + rng.normal(0, 0.1))
        if rng.random() < 0.1:
            truth[frame] = False
        if rng.random() < 0.1:
            predicted[frame] = False
    return truth, predicted


def video():
    from davis2017.metrics import db_eval_boundary, db_eval_iou
    from davis2017.utils import db_statistics

    rng = np.random.default_rng(3)
    arrays, rows = {}, []
    for sequence, hw, tracks, frames in (
        ("a", (96, 140), 2, 11),
        ("b", (61, 83), 3, 7),
        ("c", (260, 330), 1, 3),
    ):
        for track in range(tracks):
            truth, predicted = clip(rng, hw, frames)
            if (sequence, track) == ("b", 1):
                predicted[3] = True  # fills the photo: no outline
            arrays[f"{sequence}{track}_truth"], arrays[f"{sequence}{track}_predicted"] = (
                truth,
                predicted,
            )
            j, f = db_eval_iou(truth, predicted), db_eval_boundary(truth, predicted)
            row = {"sequence": sequence, "track": track, "j": j.tolist(), "f": f.tolist()}
            for rule, part in (("inner", slice(1, -1)), ("all", slice(None))):
                row[rule] = {"j": list(db_statistics(j[part])), "f": list(db_statistics(f[part]))}
            rows.append(row)
    np.savez_compressed(
        HERE / "video.npz", **{name: np.packbits(mask, axis=-1) for name, mask in arrays.items()}
    )
    write("video.json", {"widths": {"a": 140, "b": 83, "c": 330}, "objects": rows})


# --- CIDEr-D ----------------------------------------------------------------------------------------------------------

WHO = ("a cat", "the old dog", "two men", "a red car", "some sheep", "a woman", "the boy", "a bird")
DOES = (
    "sits on",
    "runs across",
    "stands near",
    "looks at",
    "sleeps under",
    "is in front of",
    "waits by",
)
WHAT = (
    "a wooden table",
    "the green field",
    "a street",
    "the water",
    "a large tree",
    "a cat",
    "some snow",
)


def sentence(rng, who=None):
    words = f"{who or rng.choice(WHO)} {rng.choice(DOES)} {rng.choice(WHAT)}".split()
    if rng.random() < 0.4:
        words += f"and {rng.choice(DOES)} {rng.choice(WHAT)}".split()
    return " ".join(words)


def captions():
    from cider.cider_scorer import CiderScorer

    rng = np.random.default_rng(11)
    cases, scorer = [], CiderScorer()
    for number in range(14):
        who = str(rng.choice(WHO))
        references = [sentence(rng, who) for _ in range(int(rng.integers(1, 6)))]
        told = {0: "", 1: "cat", 2: references[0], 3: "zebra giraffe yak gnu"}.get(
            number, sentence(rng, who)
        )
        cases.append({"told": told, "references": references})
        scorer += (told, references)
    mean, scores = scorer.compute_score()
    write("captions.json", {"photos": cases, "score": float(mean), "scores": scores.tolist()})


# --- Classes of pixels ------------------------------------------------------------------------------------------------


def classes():
    from sklearn.metrics import accuracy_score, jaccard_score

    rng = np.random.default_rng(5)
    truth = rng.integers(0, CLASSES - 1, (4, 9, 13))  # the last class is never true
    predicted = np.where(
        rng.random(truth.shape) < 0.7, truth, rng.integers(0, CLASSES, truth.shape)
    )
    truth[rng.random(truth.shape) < 0.1] = 255
    truth[truth == 3] = 2  # class 3 is only told, class 5 as well
    true, told = truth[truth != 255], predicted[truth != 255]
    scores = {
        "per_class": jaccard_score(
            true, told, labels=range(CLASSES), average=None, zero_division=0
        ).tolist(),
        "mean": jaccard_score(true, told, average="macro"),
        "weighted": jaccard_score(true, told, average="weighted"),
        "accuracy": accuracy_score(true, told),
    }
    write(
        "classes.json",
        {
            "classes": CLASSES,
            "truth": truth.tolist(),
            "predicted": predicted.tolist(),
            "scores": scores,
        },
    )


if __name__ == "__main__":
    panoptic()
    video()
    captions()
    classes()
