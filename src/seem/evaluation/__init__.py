"""Scores of a model under named protocols.

    seem evaluate --model nano --data pack:../shared/data/coco_full --task clicks --out clicks.json

`plan` turns tasks into benchmarks: a protocol (`protocols`) on a data set. `runner` evaluates them image by image, in
this process, in `workers` or in the processes of torchrun (`ranks`), and writes what was counted to a `journal`.
Protocols prompt a model, or a baseline (`click_methods`), and update `metrics`. Every metric has `update`, `merge`,
`compute`, `reset` and a serializable `state`, and computes a frozen result. Scores are percentages, 0-100 (CIDEr-D may
be greater than 100); a mean of nothing is NaN, which is null in JSON. What a protocol does on the photo pack, where
that differs from other data sets, is written in its module.
"""
