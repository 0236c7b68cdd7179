"""Two small photos with known masks, written in the layout of every format."""

import csv
import json
import pickle

import numpy as np
from PIL import Image

A_HW, B_HW = (12, 16), (10, 14)
STEMS = ("a", "b")
SIZES = dict(zip(STEMS, (A_HW, B_HW), strict=True))


def rectangle(hw, x0, y0, x1, y1):
    mask = np.zeros(hw, bool)
    mask[y0:y1, x0:x1] = True
    return mask


CAT = rectangle(A_HW, 1, 2, 6, 9)
DOG = rectangle(A_HW, 8, 3, 15, 11)
HORSE = rectangle(B_HW, 2, 1, 12, 8)


def polygon(x0, y0, x1, y1):
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def photo(path, hw, seed=0):
    """Write a photo of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*hw, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def photos(folder, names=("a.jpg", "b.jpg")):
    return [
        photo(folder / name, hw, seed)
        for seed, (name, hw) in enumerate(zip(names, (A_HW, B_HW), strict=True))
    ]


def grey(path, values, dtype=np.uint8):
    """Write a map of numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values).astype(dtype)).save(path)
    return path


def palette(path, values):
    """Write an indexed PNG, as Pascal VOC and DAVIS do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(values).astype(np.uint8)).convert("P")
    picture.putpalette(
        [channel for k in range(256) for channel in (k * 37 % 256, k * 91 % 256, k * 53 % 256)]
    )
    array = Image.fromarray(np.asarray(values).astype(np.uint8), mode=None)
    picture.putdata(list(array.tobytes()))
    picture.save(path)
    return path


def labels(*parts, hw):
    """Draw (mask, number) pairs, later ones on top."""
    values = np.zeros(hw, np.int64)
    for mask, number in parts:
        values[mask] = number
    return values


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


CATEGORIES = [
    {"id": 17, "name": "cat", "supercategory": "animal"},
    {"id": 18, "name": "dog", "supercategory": "animal"},
    {"id": 19, "name": "horse", "supercategory": "animal"},
]


def coco_document(file_names=("a.jpg", "b.jpg")):
    """COCO instances: cat and dog on the first photo (dog as run lengths), horse on the second, a crowd of cats."""
    column_runs = column_counts(DOG)
    return {
        "images": [
            {"id": 7, "file_name": file_names[0], "height": A_HW[0], "width": A_HW[1]},
            {"id": 9, "file_name": file_names[1], "height": B_HW[0], "width": B_HW[1]},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 17, "segmentation": [polygon(1, 2, 6, 9)], "bbox": [1, 2, 5, 7],
             "area": 35, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 18, "segmentation": {"size": list(A_HW), "counts": column_runs},
             "bbox": [8, 3, 7, 8], "area": 56, "iscrowd": 0},
            {"id": 3, "image_id": 9, "category_id": 19, "segmentation": [polygon(2, 1, 12, 8)], "bbox": [2, 1, 10, 7],
             "area": 70, "iscrowd": 0},
            {"id": 4, "image_id": 9, "category_id": 17, "segmentation": {"size": list(B_HW), "counts": [130, 10]},
             "bbox": [13, 0, 1, 10], "area": 10, "iscrowd": 1},
        ],
        "categories": [dict(row) for row in CATEGORIES],
    }  # fmt: skip


def column_counts(mask):
    """Code a mask by hand: pixels column by column, outside first."""
    flat, counts, value = mask.T.ravel().tolist(), [], False
    while flat:
        run = next((k for k, pixel in enumerate(flat) if pixel != value), len(flat))
        counts.append(run)
        flat, value = flat[run:], not value
    return counts


def coco(root):
    """COCO's 2017 layout, instances and captions, part val."""
    photos(root / "val2017")
    text(root / "annotations" / "instances_val2017.json", coco_document())
    captions = [{"image_id": 7, "id": 1, "caption": "A cat and\na dog. "}]
    text(root / "annotations" / "captions_val2017.json", {"annotations": captions, "images": []})
    return root


