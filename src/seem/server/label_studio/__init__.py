"""A backend for Label Studio's machine-learning protocol: clicks and boxes in; brushes, bitmasks or polygons out."""
