"""Fine-tuning a model on a user's own images and masks.

`request` is what the user asks for, `planning` decides and `plan` holds what was decided, `profile` is what differs
between kinds of model, `run` trains and writes the result, `console` words what is printed.
"""