def coco_panoptic(root):
    """The same with a panoptic map of the first photo: cat 5, dog 300, grass 70000; one row is unlabelled."""
    coco(root)
    ids = np.full(A_HW, 70000)
    ids[CAT], ids[DOG], ids[-1] = 5, 300, 0
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1)
    grey(root / "annotations" / "panoptic_val2017" / "a.png", colours)
    segments = [
        {"id": 5, "category_id": 17, "area": 35, "iscrowd": 0},
        {"id": 300, "category_id": 18, "area": 56, "iscrowd": 0},
        {"id": 70000, "category_id": 193, "area": 85, "iscrowd": 0},
    ]
    document = {
        "images": coco_document()["images"][:1],
        "annotations": [{"image_id": 7, "file_name": "a.png", "segments_info": segments}],
        "categories": [row | {"isthing": 1} for row in CATEGORIES]
        + [{"id": 193, "name": "grass-merged", "isthing": 0}],
    }
    text(root / "annotations" / "panoptic_val2017.json", document)
    return root


def lvis(root):
    photos(root / "val2017")
    document = coco_document()
    for row in document["images"]:
        row["coco_url"] = f"http://images.cocodataset.org/val2017/{row.pop('file_name')}"
        row["neg_category_ids"], row["not_exhaustive_category_ids"] = [19], [18]
    document["categories"][1]["name"] = "hot_dog"
    text(root / "lvis_v1_val.json", document)
    return root


