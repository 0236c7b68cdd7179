"""How a model is asked: each protocol walks over a split, asks, and returns entries for the report."""
