"""Click benchmarks with one object an image: GrabCut, Berkeley, and the sampled frames of DAVIS and COCO.

    data_GT/ + boundary_GT/    images/ + masks/    img/ + gt/

A mask is grey: 128 does not count, above is the object. `gt` (DAVIS, COCO_MVal) has no 128; there any number but 0 is
the object. GrabCut's list comes as `data_GT` with masks under the image's name; some copies name them `<image>#...`,
one object each.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from seem.data.dataset import ALL_SPLIT
from seem.data.image_files import (
    IMAGE_SUFFIXES,
    list_images,
    read_annotated_hw,
    read_channels,
    read_labels_of_size,
    relative_name,
)
from seem.data.label_map import LabelMap
from seem.data.layout import Layout, incomplete_layout_error
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.label_maps import label_map_of_segments, mask_or_none
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    image_record,
    unmatched_flaw,
)

_FOLDERS = (("data_GT", "boundary_GT"), ("images", "masks"), ("img", "gt"))
_IGNORED_VALUE = 128
_MAX_TRIED_MASKS = 5
_OBJECT = CategoryRecord(1, "object", "", is_thing=True)


def read_clicks(path: Path, split: str = ALL_SPLIT) -> LazyDataset:
    """Open a click benchmark: every mask is one item, an image with several masks comes once for each."""
    folders = _find_folders(path)
    if folders is None:
        raise incomplete_layout_error(
            "click benchmark",
            path,
            "images/ and masks/, data_GT/ and boundary_GT/, or img/ and gt/",
        )
    image_folder, mask_folder = folders
    name = path.resolve().name
    mask_files = list_images(mask_folder)
    images: list[ImageRecord] = []
    flaws = []
    unmatched = set(mask_files)
    for file in list_images(image_folder):
        own_masks = [mask for mask in mask_files if _is_mask_of(mask, file)]
        if not own_masks:
            what = f"there is no {mask_folder.name}/{file.stem}.png"
            flaws.append(Flaw(FlawKind.MISSING_MASK_FILE, file.name, what))
        unmatched.difference_update(own_masks)
        for mask in own_masks:
            try:
                hw = read_annotated_hw(file, mask)
            except DataError as error:
                flaws.append(Flaw(FlawKind.UNREADABLE_IMAGE, file.name, str(error)))
                continue
            image_id = len(images) + 1
            images.append(
                image_record(image_id, name, file, hw, split, "one object", semantic_path=mask)
            )

    flaws += [unmatched_flaw(relative_name(mask, path)) for mask in sorted(unmatched)]

    def read_map(image: ImageRecord) -> LabelMap:
        assert image.semantic_path is not None
        is_object, is_void = _read_mask(
            image.semantic_path, image, has_ignored=mask_folder.name != "gt"
        )
        return label_map_of_segments(
            is_object.astype(np.int32),
            {1: _OBJECT.id},
            (_OBJECT,),
            image,
            void=mask_or_none(is_void),
        )

    return LazyDataset(
        name=name,
        kind="clicks",
        split=split,
        path=path,
        category_list=(_OBJECT,),
        images=tuple(images),
        read_map=read_map,
        flaws=tuple(flaws),
        searched=folders,
    )


def _is_mask_of(mask: Path, image: Path) -> bool:
    return mask.stem == image.stem or mask.stem.startswith(f"{image.stem}#")


def looks_like_clicks(path: Path) -> bool:
    """Whether a folder holds images and one grey mask each; plain `images/` and `masks/` count if 128 is used."""
    folders = _find_folders(path)
    if folders is None:
        return False
    image_folder, mask_folder = folders
    if image_folder.name != "images":
        return True
    return any(map(_has_ignored_pixels, list_images(mask_folder)[:_MAX_TRIED_MASKS]))


def _find_folders(path: Path) -> tuple[Path, Path] | None:
    """Find the folders of images and masks."""
    for images, masks in _FOLDERS:
        if (path / images).is_dir() and (path / masks).is_dir():
            return path / images, path / masks
    return None


def _read_mask(
    file: Path,
    image: ImageRecord,
    has_ignored: bool,
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Return the object and the pixels that do not count."""
    grey = read_labels_of_size(file, image.hw, image.image_frame)
    if not has_ignored:
        return grey > 0, np.zeros(image.hw, bool)
    # boundary_GT and masks go up to 255, but some copies hold 0 and 1
    threshold = 0 if grey.max() == 1 else _IGNORED_VALUE
    return grey > threshold, grey == _IGNORED_VALUE


def _has_ignored_pixels(mask: Path) -> bool:
    if mask.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    try:
        values = np.unique(read_channels(mask))
    except DataError:
        return False
    return set(values.tolist()) == {0, _IGNORED_VALUE, 255}


CLICKS = Layout(
    kind="clicks",
    title="GrabCut, Berkeley and other click benchmarks",
    expects="images/ and masks/ (128 = does not count), data_GT/ and boundary_GT/, or img/ and gt/",
    fits=looks_like_clicks,
    read=read_clicks,
)
