"""What is counted: each metric is updated object by object or photo by photo, and computes a frozen result.

`metric.py` says what all of them can do: reset, merge what several processes counted, stop and go on.
"""
