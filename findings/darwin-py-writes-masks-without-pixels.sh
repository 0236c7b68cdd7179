#!/usr/bin/env bash
# Versions: darwin-py 3.6.3, Python 3.11.
#
# Expected: `build_image_annotation`, which writes Darwin JSON 2.0, writes what the package's own parser read from such a
# file.
# What happens: polygons, boxes and tags are written. Of masks, their raster layer and ellipses only id and name remain:
# the annotation is there, its shape is not, without an error. The parser then skips such rows with a printed line.
# Why it matters: whatever rewrites annotations through this function loses masks while their number stays right; by its
# code `darwin dataset pull --video-frames` does (read, not run here).
# Instead: keep the downloaded Darwin files as they are; check that every annotation has a shape after any rewriting.
#
# Seen:
#   read: ellipse, mask, polygon, raster_layer
#   written: ellipse -> id, name
#   written: mask -> id, name
#   written: polygon -> bounding_box, id, name, polygon
#   written: raster_layer -> id, name
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
import json
from pathlib import Path
from darwin.exporter.formats.darwin import build_image_annotation
from darwin.utils import parse_darwin_json

square = [{"x": x, "y": y} for x, y in ((5, 5), (15, 5), (15, 15), (5, 15))]
layer = {"dense_rle": [0, 10, 1, 5, 0, 64 * 48 - 15], "mask_annotation_ids_mapping": {"m": 1}, "total_pixels": 64 * 48}
ellipse = {"center": {"x": 50, "y": 34}, "radius": {"x": 8, "y": 6}, "angle": 0.0}
slot = {"type": "image", "slot_name": "0", "width": 64, "height": 48, "source_files": [{"file_name": "a.jpg", "url": ""}]}
document = {
    "version": "2.0",
    "item": {"name": "a.jpg", "path": "/", "slots": [slot]},
    "annotations": [
        {"id": "p", "name": "cat", "slot_names": ["0"], "polygon": {"paths": [square]},
         "bounding_box": {"x": 5, "y": 5, "w": 10, "h": 10}},
        {"id": "e", "name": "ball", "slot_names": ["0"], "ellipse": ellipse},
        {"id": "m", "name": "dog", "slot_names": ["0"], "mask": {}},
        {"id": "l", "name": "__raster_layer__", "slot_names": ["0"], "raster_layer": layer},
    ],
}
Path("a.json").write_text(json.dumps(document))
read = parse_darwin_json(Path("a.json"), None)
kinds = {row.id: row.annotation_class.annotation_type for row in read.annotations}
print("read: %s" % ", ".join(sorted(kinds.values())))
written = {kinds[row["id"]]: sorted(row) for row in build_image_annotation(read, "team")["annotations"]}
for kind, fields in sorted(written.items()):
    print("written: %s -> %s" % (kind, ", ".join(fields)))
bare = ["id", "name"]
assert written == {"ellipse": bare, "mask": bare, "raster_layer": bare, "polygon": ["bounding_box", *bare, "polygon"]}, written
PY
