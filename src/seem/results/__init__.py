"""What a model returns: masks, scores and labels of objects, in pixels of the image as shown.

`Results` is immutable and behaves like a list of `Segment`. Masks are packed (the bounding box alone, a bit a pixel)
and decoded when they are read. Labels may be lazy: they are computed at the first access to anything that shows a name
(`labels`, `category_ids`, `overlay()`, `to_coco()`, `save()`, `filter(label=...)`), once, whichever thread asks.

`seem.mask_codec` packs masks, `seem.coco_format` has the records of other programs, `seem.writing` writes files.
"""

from seem.results.columns import read_only
from seem.results.labels import Labels, LazyLabels
from seem.results.provenance import Proposal, Provenance
from seem.results.results import Results, Segment

__all__ = ["Labels", "LazyLabels", "Proposal", "Provenance", "Results", "Segment", "read_only"]
