"""Scores under named protocols: metrics count, protocols play the user, the report says what was run.

    seem evaluate --model nano --data pack:../shared/data/coco_full --task clicks --out clicks.json

`plan` turns tasks into `protocols`, each a `Measure`: what is asked about a photo, and how. `runner` plays them photo
by photo, alone, in `workers` or as `ranks`, and keeps what was counted in a `journal`. Protocols ask a model (or a
baseline, a `Contestant`) and feed `metrics`; every metric has `update`, `merge`, `compute`, `reset` and a `state` to go
on from, and computes a frozen result. Scores are percentages, 0-100 (CIDEr-D may pass 100); a mean of nothing is NaN,
which is null in JSON. What the scores on the photo pack mean is written beside each protocol.
"""
