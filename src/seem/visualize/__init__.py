"""Images of a result: objects tinted and labelled over the image, and cut out of it.

`overlay.py` paints the masks, `prompt_marks.py` draws the prompts on top, `label_plates.py` the labels on top of all.
"""

from seem.visualize.overlay import cut_out, draw_overlay

__all__ = ["cut_out", "draw_overlay"]
