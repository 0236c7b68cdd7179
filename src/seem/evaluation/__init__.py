"""Scores under named protocols: metrics count, protocols play the user, the report says what was run.

    python -m seem.evaluation --model nano --data ../shared/data --out results.json

`protocols` walk over photos, ask a model (or a baseline, a `Contestant`) and feed `metrics`; every metric has `update`,
`merge`, `compute` and `reset`, and computes a frozen result. All scores are percentages, 0-100; a mean of nothing is
NaN, which is null in JSON. What the scores on the photo pack mean is written beside each protocol.
"""
