#!/usr/bin/env bash
# Versions: pycocotools 2.0.11, Python 3.11.
#
# Expected: a model that finds nothing is scored with AP 0, as it is when it finds nothing in all images but one.
# What happens: `loadRes` looks at the first result to tell masks from boxes. An empty list raises "IndexError: list
# index out of range", which names neither the file nor the reason; one poor result anywhere and the score is 0.
# Why it matters: it happens in the first evaluation of a training run or at a high score threshold, and ends the run.
# Instead: where the list is empty, give `COCOeval` a copy of the ground truth's `COCO` with no annotations.
#
# Seen:
#   no result:        IndexError: list index out of range
#   one false result: AP 0.000
#   instead:          AP 0.000
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    pycocotools==2.0.11 numpy==2.2.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import contextlib, copy, io
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

CONTENT = {
    "images": [{"id": 1, "width": 100, "height": 80, "file_name": "a.png"}],
    "categories": [{"id": 1, "name": "cup"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 200, "bbox": [10, 10, 20, 10],
         "segmentation": [[10, 10, 30, 10, 30, 20, 10, 20]]}
    ],
}
FALSE_ALARM = {"image_id": 1, "category_id": 1, "bbox": [60, 60, 5, 5], "score": 0.1}


def index(content):
    coco = COCO()
    coco.dataset = copy.deepcopy(content)
    coco.createIndex()
    return coco


def score(truth, results):
    run = COCOeval(truth, results, "bbox")
    run.evaluate(), run.accumulate(), run.summarize()
    return float(run.stats[0])


def attempt(make):
    truth = index(CONTENT)
    try:
        return "AP %.3f" % score(truth, make(truth))
    except IndexError as error:
        return f"IndexError: {error}"


with contextlib.redirect_stdout(io.StringIO()):
    empty = attempt(lambda truth: truth.loadRes([]))
    false = attempt(lambda truth: truth.loadRes([dict(FALSE_ALARM)]))
    instead = attempt(lambda truth: index({**CONTENT, "annotations": []}))
print("no result:       ", empty)
print("one false result:", false)
print("instead:         ", instead)
assert empty == "IndexError: list index out of range", empty
assert false == instead == "AP 0.000", (false, instead)
PY
