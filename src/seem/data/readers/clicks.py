"""Click benchmarks with one object a photo: GrabCut, Berkeley, and the sampled frames of DAVIS and COCO.

    data_GT/ + boundary_GT/    images/ + masks/    img/ + gt/

A mask is grey: 128 does not count, above is the object. `gt` (DAVIS, COCO_MVal) has no 128; there any number but 0 is
the object. GrabCut's list comes as `data_GT` with masks under the photo's name; some copies name them `<photo>#...`,
one object each.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seem.data.dataset import ALL_SPLIT, LabelMap, LazyDataset, image_record
from seem.data.image_files import PHOTO_SUFFIXES, exact_labels, image_hw, photos_in
from seem.data.layout import Layout, refuse, undivided
from seem.data.readers.label_maps import segments_of
from seem.data.records import CategoryRecord, DataError, Flaw, FlawKind, ImageRecord

FOLDERS = (("data_GT", "boundary_GT"), ("images", "masks"), ("img", "gt"))
IGNORED = 128
OBJECT = CategoryRecord(1, "object", "", True)


def click_folders(path: Path) -> tuple[Path, Path] | None:
    """Find photos and masks."""
    return next(((path / a, path / b) for a, b in FOLDERS if (path / a).is_dir() and (path / b).is_dir()), None)


def read_clicks(path: Path, split: str = ALL_SPLIT) -> LazyDataset:
    """Open a click benchmark: every mask is one item, a photo with several masks comes once for each."""
    places = click_folders(path)
    if places is None:
        raise refuse("click benchmark", path, "images/ and masks/, data_GT/ and boundary_GT/, or img/ and gt/")
    photo_files, mask_files = photos_in(places[0]), photos_in(places[1])
    any_number = places[1].name == "gt"
    name = path.resolve().name
    photos: list[ImageRecord] = []
    flaws = []
    for file in photo_files:
        own = [mask for mask in mask_files if mask.stem == file.stem or mask.stem.startswith(f"{file.stem}#")]
        if not own:
            flaws.append(Flaw(FlawKind.MISSING_MASK_FILE, file.name, f"there is no {places[1].name}/{file.stem}.png"))
        for mask in own:
            try:
                hw = image_hw(file)
            except DataError as error:
                flaws.append(Flaw(FlawKind.UNREADABLE_IMAGE, file.name, str(error)))
                continue
            photos.append(image_record(len(photos) + 1, name, file, hw, split, "one object", semantic_path=mask))

    def read_map(photo: ImageRecord) -> LabelMap:
        assert photo.semantic_path is not None
        grey = exact_labels(photo.semantic_path, photo.hw)
        void = np.zeros(photo.hw, bool) if any_number else grey == IGNORED
        # boundary_GT and masks go up to 255, but some copies hold 0 and 1
        is_object = grey > 0 if any_number or grey.max() == 1 else grey > IGNORED
        return segments_of(is_object.astype(np.int32), {1: 1}, (OBJECT,), photo, void=void if void.any() else None)

    return LazyDataset(name, "clicks", split, path, (OBJECT,), tuple(photos), read_map, flaws=tuple(flaws))


def looks_like_clicks(path: Path) -> bool:
    """Whether a folder holds photos and one grey mask each; plain `images/` and `masks/` count if 128 is used."""
    places = click_folders(path)
    if places is None:
        return False
    if places[0].name != "images":
        return True
    return any(_has_ignored(mask) for mask in photos_in(places[1])[:5])


def _has_ignored(mask: Path) -> bool:
    from PIL import Image

    if mask.suffix.lower() not in PHOTO_SUFFIXES:
        return False
    try:
        with Image.open(mask) as picture:
            if picture.mode == "P":
                return False
            values = np.unique(np.asarray(picture))
    except OSError:
        return False
    return set(values.tolist()) == {0, IGNORED, 255}


CLICKS = Layout(
    "clicks",
    "GrabCut, Berkeley and other click benchmarks",
    "images/ and masks/ (128 = does not count), data_GT/ and boundary_GT/, or img/ and gt/",
    looks_like_clicks,
    undivided,
    read_clicks,
)
