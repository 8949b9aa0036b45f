"""Each modality looks and measures as its physics says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from dmseg.phantoms import brain, breast, ct, microscopy, mr
from dmseg.phantoms.chest import CATEGORIES, FIELD_MM, NODULES, chest, lung_only, pad_like_scanner
from dmseg.phantoms.dermoscopy import skin_lesion
from dmseg.phantoms.drawing import Drawing, Stack
from dmseg.phantoms.muscle import MUSCLES, muscle
from dmseg.phantoms.ovary import CLASSES, ovary
from dmseg.phantoms.shapes import ellipse, fill, shrink
from dmseg.phantoms.ultrasound import DYNAMIC_RANGE_DB, TISSUE, Body, Convex, amplitude, compress_log
from dmseg.phantoms.upper_abdomen import VIEWS, upper_abdomen
from dmseg.rng import Stream

RAYLEIGH_SNR = np.sqrt(np.pi / (4 - np.pi))
ULTRASOUND = ("abdominalUS", "BUSI", "DDTI", "NerveUS", "MuscleUS", "MMOTU")


def uniform_body(key: str, shape: tuple[int, int] = (260, 260)) -> Body:
    body = Body(Stream(key), shape, "liver")
    body.level[:], body.loss[:] = -25.0, 0.0
    return body


class TestUltrasound:
    @pytest.mark.parametrize("probe", [None, Convex((130, -60), 90, 300, 420)], ids=["linear", "convex"])
    def test_speckle_of_uniform_tissue_is_fully_developed(self, probe: Convex | None) -> None:
        echo = amplitude(uniform_body("snr"), probe)
        inside = echo[echo > 0]
        assert inside.mean() / inside.std() == pytest.approx(RAYLEIGH_SNR, abs=0.06)
        assert 20 * np.log10(np.sqrt((inside**2).mean())) == pytest.approx(-25, abs=0.7)

    @pytest.mark.parametrize("name", ULTRASOUND)
    def test_even_patches_of_the_pictures_have_the_ratio_of_developed_speckle(
        self, pictures: dict[str, list[Any]], name: str
    ) -> None:
        """In 8-bit images; patches across an edge have less, so an upper quantile is taken."""
        image = pictures[name][1].image
        echo = 10 ** ((image / 255 - 1) * DYNAMIC_RANGE_DB / 20)
        patches = np.lib.stride_tricks.sliding_window_view(echo, (16, 16))[::8, ::8].reshape(-1, 256)
        seen = np.lib.stride_tricks.sliding_window_view(image, (16, 16))[::8, ::8].reshape(-1, 256)
        even = patches[(seen > 8).all(axis=1) & (seen < 255).all(axis=1)]
        assert np.quantile(even.mean(axis=1) / even.std(axis=1), 0.8) == pytest.approx(1.91, abs=0.25)

    def test_the_pulse_makes_speckle_wider_than_high(self) -> None:
        intensity = amplitude(uniform_body("psf"), axial=0.8, lateral=1.6) ** 2
        change = intensity - intensity.mean()
        down, across = (np.mean(a * b) / change.var() for a, b in (
            (change[1:], change[:-1]), (change[:, 1:], change[:, :-1])))  # fmt: skip
        assert down == pytest.approx(np.exp(-1 / (2 * 0.8**2)), abs=0.03)
        assert across == pytest.approx(np.exp(-1 / (2 * 1.6**2)), abs=0.03)

    def test_twenty_decibels_are_a_third_of_the_grey_scale(self) -> None:
        greys = compress_log(np.array([1.0, 0.1, 0.01, 0.001, 0.0]))
        assert greys.tolist() == [255, 170, 85, 0, 0]

    def test_nothing_is_seen_outside_the_sector(self) -> None:
        probe = Convex((130, -60), 90, 300, 420)
        echo = amplitude(uniform_body("sector"), probe)
        sector = probe.sector((260, 260))
        assert (echo[~sector] == 0).all()
        assert (echo[sector] > 0).mean() > 0.999
        y, x = np.indices((260, 260))
        radius, angle = np.hypot(x - 130, y + 60), np.degrees(np.arctan2(x - 130, y + 60))
        ideal = (radius > 90) & (radius < 300) & (np.abs(angle) < 420 * 360 / 4096)
        assert (sector ^ ideal).mean() < 0.005

    def test_bone_shadows_and_a_cyst_enhances_what_lies_behind(self) -> None:
        def behind(tissue: str) -> float:
            body = uniform_body("shadow")
            body.add(fill(ellipse((130, 80), (30, 20)), body.shape), tissue)
            echo = amplitude(body)
            return float(20 * np.log10(echo[150:200, 115:145].mean() / echo[150:200, 10:50].mean()))

        assert behind("bone") < -20
        assert behind("fluid") > 1

    def test_a_convex_shadow_follows_the_beams(self) -> None:
        probe = Convex((130, -60), 90, 310, 420)
        body = uniform_body("beam")
        body.add(fill(ellipse((180, 80), (9, 9)), body.shape), "bone")
        echo = amplitude(body, probe)
        along = np.arctan2(180 - 130, 80 + 60)
        y = 200
        x = round(130 + (y + 60) * np.tan(along))
        assert echo[y - 6 : y + 6, x - 4 : x + 5].mean() < 0.2 * echo[y - 6 : y + 6, 180 - 40 : 180 - 25].mean()

    def test_malignant_lesions_stand_tall_and_benign_ones_lie_flat(self) -> None:
        def flatness(kind: str) -> float:
            ratios = []
            for k in range(3):
                (lesion,) = breast.breast(Stream("flat", kind, k), (290, 360), kind).structures
                rows, columns = np.nonzero(lesion.mask)
                ratios.append(rows.std() / columns.std())
            return float(np.mean(ratios))

        assert flatness("benign") < 0.85 < flatness("malignant")

    @pytest.mark.parametrize("kind", range(len(CLASSES)))
    def test_every_class_of_ovary_has_its_mark(self, kind: int) -> None:
        drawing = ovary(Stream("ovary", kind), (220, 300), kind)
        inside = drawing.image[shrink(drawing.structures[0].mask, 3)]
        anechoic = float((inside < 20).mean())
        if CLASSES[kind] in ("simple cyst", "serous cystadenoma", "teratoma", "normal ovary", "high grade serous"):
            assert anechoic > 0.03, "fluid"
        else:
            assert anechoic < 0.6 and 20 < np.median(inside) < 200, "echoes throughout"

    @pytest.mark.parametrize("name", MUSCLES)
    def test_every_muscle_lies_under_the_fat_and_inside_the_picture(self, name: str) -> None:
        drawing = muscle(Stream("a", name), Stream("v", name), (200, 260), name)
        rows = np.flatnonzero(drawing.structures[0].mask.any(axis=1))
        assert rows[0] > 0.08 * 200 and rows[-1] < 0.95 * 200
        assert drawing.facts["muscle"] == name

    def test_each_view_of_the_upper_abdomen_shows_its_organs(self) -> None:
        organs = {
            view: {s.name for s in upper_abdomen(Stream("view", view), (200, 270), view).structures} for view in VIEWS
        }
        assert {"liver", "kidney", "vessels"} <= organs["right"]
        assert organs["left"] == {"spleen", "kidney"}
        assert {"liver", "pancreas", "vessels", "bones"} <= organs["middle"]

    def test_fluid_is_the_darkest_tissue_and_bone_shadows_most(self) -> None:
        assert min(TISSUE, key=lambda name: TISSUE[name][0]) == "fluid"
        assert max(TISSUE, key=lambda name: TISSUE[name][2]) == "bone"


@pytest.fixture(scope="module")
def stacks() -> list[Stack]:
    return [ct.abdomen(f"patient{k}", 192) for k in range(4)]


@pytest.fixture(scope="module")
def brains() -> list[Stack]:
    return [brain.brats_volume(f"patient{k}") for k in range(2)]


class TestCt:
    def test_every_organ_lies_within_thirty_units_of_its_table_value(self, stacks: list[Stack]) -> None:
        table = {
            "liver": "liver", "right_kidney": "kidney", "left_kidney": "kidney", "spleen": "spleen",
            "pancreas": "pancreas", "aorta": "aorta", "inferior_vena_cava": "vein", "gallbladder": "bile",
            "stomach": "stomach", "duodenum": "gut_wall", "esophagus": "gut_wall", "right_adrenal": "adrenal",
            "left_adrenal": "adrenal",
        }  # fmt: skip
        for stack in stacks:
            for organ, mask in stack.labels.items():
                inner = np.stack([ndimage.binary_erosion(slice_) for slice_ in mask])
                inner = inner if inner.sum() > 20 else mask
                assert np.mean(stack.values["ct"][inner]) == pytest.approx(ct.HU[table[organ]], abs=30), organ

    def test_values_are_hounsfield_units_with_air_outside(self, stacks: list[Stack]) -> None:
        for stack in stacks:
            values = stack.values["ct"]
            assert values.dtype == np.int16 and values.min() >= -1024
            assert np.median(values[:, :8, :]) == pytest.approx(-1000, abs=10)
            assert values.max() > 300, "bone"

    def test_the_patient_lies_on_a_curved_table(self, stacks: list[Stack]) -> None:
        for stack in stacks:
            picture = stack.values["ct"][0]
            body = ndimage.label(ndimage.binary_opening(picture > -300, iterations=3))[0]
            lowest = np.flatnonzero((body > 0).any(axis=1))[-1]
            below = picture[lowest + 1 :] > -300
            assert below.any(axis=0).mean() > 0.7, "the table spans most of the width"

    def test_noise_is_correlated_and_of_the_table_s_strength(self) -> None:
        field = ct.noise(Stream("noise"), (200, 200), 20.0)
        assert field.std() == pytest.approx(20)
        assert (field[1:] * field[:-1]).mean() / field.var() > 0.3

    def test_organs_are_disjoint_and_on_the_patient_s_own_side(self, stacks: list[Stack]) -> None:
        for stack in stacks:
            assert sum(mask.astype(int) for mask in stack.labels.values()).max() == 1
            middle = {organ: np.nonzero(mask)[2].mean() for organ, mask in stack.labels.items()}
            assert middle["liver"] < 96 < middle["spleen"], "patient's right is at the left of the image"
            assert middle["right_kidney"] < middle["inferior_vena_cava"] < middle["aorta"] < middle["left_kidney"]

    def test_all_thirteen_organs_are_there_and_the_pelvis_has_none(self, stacks: list[Stack]) -> None:
        for stack in stacks:
            assert all(mask.any() for mask in stack.labels.values())
            assert not any(mask[0].any() for mask in stack.labels.values())

    @pytest.mark.parametrize("category", CATEGORIES)
    def test_a_nodule_has_the_size_and_density_of_its_category(self, category: str) -> None:
        ground_glass, low, high = NODULES[category]
        drawing = chest(Stream("nodule", category), 256, category)
        (lesion,) = drawing.structures
        diameter = 2 * np.sqrt(lesion.mask.sum() / np.pi) * FIELD_MM / 256
        assert 0.8 * low < diameter < 1.1 * high
        assert (np.median(drawing.image[lesion.mask]) < -300) == ground_glass
        assert drawing.facts["lung"][lesion.mask].mean() > 0.95

    def test_the_lung_only_array_and_the_padding_are_those_of_the_published_tables(self) -> None:
        drawing = chest(Stream("columns"), 128, "LR4B")
        lung = lung_only(drawing.image, drawing.facts["lung"])
        assert np.signbit(lung[~drawing.facts["lung"]]).all() and (lung[~drawing.facts["lung"]] == 0).all()
        padded = [pad_like_scanner(drawing.image, Stream("pad", k)) for k in range(12)]
        shares = [(picture == -2048).mean() for picture in padded]
        assert 0 < sum(share > 0 for share in shares) < 12
        assert max(shares) == pytest.approx(1 - np.pi / 4, abs=0.02)


class TestMr:
    def test_the_background_is_rician(self) -> None:
        for k in range(3):
            picture = mr.abdomen(f"background{k}", 128).values["t2spir"][1].astype(float)
            corner = np.concatenate([picture[:12, :12].ravel(), picture[:12, -12:].ravel()])
            assert corner.mean() / corner.std() == pytest.approx(RAYLEIGH_SNR, abs=0.25)
            assert corner.mean() < 0.25 * picture.max()

    def test_fluid_is_bright_and_flowing_blood_and_fat_are_dark(self) -> None:
        stack = mr.abdomen("orders", 192)
        level = {organ: np.median(stack.values["t2spir"][mask]) for organ, mask in stack.labels.items()}
        assert level["spleen"] > level["liver"] and level["right_kidney"] > level["liver"]

    def test_stripped_brains_have_a_background_of_exactly_zero(self, brains: list[Stack]) -> None:
        for stack in brains:
            background = np.all([volume == 0 for volume in stack.values.values()], axis=0)
            assert background.mean() > 0.4
            assert not any((mask & background).mean() > 1e-3 for mask in stack.labels.values())

    def test_oedema_is_bright_on_flair_and_the_rim_enhances_after_contrast(self, brains: list[Stack]) -> None:
        for stack in brains:
            brain_mask = stack.values["flair"] > 0
            oedema, rim = stack.labels["oedema"], stack.labels["enhancing"]
            assert np.median(stack.values["flair"][oedema]) > 1.1 * np.median(stack.values["flair"][brain_mask])
            if rim.any():
                assert np.median(stack.values["t1ce"][rim]) > 1.25 * np.median(stack.values["t1"][rim])

    def test_tumour_parts_are_disjoint_and_the_largest_areas_lie_five_slices_apart(self, brains: list[Stack]) -> None:
        for stack in brains:
            assert sum(mask.astype(int) for mask in stack.labels.values()).max() == 1
            area = np.any([*stack.labels.values()], axis=0).sum(axis=(1, 2))
            assert area[1] == area[:3].max() and area[6] == area[5:].max()
            assert area[3] == area[4] == 0


class TestOptical:
    def test_the_scope_s_octagon_is_black_and_the_mucosa_red(self, pictures: dict[str, list[Any]]) -> None:
        for drawing in pictures["CVC-ClinicDB"]:
            image = drawing.image.astype(int)
            for corner in (image[:8, :8], image[:8, -8:], image[-8:, :8], image[-8:, -8:]):
                assert corner.max() < 10
            middle = image[60:-60, 60:-60]
            assert middle[..., 0].mean() > 1.15 * middle[..., 1].mean() > 1.15 * middle[..., 2].mean() > 20

    def test_a_polyp_is_lit_unevenly_and_has_wet_spots(self, pictures: dict[str, list[Any]]) -> None:
        image = pictures["CVC-ClinicDB"][0].image
        assert (image.min(axis=2) > 245).sum() > 10
        polyp = pictures["CVC-ClinicDB"][0].structures[0].mask
        assert image[polyp].astype(float).std(axis=0).min() > 6

    def test_a_lesion_is_darker_than_the_skin_around_it(self, pictures: dict[str, list[Any]]) -> None:
        for drawing in pictures["ISIC"]:
            lesion = drawing.structures[0].mask
            ring = ndimage.binary_dilation(lesion, iterations=25) & ~ndimage.binary_dilation(lesion, iterations=10)
            assert np.median(drawing.image[lesion]) < 0.93 * np.median(drawing.image[ring])

    def test_hairs_bubbles_and_rulers_do_not_move_the_lesion(self) -> None:
        """The mask is drawn first, so whatever lies over the skin leaves its area plausible."""
        shares = [skin_lesion(Stream("clutter", k), (90, 120)).structures[0].mask.mean() for k in range(12)]
        assert min(shares) > 0.01 and max(shares) < 0.32 and max(shares) > 3 * min(shares)

    def test_nuclei_are_many_and_disjoint_and_some_touch(self) -> None:
        touching = 0
        for k in range(3):
            drawing = microscopy.nuclei(Stream("specimen", k), Stream("view", k))
            masks = [structure.mask for structure in drawing.structures]
            total = np.sum(masks, axis=0)
            assert len(masks) >= 5 and total.max() == 1
            touching += len(masks) - int(ndimage.label(total)[1])
        assert touching >= 3

    def test_all_three_appearances_occur_and_nuclei_are_bright_or_dark_accordingly(self) -> None:
        seen: dict[str, Drawing] = {}
        for k in range(30):
            name = microscopy.appearance(Stream("appearance", k))
            if name not in seen and len(seen) < 3:
                seen[name] = microscopy.nuclei(Stream("appearance", k), Stream("view", k))
        assert set(seen) == {"fluorescence", "histology", "brightfield"}
        for name, drawing in seen.items():
            inside = np.any([structure.mask for structure in drawing.structures], axis=0)
            contrast = drawing.image[inside].mean() / drawing.image[~inside].mean()
            assert contrast > 1.2 if name == "fluorescence" else contrast < 0.85


class TestXray:
    def test_lungs_are_dark_and_spine_and_heart_are_bright(self, pictures: dict[str, list[Any]]) -> None:
        frontal, lateral = pictures["PAXRay"]
        level = {s.name: np.median(frontal.image[s.mask]) for s in frontal.structures}
        assert level["right lung"] < 0.8 * level["heart"] and level["left lung"] < 0.8 * level["spine"]
        assert frontal.image[:5, :5].max() < 60, "air beside the patient is black"
        assert {s.name for s in lateral.structures} == {"left lung", "heart", "spine", "diaphragm"}

    def test_masks_of_a_projection_overlap(self, pictures: dict[str, list[Any]]) -> None:
        ribs, lung = (pictures["PAXRay"][0].find_masks(name)[0] for name in ("ribs", "right lung"))
        assert (ribs & lung).sum() > 200

    def test_the_heart_points_to_the_patient_s_left(self, pictures: dict[str, list[Any]]) -> None:
        heart = pictures["PAXRay"][0].find_masks("heart")[0]
        spine = pictures["PAXRay"][0].find_masks("spine")[0]
        assert np.nonzero(heart)[1].mean() > np.nonzero(spine)[1].mean() + 10

    def test_teeth_are_brighter_than_the_jaw_and_fillings_white(self, pictures: dict[str, list[Any]]) -> None:
        for drawing in pictures["ToothSeg"]:
            teeth = drawing.structures[0].mask
            ring = ndimage.binary_dilation(teeth, iterations=6) & ~teeth
            assert np.median(drawing.image[teeth]) > 1.15 * np.median(drawing.image[ring])
