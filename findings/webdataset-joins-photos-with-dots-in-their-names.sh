#!/usr/bin/env bash
# Versions: webdataset 1.0.2, numpy 2.2.6, Python 3.11.
#
# Expected: a tar of two photos, each with its JSON, is two samples.
# What happens: the key of a sample is the name up to its FIRST dot, so cat.v1.jpg and cat.v2.jpg share the key "cat" and
# become one sample with the fields v1.jpg, v1.json, v2.jpg, v2.json. Nothing is said; code that asks for "jpg" and "json"
# drops both photos, or fails with a KeyError far from the cause.
# Why it matters: file names with a dot before the ending are common (augmented copies, versions, decimals, dates).
# Instead: replace dots in names when the tar is written, and check that no key has two images.
#
# Seen:
#   4 members, 1 sample
#   cat: v1.jpg, v1.json, v2.jpg, v2.json
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    webdataset==1.0.2 numpy==2.2.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import io
import tarfile

import webdataset

with tarfile.open("photos.tar", "w") as tar:
    for name in ("cat.v1.jpg", "cat.v1.json", "cat.v2.jpg", "cat.v2.json"):
        member = tarfile.TarInfo(name)
        member.size = 4
        tar.addfile(member, io.BytesIO(b"data"))

samples = list(webdataset.WebDataset("photos.tar", shardshuffle=False))
print("4 members, %d sample" % len(samples))
for sample in samples:
    fields = sorted(name for name in sample if not name.startswith("__"))
    print("%s: %s" % (sample["__key__"], ", ".join(fields)))
assert len(samples) == 1 and samples[0]["__key__"] == "cat", samples
assert {"v1.jpg", "v2.jpg"} <= set(samples[0])
PY
