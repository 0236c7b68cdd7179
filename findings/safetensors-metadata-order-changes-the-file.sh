#!/usr/bin/env bash
# Versions: safetensors 0.8.0, numpy 2.2.6, Python 3.11.
#
# Expected: the same tensors and the same metadata give the same file, so that its sha256 says whether weights are equal.
# What happens: the metadata come from a hash map with a random seed; with more than one entry their order in the header,
# and so the file, differs from call to call, also within one process. With one entry the file is always the same.
# Why it matters: checkpoints of a resumed run, build caches and everything that is kept by the sha256 of its weights take
# equal weights for different ones.
# Instead: put all metadata into one entry (JSON with sorted keys), or sort the header before the file is written.
#
# Seen (the number for three entries changes from run to run, between 2 and 6):
#   1 metadata entry: 1 different file in 40 calls
#   3 metadata entries: 6 different files in 40 calls
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    safetensors==0.8.0 numpy==2.2.6
cd "$work"
"$work/venv/bin/python" - <<'PY'
import hashlib

import numpy as np
from safetensors.numpy import save

weights = {"layer": np.zeros(2, np.float32)}


def count_files(metadata):
    return len({hashlib.sha256(save(weights, metadata)).hexdigest() for _ in range(40)})


one = count_files({"model": "a"})
three = count_files({"model": "a", "step": "1", "data": "b"})
print("1 metadata entry: %d different file in 40 calls" % one)
print("3 metadata entries: %d different files in 40 calls" % three)
assert one == 1 and three > 1, (one, three)
PY
