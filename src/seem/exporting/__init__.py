"""Models as graphs for runtimes other than PyTorch: `export.py` is the entry, `graphs.py` holds the networks."""
