#!/usr/bin/env bash
# Versions: rt-utils 1.2.7, pydicom 3.0.2, Python 3.11.
#
# Expected: the contour of a mask lies where its pixels lie in the patient, and reads back as the mask.
# What happens: `PixelSpacing` names the distance of rows first, and rt-utils takes it for that of columns, so where
# pixels are not square contours are stretched one way and squeezed the other. Its own reader makes the same mistake
# back, which hides it. Masks of images that are not square come back with the sides swapped, cut off where the image
# was longer.
# Why it matters: the structure lies in other tissue in every other program, at a size that looks possible; with square
# pixels and square images, as CT mostly has, everything is right, so tests on CT pass.
# Instead: resample to square pixels and pad to square images first, or write the contours with pydicom yourself.
#
# Seen:
#   image of 40 rows and 60 columns, 2 mm from row to row and 1 mm from column to column
#   mask: x 30 to 54 mm, y 20 to 38 mm; contour written: x 60 to 108 mm, y 10 to 19 mm (the image ends at x 59 mm)
#   mask of 40 x 60, 250 pixels; read back: 60 x 40, 100 pixels
#   square pixels and image: contour x 30 to 54 mm, y 10 to 19 mm; read back: 60 x 60, 250 pixels
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    rt-utils==1.2.7 pydicom==3.0.2 numpy==2.2.6 opencv-python-headless==4.12.0.88
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import contextlib
import io
import os

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from rt_utils import RTStructBuilder


def write_series(folder, rows, columns, spacing):
    """Two slices that lie in the axes of the patient; the first pixel's centre is the origin."""
    os.mkdir(folder)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for number in range(2):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = MRImageStorage
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.Modality, image.PatientName, image.PatientID, image.StudyID = "MR", "A", "1", "1"
        for empty in ("BirthDate", "Sex", "Age", "Size", "Weight"):
            setattr(image, "Patient" + empty, "")
        image.SeriesDescription = ""
        image.StudyDate, image.StudyTime, image.StudyDescription, image.SeriesNumber = "20200101", "000000", "", 1
        image.Rows, image.Columns, image.PixelSpacing, image.SliceThickness = rows, columns, spacing, 3
        image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 3 * number]
        image.InstanceNumber, image.SamplesPerPixel, image.PhotometricInterpretation = number + 1, 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.PixelData = np.zeros((rows, columns), np.uint16).tobytes()
        image.save_as("%s/%d.dcm" % (folder, number), enforce_file_format=True)


def there_and_back(folder, rows, columns, spacing):
    """Limits of the contour (x, x, y, y in mm) and the mask that is read back."""
    write_series(folder, rows, columns, spacing)
    mask = np.zeros((rows, columns, 2), bool)
    mask[10:20, 30:55, 1] = True
    with contextlib.redirect_stdout(io.StringIO()):
        structures = RTStructBuilder.create_new(folder)
        structures.add_roi(mask=mask, name="lesion")
        structures.save(folder + ".dcm")
        back = RTStructBuilder.create_from(folder, folder + ".dcm").get_roi_mask_by_name("lesion")
    contour = dcmread(folder + ".dcm").ROIContourSequence[0].ContourSequence[0].ContourData
    x, y = np.array(contour, float).reshape(-1, 3)[:, :2].T
    return [round(float(value)) for value in (x.min(), x.max(), y.min(), y.max())], back


limits, back = there_and_back("oblong", 40, 60, [2, 1])
print("image of 40 rows and 60 columns, 2 mm from row to row and 1 mm from column to column")
written = "x %d to %d mm, y %d to %d mm" % tuple(limits)
print("mask: x 30 to 54 mm, y 20 to 38 mm; contour written: %s (the image ends at x 59 mm)" % written)
print("mask of 40 x 60, 250 pixels; read back: %d x %d, %d pixels" % (*back.shape[:2], back.sum()))
square, whole = there_and_back("square", 60, 60, [1, 1])
print(
    "square pixels and image: contour x %d to %d mm, y %d to %d mm; read back: %d x %d, %d pixels"
    % (*square, *whole.shape[:2], whole.sum())
)
assert limits == [60, 108, 10, 19] and back.shape[:2] == (60, 40) and back.sum() == 100, (limits, back.shape)
assert square == [30, 54, 10, 19] and whole.sum() == 250, (square, whole.sum())
PY
