"""Original layouts of the sets that come as slices of a patient: FLARE and BraTS (NIfTI), CHAOS (DICOM), LGG (TIFF)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from dmseg.phantoms import ct, mr
from dmseg.phantoms.drawing import Stack
from dmseg.phantoms.encoding import dicom, grey_mask, nifti, png, tiff
from dmseg.phantoms.folder import DrawnItem, PhantomFolder
from dmseg.rng import Stream

FLARE_ORIENTATIONS = ("RAS", "LPS", "LAS", "PSR")
# Grey values of CHAOS's MR masks vary inside these ranges from series to series.
CHAOS_GREYS = {"liver": (55, 70), "right_kidney": (110, 135), "left_kidney": (175, 200), "spleen": (240, 255)}
CHAOS_INTERCEPT = -1000
BRATS_LABELS = {"core": 1, "oedema": 2, "enhancing": 4}


def _label_map(stack: Stack, names: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return organ number k + 1 where ``names[k]`` is, else 0, uint8 (Z, H, W)."""
    labels = np.zeros(stack.labels[names[0]].shape, np.uint8)
    for index, name in enumerate(names):
        labels[stack.labels[name]] = index + 1
    return labels


def flare(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``FLARE22Train/{images,labels}/FLARE22_Tr_NNNN[_0000].nii.gz``, each volume in another orientation."""
    for item in items:
        name = f"FLARE22_Tr_{item.case + 1:04d}"
        orientation = FLARE_ORIENTATIONS[item.case % len(FLARE_ORIENTATIONS)]
        stack: Stack = item.content
        image = nifti(stack.values["ct"], stack.spacing, orientation)
        labels = nifti(_label_map(stack, ct.ORGANS), stack.spacing, orientation)
        folder.put(f"FLARE22Train/images/{name}_0000.nii.gz", image, item.key)
        folder.put(f"FLARE22Train/labels/{name}.nii.gz", labels, item.key)


def chaos(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``CHAOS_Train_Sets/Train_Sets/{CT,MR}/<id>/...``: DICOM slices and PNG masks, CT and MR in turn."""
    for item in items:
        root = "CHAOS_Train_Sets/Train_Sets"
        if "ct" in item.content.values:
            _chaos_ct(folder, item, f"{root}/CT/{item.case + 1}")
        else:
            _chaos_mr(folder, item, f"{root}/MR/{item.case + 1}/T2SPIR")


def _chaos_ct(folder: PhantomFolder, item: DrawnItem, root: str) -> None:
    """Write the slices from head to feet, as the original does; every second case has the other file names."""
    stack: Stack = item.content
    values, liver = stack.values["ct"][::-1], stack.labels["liver"][::-1]
    for index, (slice_, mask) in enumerate(zip(values, liver, strict=True)):
        stored = np.clip(slice_.astype(np.int32) - CHAOS_INTERCEPT, 0, 65535).astype(np.uint16)
        content = dicom(
            stored,
            modality="CT",
            series=item.key,
            number=index + 1,
            position_z=-index * stack.spacing[0],
            spacing=stack.spacing[1:],
            thickness=stack.spacing[0],
            intercept=CHAOS_INTERCEPT,
        )
        name = f"i{index:04d},0000b.dcm" if item.case % 4 == 0 else f"IMG-0002-{index + 1:05d}.dcm"
        folder.put(f"{root}/DICOM_anon/{name}", content, item.key)
        folder.put(f"{root}/Ground/liver_GT_{index:03d}.png", png(mask), item.key)


def _chaos_mr(folder: PhantomFolder, item: DrawnItem, root: str) -> None:
    stack: Stack = item.content
    stream = Stream(item.key, "greys")
    greys = {name: stream.integer(*span) for name, span in CHAOS_GREYS.items()}
    for index, slice_ in enumerate(stack.values["t2spir"]):
        content = dicom(
            slice_.astype(np.uint16),
            modality="MR",
            series=item.key,
            number=index + 1,
            position_z=index * stack.spacing[0],
            spacing=stack.spacing[1:],
            thickness=stack.spacing[0],
            intercept=None,
        )
        mask = np.zeros(slice_.shape, np.uint8)
        for name in mr.ORGANS:
            mask[stack.labels[name][index]] = greys[name]
        folder.put(f"{root}/DICOM_anon/IMG-0002-{index + 1:05d}.dcm", content, item.key)
        folder.put(f"{root}/Ground/IMG-0002-{index + 1:05d}.png", png(mask), item.key)


def brats(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``BraTS2021_Training_Data/BraTS2021_NNNNN/..._{t1,t1ce,t2,flair,seg}.nii.gz``; labels 1, 2, 4."""
    for item in items:
        name = f"BraTS2021_{item.case:05d}"
        stack: Stack = item.content
        seg = np.zeros(stack.labels["oedema"].shape, np.int16)
        for part, label in BRATS_LABELS.items():
            seg[stack.labels[part]] = label
        for sequence, volume in {**stack.values, "seg": seg}.items():
            path = f"BraTS2021_Training_Data/{name}/{name}_{sequence}.nii.gz"
            folder.put(path, nifti(volume, stack.spacing, "LPS"), item.key)


def lgg(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``kaggle_3m/TCGA_<inst>_<patient>_<date>/..._<slice>[_mask].tif``: RGB = before contrast, FLAIR, after."""
    patients = ["Patient,RNASeqCluster,gender,age_at_initial_pathologic"]
    for item in items:
        stack: Stack = item.content
        patient = f"TCGA_{('CS', 'DU', 'FG', 'HT')[item.case % 4]}_{4900 + item.case}"
        name = f"{patient}_{19960700 + item.case % 28 + 1}"
        before = "flair" if item.case % 4 == 1 else "t1"  # a missing sequence is replaced by FLAIR
        mask = np.any([*stack.labels.values()], axis=0)
        for index in range(mask.shape[0]):
            rgb = np.stack([stack.values[channel][index] for channel in (before, "flair", "t1ce")], axis=-1)
            stem = f"kaggle_3m/{name}/{name}_{index + 1}"
            folder.put(f"{stem}.tif", tiff(np.clip(rgb, 0, 255).astype(np.uint8)), item.key)
            folder.put(f"{stem}_mask.tif", tiff(grey_mask(mask[index])), item.key)
        patients.append(f"{patient},,,")
    folder.note("kaggle_3m/data.csv", "\n".join(patients) + "\n")
    folder.note("kaggle_3m/README.md", "Synthetic slices in the layout of kaggle_3m.\n")
