"""Decoder output to masks: every task is a function outside the network."""
