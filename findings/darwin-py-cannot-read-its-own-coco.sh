#!/usr/bin/env bash
# Versions: darwin-py 3.6.3, Python 3.11.
#
# Expected: what Darwin exports as COCO, Darwin imports.
# What happens: an annotation of one path becomes a polygon; one with a hole or several parts becomes an RLE with
# `iscrowd: 1` and `area: 0`, drawn with its border pixels (880 instead of 800, 242 instead of 200). The importer skips
# crowds: of three objects one comes back. Other tools leave crowds out of training, and COCO's evaluation ignores them.
# Why it matters: the loss hits only objects with holes or parts (people behind poles, rings), so counts look plausible;
# `area: 0` makes them vanish from any filter for small objects as well.
# Instead: use Darwin's own JSON as the archive; after a COCO export set `iscrowd` to 0 and compute `area` and box anew.
#
# Seen:
#   drawn: a square of 100 px, a square of 900 px with a hole of 100, two squares of 100 px
#   exported: iscrowd 0, `area` 100.0, pixels in the RLE None
#   exported: iscrowd 1, `area` 0, pixels in the RLE 880
#   exported: iscrowd 1, `area` 0, pixels in the RLE 242
#   read back by its own importer: 1 of 3
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    darwin-py==3.6.3 numpy==2.2.6 pillow==12.3.0 upolygon==0.2.3 pyyaml==6.0.4 pygments==2.21.0 \
    annotated-types==0.8.0 attrs==26.1.0 json-stream==2.5.1 json-stream-rs-tokenizer==0.5.4 \
    jsonschema==4.26.0 jsonschema-specifications==2025.9.1 referencing==0.37.0 rpds-py==2026.9.1 \
    mpire==2.10.2 natsort==8.4.0 orjson==3.13.0 pydantic==2.14.4 pydantic-core==2.50.5 \
    typing-inspection==0.4.5 typing-extensions==4.16.0 rich==13.9.4 markdown-it-py==3.0.0 mdurl==0.1.2 \
    tenacity==8.5.0 tqdm==4.70.1 humanize==4.13.0 deprecation==2.1.0 packaging==26.4 toml==0.10.2 \
    argcomplete==3.6.2 requests==2.34.2 certifi==2026.10.19.post1 charset-normalizer==3.5.3 idna==3.20 \
    urllib3==2.8.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import contextlib, io, json, os
from pathlib import Path
from darwin.exporter.formats import coco as exporter
from darwin.importer.formats import coco as importer
from darwin.utils import parse_darwin_json


def square(x, y, side):
    return [{"x": x, "y": y}, {"x": x + side, "y": y}, {"x": x + side, "y": y + side}, {"x": x, "y": y + side}]


def annotation(name, x, y, w, h, *paths):
    box = {"x": x, "y": y, "w": w, "h": h}
    return {"id": name, "name": "cat", "polygon": {"paths": list(paths)}, "bounding_box": box, "slot_names": ["0"], "properties": []}


slot = {"type": "image", "slot_name": "0", "width": 64, "height": 64, "source_files": [{"file_name": "a.png"}]}
item = {"name": "a.png", "path": "/", "slots": [slot]}
rows = [
    annotation("plain", 45, 5, 10, 10, square(45, 5, 10)),
    annotation("hole", 10, 10, 30, 30, square(10, 10, 30), square(20, 20, 10)),
    annotation("parts", 5, 45, 35, 10, square(5, 45, 10), square(30, 45, 10)),
]
json.dump({"version": "2.0", "item": item, "annotations": rows}, open("a.json", "w"))
os.mkdir("coco")
with contextlib.redirect_stdout(io.StringIO()):
    exporter.export([parse_darwin_json(Path("a.json"), 0)], Path("coco"))
written = next(Path("coco").glob("*.json"))
exported = [(row["iscrowd"], row["area"], sum(row["segmentation"]["counts"][1::2]) if row["iscrowd"] else None)
            for row in json.loads(written.read_text())["annotations"]]
with contextlib.redirect_stdout(io.StringIO()):
    back = [annotation for file in importer.parse_path(written) for annotation in file.annotations]
print("drawn: a square of 100 px, a square of 900 px with a hole of 100, two squares of 100 px")
for row in exported:
    print("exported: iscrowd %s, `area` %s, pixels in the RLE %s" % row)
print("read back by its own importer: %d of 3" % len(back))
assert sorted(row[0] for row in exported) == [0, 1, 1] and [row[1] for row in exported if row[0]] == [0, 0], exported
assert [row[2] for row in exported if row[0]] and len(back) == 1
PY
