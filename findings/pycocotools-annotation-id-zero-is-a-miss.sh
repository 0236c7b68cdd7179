#!/usr/bin/env bash
# Versions: pycocotools 2.0.11, faster-coco-eval 1.8.0, numpy 2.2.6, Python 3.11.
#
# Expected: the id of an annotation is a name; adding 1 to all ids changes no score.
# What happens: matches are noted by the annotation's id, and 0 also stands for "no match". The detection of object 0
# counts as a false alarm and the object as missed. pycocotools says nothing; faster-coco-eval has the same rule and warns.
# Why it matters: tools that number their objects from 0 are common; with few objects of a class the loss is large, here a
# third of recall with perfect detections.
# Instead: number annotations from 1.
#
# Seen:
#   pycocotools: 3 perfect detections of 3 objects, ids from 0: AP 0.442, AR 0.667; ids from 1: AP 1.000, AR 1.000
#   faster-coco-eval: 3 perfect detections of 3 objects, ids from 0: AP 0.442, AR 0.667; ids from 1: AP 1.000, AR 1.000
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    pycocotools==2.0.11 faster-coco-eval==1.8.0 numpy==2.2.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import contextlib
import io

from faster_coco_eval import COCO as FasterCoco
from faster_coco_eval import COCOeval_faster
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def scores(coco_class, evaluation_class, first_id):
    boxes = [[10, 10, 50, 50], [100, 10, 50, 50], [200, 10, 50, 50]]
    objects = [
        dict(id=first_id + i, image_id=1, category_id=1, bbox=box, area=2500, iscrowd=0)
        for i, box in enumerate(boxes)
    ]
    found = [dict(image_id=1, category_id=1, bbox=box, score=0.9 - i / 10) for i, box in enumerate(boxes)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_class()
        truth.dataset = dict(
            images=[dict(id=1, width=300, height=100, file_name="a.jpg")],
            categories=[dict(id=1, name="cup")],
            annotations=objects,
        )
        truth.createIndex()
        evaluation = evaluation_class(truth, truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[8])


for name, classes in (("pycocotools", (COCO, COCOeval)), ("faster-coco-eval", (FasterCoco, COCOeval_faster))):
    from_zero, from_one = scores(*classes, 0), scores(*classes, 1)
    print(
        "%s: 3 perfect detections of 3 objects, ids from 0: AP %.3f, AR %.3f; ids from 1: AP %.3f, AR %.3f"
        % (name, *from_zero, *from_one)
    )
    assert from_one == (1.0, 1.0), from_one
    assert from_zero[0] < 0.7 and abs(from_zero[1] - 2 / 3) < 0.01, from_zero
PY