def refcoco(root):
    home = root / "refcoco"
    photos(
        root / "images" / "train2014",
        ("COCO_train2014_000000000007.jpg", "COCO_train2014_000000000009.jpg"),
    )
    names = ("COCO_train2014_000000000007.jpg", "COCO_train2014_000000000009.jpg")
    text(home / "instances.json", coco_document(names))
    refs = [
        {"ref_id": 1, "ann_id": 2, "image_id": 7, "category_id": 18, "split": "testA", "file_name": names[0],
         "sentences": [{"sent": "dog on the right", "raw": "Dog", "sent_id": 1, "tokens": ["dog"]},
                       {"sent": "the dog", "raw": "the dog", "sent_id": 2, "tokens": []}], "sent_ids": [1, 2]},
        {"ref_id": 2, "ann_id": 3, "image_id": 9, "category_id": 19, "split": "train", "file_name": names[1],
         "sentences": [{"sent": "horse", "raw": "horse", "sent_id": 3, "tokens": []}], "sent_ids": [3]},
    ]  # fmt: skip
    (home / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    return home


def voc(root):
    """Pascal VOC: cat (8) and dog (12) with void between, horse (13)."""
    home = root / "VOC2012"
    photos(home / "JPEGImages")
    edge = rectangle(A_HW, 6, 2, 7, 9)
    palette(home / "SegmentationClass" / "a.png", labels((CAT, 8), (DOG, 12), (edge, 255), hw=A_HW))
    palette(home / "SegmentationObject" / "a.png", labels((CAT, 1), (DOG, 2), (edge, 255), hw=A_HW))
    palette(home / "SegmentationClass" / "b.png", labels((HORSE, 13), hw=B_HW))
    palette(home / "SegmentationObject" / "b.png", labels((HORSE, 1), hw=B_HW))
    text(home / "ImageSets" / "Segmentation" / "val.txt", "a\nb\n")
    return root


def context(root):
    """Pascal Context: cat (15) and grass (29), a horse (31)."""
    home = root / "VOC2010"
    photos(home / "JPEGImages")
    grey(home / "SegmentationClassContext" / "a.png", labels((~CAT, 29), (CAT, 15), hw=A_HW))
    grey(home / "SegmentationClassContext" / "b.png", labels((HORSE, 31), hw=B_HW))
    text(home / "ImageSets" / "SegmentationContext" / "val.txt", "a\nb\n")
    return home


def sbd(root):
    from scipy.io import savemat

    home = root / "benchmark_RELEASE" / "dataset"
    photos(home / "img")
    (home / "inst").mkdir()
    for stem, ids, kinds in (
        ("a", labels((CAT, 1), (DOG, 2), hw=A_HW), [[8], [12]]),
        ("b", labels((HORSE, 1), hw=B_HW), [[13]]),
    ):
        instances = {
            "Segmentation": ids.astype(np.uint8),
            "Categories": np.array(kinds, np.uint8),
            "Boundaries": [],
        }
        savemat(home / "inst" / f"{stem}.mat", {"GTinst": instances})
    text(home / "val.txt", "a\nb\n")
    return root


def grabcut(root):
    photos(root / "data_GT")
    edge = rectangle(A_HW, 6, 2, 7, 9)
    grey(root / "boundary_GT" / "a.bmp", labels((CAT, 255), (edge, 128), hw=A_HW))
    grey(root / "boundary_GT" / "b.bmp", labels((HORSE, 255), hw=B_HW))
    return root


def berkeley(root):
    photos(root / "images")
    grey(root / "masks" / "a#1.png", labels((CAT, 255), hw=A_HW))
    grey(root / "masks" / "a#2.png", labels((DOG, 255), hw=A_HW))
    grey(
        root / "masks" / "b.png", labels((HORSE, 255), (rectangle(B_HW, 0, 0, 1, 1), 128), hw=B_HW)
    )
    return root


def davis(root):
    """Two frames of a cat and a dog; 255 in the second does not count."""
    for frame in ("00000", "00001"):
        photo(root / "JPEGImages" / "480p" / "pets" / f"{frame}.jpg", A_HW)
    home = root / "Annotations" / "480p" / "pets"
    palette(home / "00000.png", labels((CAT, 1), (DOG, 2), hw=A_HW))
    palette(home / "00001.png", labels((CAT, 1), (rectangle(A_HW, 0, 0, 2, 1), 255), hw=A_HW))
    for year in ("2016", "2017"):
        text(root / "ImageSets" / year / "val.txt", "pets\n")
    return root


def youtube_vos(root):
    home = root / "valid"
    for frame in ("00000", "00005"):
        photo(home / "JPEGImages" / "v1" / f"{frame}.jpg", A_HW)
    palette(home / "Annotations" / "v1" / "00000.png", labels((CAT, 1), (DOG, 2), hw=A_HW))
    objects = {
        "1": {"category": "cat", "frames": ["00000"]},
        "2": {"category": "giant_panda", "frames": ["00000"]},
    }
    text(home / "meta.json", {"videos": {"v1": {"objects": objects}}})
    return root


def ade20k(root):
    """wall (1) around a bed (8); a sofa-free second photo with sky (3)."""
    photos(root / "images" / "validation", ("ADE_val_00000001.jpg", "ADE_val_00000002.jpg"))
    home = root / "annotations" / "validation"
    walls = labels((~CAT, 1), (CAT, 8), (rectangle(A_HW, 0, 0, 16, 1), 0), hw=A_HW)
    grey(home / "ADE_val_00000001.png", walls)
    grey(home / "ADE_val_00000002.png", labels((HORSE, 3), hw=B_HW))
    text(root / "objectInfo150.txt", "Idx\n")
    return root


def ade20k_objects(root):
    """The same with two beds told apart."""
    ade20k(root)
    left, right = rectangle(A_HW, 1, 2, 3, 9), rectangle(A_HW, 3, 2, 6, 9)
    channels = np.zeros((*A_HW, 3))
    channels[left], channels[right] = (1, 1, 0), (1, 2, 0)  # the first of the 100 classes is bed
    grey(root / "annotations_instance" / "validation" / "ADE_val_00000001.png", channels)
    grey(
        root / "annotations_instance" / "validation" / "ADE_val_00000002.png", np.zeros((*B_HW, 3))
    )
    return root, left, right


def ade20k_full(root):
    """wall has number 2978 of the full list, bed 165; two beds."""
    home = root / "images" / "ADE" / "validation" / "home" / "bedroom"
    photos(home, ("ADE_val_1.jpg", "ADE_val_2.jpg"))
    left, right = rectangle(A_HW, 1, 2, 3, 9), rectangle(A_HW, 3, 2, 6, 9)
    channels = np.zeros((*A_HW, 3))
    channels[:] = (2978 // 256 * 10, 2978 % 256, 0)
    channels[left], channels[right] = (0, 165, 1), (0, 165, 2)
    grey(home / "ADE_val_1_seg.png", channels)
    grey(home / "ADE_val_2_seg.png", np.zeros((*B_HW, 3)))
    return root, left, right


def cityscapes(root):
    """road (7), two cars (26001, 26002), a group of persons (24), rectification border (3)."""
    home = root / "leftImg8bit" / "val" / "ulm"
    photos(home, ("ulm_0_leftImg8bit.png", "ulm_1_leftImg8bit.png"))
    ids = labels(
        (np.ones(A_HW, bool), 7), (CAT, 26001), (DOG, 26002),
        (rectangle(A_HW, 0, 0, 1, 2), 24), (rectangle(A_HW, 0, 11, 16, 12), 3), hw=A_HW,
    )  # fmt: skip
    grey(root / "gtFine" / "val" / "ulm" / "ulm_0_gtFine_instanceIds.png", ids, np.uint16)
    grey(
        root / "gtFine" / "val" / "ulm" / "ulm_1_gtFine_labelIds.png", labels((HORSE, 26), hw=B_HW)
    )
    return root


def bdd(root):
    photos(root / "images" / "10k" / "val")
    home = root / "labels"
    grey(home / "sem_seg" / "masks" / "val" / "a.png", labels((~CAT, 255), (CAT, 13), hw=A_HW))
    grey(home / "sem_seg" / "masks" / "val" / "b.png", labels((HORSE, 10), hw=B_HW))
    for stem, hw, parts in (
        (
            "a",
            A_HW,
            [
                (CAT, (35, 0, 1, 4)),
                (DOG, (35, 2, 0, 2)),
                (rectangle(A_HW, 0, 0, 16, 1), (7, 0, 0, 9)),
            ],
        ),
        ("b", B_HW, [(HORSE, (30, 0, 0, 1))]),
    ):
        channels = np.zeros((*hw, 4))
        for mask, colour in parts:
            channels[mask] = colour
        grey(home / "pan_seg" / "bitmasks" / "val" / f"{stem}.png", channels)
    return root


def sunrgbd(root):
    photos(root / "image" / "test", ("img-000001.jpg", "img-000002.jpg"))
    grey(root / "label37" / "test" / "1.png", labels((~CAT, 1), (CAT, 4), hw=A_HW))
    grey(root / "label37" / "test" / "2.png", labels((HORSE, 22), hw=B_HW))
    return root


def scannet(root):
    """wall (1), two chairs (5), a dresser (17), of half the photo's size."""
    home = root / "scannet_frames_25k" / "scene0001_00"
    photo(home / "color" / "000000.jpg", (24, 32))
    kinds = labels((~CAT & ~DOG, 1), (CAT, 5), (DOG, 5), (rectangle(A_HW, 0, 0, 1, 1), 17), hw=A_HW)
    grey(home / "label" / "000000.png", kinds)
    grey(home / "instance" / "000000.png", labels((CAT, 1), (DOG, 2), hw=A_HW))
    text(root / "scannetv2_val.txt", "scene0001_00\n")
    return root


def openimages(root):
    photo(root / "validation" / "00ab.jpg", (24, 32))
    grey(root / "masks" / "0" / "00ab_m01yrx_1.png", labels((CAT, 255), hw=A_HW))  # half the size
    rows = [
        ("00ab_m01yrx_1.png", "00ab", "/m/01yrx", "1"),
        ("ffff_m01yrx_2.png", "ffff", "/m/01yrx", "2"),
    ]
    with (root / "validation-annotations-object-segmentation.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("MaskPath", "ImageID", "LabelName", "BoxID"))
        writer.writerows(rows)
    text(root / "class-descriptions-boxable.csv", "/m/01yrx,Cat\n/m/0bt9lr,Dog\n")
    return root


def yolo(root):
    photos(root / "images" / "val")
    shares = " ".join(
        f"{value / A_HW[1 - k % 2]:.6f}" for k, value in enumerate(polygon(1, 2, 6, 9))
    )
    text(root / "labels" / "val" / "a.txt", f"1 {shares}\n")
    text(
        root / "data.yaml",
        "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: dog\n  1: cat\n",
    )
    photos(root / "images" / "train")
    return root


def folder_of_maps(root):
    photos(root / "images")
    grey(
        root / "masks" / "a.png",
        labels((CAT, 1), (DOG, 2), (rectangle(A_HW, 0, 0, 1, 1), 255), hw=A_HW),
    )
    return root


def folder_of_objects(root):
    photos(root / "images")
    grey(root / "masks" / "a_cat_1.png", labels((CAT, 255), hw=A_HW))
    grey(root / "masks" / "a_dog.png", labels((DOG, 1), hw=A_HW))
    grey(root / "masks" / "b" / "1.png", labels((HORSE, 255), hw=B_HW))
    return root


def folder_of_classes(root):
    folder_of_maps(root)
    text(root / "classes.txt", "lesion\nvessel\n")
    return root
