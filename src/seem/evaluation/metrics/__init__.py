"""Metrics: each is updated object by object or image by image, and computes a frozen result.

`metric.py` has the interface: reset, merge what several processes counted, store and restore the state.
"""
