"""Masks in the files of other tools: COCO, panoptic maps, YOLO, labelme, CVAT, Label Studio, DAVIS, YouTube-VIS.

Every writer is handed one `AnnotatedImage` after the other and writes a folder that its tool opens. `formats.py` lists
them, `outlines.py` turns masks to polygons that cover the same pixels. Masks lie in the image as shown.
"""
