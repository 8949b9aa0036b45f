# ruff: noqa: E501 (the proofs are prose)
"""Writes docs/degradations.md and its images from the code, the tables and the phantoms.

python docs/degradations_page.py              page and all images
python docs/degradations_page.py NAME ...     page, and the images of these operations
python docs/degradations_page.py --text       page alone
"""

from __future__ import annotations

import inspect
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from dmseg.simulators import GENERAL, OPS, TABLES_VERSION, apply, operation
from dmseg.simulators.operations import home_modality, modality_operations
from dmseg.simulators.tables import SEVERITIES, Parameter
from dmseg.types import MODALITIES, Sample, Window

HERE = Path(__file__).parent
PICTURES = HERE / "images" / "degradations"
PHANTOM = {
    "ultrasound": "MMOTU",
    "mri": "BraTS",
    "ct": "FLARE",
    "xray": "PAXRay",
    "dental": "ToothSeg",
    "endoscopy": "Kvasir-SEG",
    "dermoscopy": "ISIC",
    "microscopy": "BBBC038",
}
SIDE, CELL = 320, 208
ALSO = {
    "beam_hardening": ("dental",),
    "dead_pixels": ("dermoscopy",),
    "vignette": ("endoscopy",),
    "bias_field": ("mri",),
}

# What the tests prove, in the order of the operations; see tests/simulators.
PROOFS = {
    "gaussian_noise": "The standard deviation on mid-grey is that of the censored normal within 1 %, the mean shifts by less than .1 grey, the spectrum is flat, the kurtosis is 3; integer arithmetic, frozen SHA-256.",
    "salt_pepper": "Counts lie in the 99.9 % binomial interval, for salt and pepper apart; all other pixels keep their bits; a stronger level contains every pixel of a weaker one; two images differ.",
    "motion_blur": "The point spread sums to 1, its centroid is 0 within .05 px, its variance along the line is length² / 12 plus that of the bilinear interpolation (at most 1/6 px²), across at most .2 px², its angle is right within 1°, the first zero of its transfer lies at 1 / length. The centroid of a disc stays within .05 px.",
    "gaussian_blur": "The 10-90 % width of an edge is 2.563 σ (with the 1/12 px² of reading between samples), the transfer is exp(-2 π² σ² f²) within .01, the mean is kept.",
    "brightness_contrast": "A straight line through the pixels that are not clipped (and lie above 40 of 255) gives back contrast and brightness to rounding; the curve is monotone; air stays black at every brightness; a dark image does not turn black.",
    "gamma": "The slope in log-log is the exponent within .1 %; black and white stay.",
    "jpeg": "The quantisation tables in the bytes are libjpeg's for the quality; colour is 4:2:0, grey has one channel; another reader decodes the same; 8-px blockiness rises as the quality falls.",
    "glare": "The peak is at the recorded centre; the lobe is the stated function of the elliptic distance; beyond 4 standard deviations every bit stays; the saturated area grows with severity; air and the surround of a scan keep every bit.",
    "speckle": "Amplitude σ/μ = .5227, log standard deviation 5.57 dB, skewness -1.14; the intensity's correlation at lag 1 is exp(-1 / (2 s²)) within .02 on each axis; the mean grey is kept; contrast does not depend on the grey; outside the sector black stays black.",
    "acoustic_shadow": "After polar unwrapping both edges stand at constant angle within 1 px; below its bright cap the transmission never rises with depth; above the reflector every bit stays; deep in the shadow the loss is the parameter; in a linear image more than half of the width is flank.",
    "gel_reflection": "The autocorrelation along the beam peaks at the spacing, the amplitudes are geometric; the arcs are concentric in a convex sector.",
    "bias_field": "The log gain is a cubic (Legendre residual below 10⁻³) of mean 0; largest over smallest gain is the ratio; channels share it.",
    "gibbs_ringing": "Equal to the zero-filled transform within 10⁻⁵; k-space outside the box is 0; overshoot 8.95 ± .3 % (N = 4096, f = .05); period 2 / f px; no dead zone for straight edges.",
    "mr_ghosting": "Equal to modulated k-space within 2 · 10⁻⁵; two ghosts at exactly ± N / k with amplitude a / 2 within 1 %, none across; at k = 2 one ghost of amplitude a for every phase.",
    "rician_noise": "The background's mean is s √(π/2) and its spread that of Rayleigh.",
    "ct_ring": "Correlation above .99 with the back-projected sinogram of the same errors; peak amplitude falls as radius^-1/2 within 3 %, dark lobe of -.57 to -.62 of the peak; variance over the angle below 10 %; the same artefact for every object; scales with the window. HU and windowed 8-bit slices agree within 1 grey inside the window; less than 1 % of the air is lit, equally many pixels in both.",
    "beam_hardening": "CT: a monochromatic beam and corrected water change nothing; a water disc cups monotonically, more with size; a dark band lies between two dense parts and not beside them; the error image correlates above .99 with one of 384 px and 540 views; HU and 8 bits agree as for rings. Projections: the parabola within 10⁻⁵.",
    "photon_starvation": "On the detector the spread is √(e^p / I0 + s² e^2p / I0²) within 5 %, and the mean is kept, while enough photons arrive; below, spread and bias agree with true Poisson draws; the noise of an elliptic body is more than twice as strong across its short axis as along it; HU and 8 bits agree as for rings.",
    "grid_banding": "The spectrum peaks at the predicted bin ± 1 with the stated modulation, nothing on the other axis; the gain stays between 1 - m and 1.",
    "vignette": "1 at the centre, the parameter at the corner, the closed form of cos⁴ in between; in a sector 1 on the middle beam and the parameter on the outer ones.",
    "illumination_shadow": "Area and darkest transmission are the parameters; the gain never exceeds 1; at least 95 % of its DCT energy lies below 8 cycles.",
    "specular_reflection": "Cores are at least .98 in all channels (microscopy: soft discs); the changed area is that of the lobes; outside every bit stays; all lie on the lit part.",
    "double_exposure": "An impulse becomes 1 - a and, at the distance, a; nothing else.",
    "fog": "The contrast of a fine pattern falls to t(x); the limit is the airlight; more than 99 % of the map's energy lies below 6 cycles.",
    "dead_pixels": "Exactly the stated number of pixels, in the one channel of their place in the mosaic, 0 or white; columns are whole, and all other pixels keep their bits. Ultrasound: the stripe below a dead element is strongest at the probe, widens and fades with depth.",
}

# CPU time per 512 x 512 image: tables version; of each operation its version, ms grey and RGB, and the peers in words.
# Written by `python benchmarks/bench_simulators.py 512 --write`.
SPEED = json.loads((HERE.parent / "benchmarks" / "simulator_speed.json").read_text(encoding="utf-8"))


def sample(raw: Path, name: str) -> tuple[np.ndarray, Window | None]:
    """Return one phantom image, uint8, longest side 320, and its window."""
    from dmseg import imaging
    from dmseg.datasets import reader

    source_reader = reader(name)
    root = source_reader.find(raw)
    assert root is not None
    for source in source_reader.sources(root):
        for found in source_reader.read(root, source):
            if isinstance(found, Sample):
                size = imaging.compute_stored_size(*found.image.shape[:2], longest=SIDE)
                return imaging.resize_image(found.image, size), found.window
    raise RuntimeError(f"no phantom of {name}")


def list_modalities_showing(name: str) -> list[str]:
    """Return the modalities whose phantom shows an operation."""
    home = home_modality(name)
    return ["ct"] if home is None else list(dict.fromkeys([home, *ALSO.get(name, ())]))


def draw_pictures(names: Iterable[str]) -> None:
    from dmseg.figures import contact_sheet
    from dmseg.phantoms import write_phantoms

    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder), per_dataset=1, datasets=list(PHANTOM.values()))
        phantoms = {modality: sample(Path(folder), dataset) for modality, dataset in PHANTOM.items()}
    for name in names:
        rows = []
        for modality in list_modalities_showing(name):
            clear, window = phantoms[modality]
            settings = {"key": "docs", "modality": modality, "window": window}
            rows.append([clear, *(apply(name, clear, severity=severity, **settings) for severity in SEVERITIES)])
        sheet = contact_sheet(rows, list_modalities_showing(name), ["Clear", *SEVERITIES], cell=CELL)
        Pillow.fromarray(sheet).save(PICTURES / f"{name}.jpg", quality=80, optimize=True)


def numbers(parameter: Parameter, severity: str, modality: str | None) -> str:
    return " or ".join(f"{low:g} .. {high:g}" for low, high in parameter.branches(severity, modality))


def parameter_rows(name: str) -> Iterator[str]:
    yield "| parameter | unit | light | medium | heavy | source of the range |"
    yield "|---|---|---|---|---|---|"
    for label, parameter in OPS[name].parameters.items():
        for modality in (None, *parameter.modality):
            where = f" ({', '.join(parameter.only) or modality})" if parameter.only or modality else ""
            if parameter.any is not None:
                low, high = parameter.branches("heavy", modality)[0]
                columns = f"{low:g} .. {high:g}, the same at all levels | | " if low != high else f"{low:g} | | "
            else:
                columns = " | ".join(numbers(parameter, severity, modality) for severity in SEVERITIES)
            yield f"| {label}{where} | {parameter.unit} | {columns} | {parameter.source} |"


def section(name: str) -> Iterator[str]:
    """Yield the lines about one operation; cause and equation are those of its docstring."""
    documentation = inspect.cleandoc(OPS[name].function.__doc__ or "").split("\n\nArgs:")[0].replace("``", "`")
    modalities = [modality for modality in MODALITIES if name in modality_operations(modality)]
    yield f"### {name}\n"
    yield documentation + "\n"
    if modalities:
        yield f"Modalities: {', '.join(modalities)}.\n"
    yield from parameter_rows(name)
    yield f"\n![{name}: Clear, light, medium, heavy](images/degradations/{name}.jpg)\n"
    yield f"Proof: {PROOFS[name]}\n"
    row = SPEED["operations"].get(name)
    if row is None:
        yield "Speed: not measured yet.\n"
        return
    older = f" (version {row['version']} of this operation)" if OPS[name].version != row["version"] else ""
    peers = row["peers"] or "none has it"
    yield f"Speed{older}: {row['grey']:.2f} ms grey, {row['rgb']:.2f} ms RGB. Peers: {peers}.\n"


OLDER = f"""**They
belong to version {SPEED["tables"]} of the tables**; where an operation has changed since, its line says so. """


HEAD = f"""# Degradations

*Written by `docs/degradations_page.py` from the code and its tables (version {TABLES_VERSION}); edit those.*

How images are degraded, how to do it yourself, what was measured, and, operation by operation, the equation, the ranges, what proves it
right and how fast it is.

## What happens to an image

- **LQ-1, LQ-2, LQ-3**: two, three or four of the eight general operations, in random order, the same ones at each level (light, medium,
  heavy). Each parameter is drawn once and mapped into the range of each level, so every image gets strictly worse.
- **LQ-3+**: LQ-3, then the domain operations of the image's dataset and modality, heavy.
- **Nothing moves.** No operation moves the content, so masks stay aligned.
- **Nothing is left to chance.** Everything is a function of the image's id and a seed: no worker, order or batch changes a pixel. What
  depends on the image (mean, scan sector, reflectors, bright sites, window) is measured once, on Clear.

## Use it

```python
import dmseg
degraded = dmseg.degrade(image, "lq2", modality="ultrasound", key="case-7")
plan = dmseg.plan("case-7", modality="ct", image=image)
print(plan.describe("lq3plus"))          # in words
plan.apply(image, "lq3plus")             # pure; plan.to_json() replays it anywhere

dmseg.corrupt(image, "ct_ring", severity=2, key="case-7")                  # one operation: severity 1, 2 or 3
dmseg.corrupt(image, "ct_ring", gain=(0.01, 0.02), channels=5)           # with numbers and ranges of your own
```

```bash
dmseg degrade scans/ degraded/ --level LQ-2 --modality US
dmseg degrade knee.nii.gz ghosts.nii.gz --op mr_ghosting --severity 2     # one operation; files, folders, volumes, DICOM
```

Images are uint8, uint16, float32 in [0, 1], or int16 with a window; (H, W) or (H, W, 3); at least 16 px. Lengths are in pixels of a
512-px short side and scale with the image.

- Severity 1, 2 and 3 are the light, medium and heavy ranges below: what the operation is at LQ-1, LQ-2 and LQ-3. The visibility cap
  holds, unless numbers are given. [gallery.md](gallery.md) shows all operations at the three severities;
  [a notebook](notebooks/degrade_and_augment.ipynb) goes through all of this.
- Names are understood as people type them: `LQ-3`, `lq3+`, `MR`, `US`, `x-ray`, `CXR`, `CT ring`, and values of the DICOM tag Modality:
  `dmseg.plan(key, modality=pydicom.dcmread(file).Modality)`. An operation that needs what only another modality has (a window in HU, a scan
  sector) is refused.
- `dmseg preview FILE --out sheet.png --modality ct --by operation` draws this page's images for an image of yours.
- `dmseg degrade` works on files and folders ([files.md](files.md)).
- `dmseg.simulators.plan_volume(key, volume, modality=...)` draws one plan for a scan of axial slices (D, H, W): settings and detector
  errors are those of all slices, bias, shadows and fog are smooth along the scan, noise is fresh on every slice. The benchmark degrades
  each slice as an image of its own.
- In a training pipeline: native transforms for MONAI, albumentations, torchvision v2 and TorchIO, and plain callables:
  [transforms.md](transforms.md).

**Your own operation** is a `dmseg.simulators.Operation` named by an entry point of the group `dmseg.simulators`:

```python
from dmseg.simulators import Operation, Parameter

def invert(image, scene, *, share):
    \"\"\"Blend with the negative.\"\"\"
    ...

INVERT = Operation("invert", "domain", 1, {{"share": Parameter("of the negative", "mine", light=[.1, .2], medium=[.2, .4], heavy=[.4, .6])}}, invert)
# setup.cfg of your package:   [options.entry_points]   dmseg.simulators =   invert = your_package:INVERT
```

## Rules

**Ranges.** The paper's parameter table is not public. All ranges are ours, with the source they were taken from or bounded by
(`dmseg/simulators/levels.toml`). A changed number changes the table version and every plan digest.

**Order.** The paper defines LQ-3+ as LQ-3 with the domain operations on top, so in the benchmark the general operations come before those
of the domain. In a scanner it is the other way round: the artefact arises first, what the display does comes last. Outside of the
benchmark `order="acquisition"` (`--order acquisition`) does that, for `plan`, `degrade`, volumes and files: it changes LQ-3+ alone, and its
plans have digests of their own. Within the domain the order is the physical one: illumination before highlights, surface before sensor.

**Visibility cap.** Drawn blindly, brightness, gamma and glare can turn an image white or black. Where they do, their strength is reduced
by one factor per plan, found on Clear (`visibility.toml`). Plan and `describe` hold the drawn and the effective values. `dmseg info`
prints the share of images that were weakened: 8 % of the real images below.

**No hidden no-op.** An operation that cannot change an image (a blur of a constant one) is named, with the reason, in the plan.

**CT and its window.** CT needs a window to go from grey to HU: default 40/400. In an 8-bit slice the values that the window clips are not
known. There black is taken for air (-1000 HU) and white for bone of at least 800 HU; the artefact is added and the sum is clipped again,
so air stays black and bone white. Slices in HU are treated alike: shown with the window, they look as their 8-bit copies do. On 13 real
CHAOS slices the three CT operations light 0.000 % of the air at severity 1 and 3, in 8 bits and in HU
(`benchmarks/simulators_agreement.py air RAW`; impulses and noise light it in both alike).

**Limits.** The dynamic range of public ultrasound images is unknown: 60 dB is assumed and can be given. Integer and noise operations give
the same bits everywhere. Others may differ by one grey between versions of the libraries: numpy 1.26, scipy 1.11, OpenCV 4.9 against
2.4, 1.17, 5.0 differ in at most 3 of 100 000 pixels (`benchmarks/simulators_agreement.py`).

## Known shortfalls

All operations were looked at on real images of every modality, with the question which of them a radiologist would call fake, and why. What
follows would change pixels, so it waits for version 3 of the tables:

- `salt_pepper` on scans. No scanner makes white and black dots; in air and beside a scan sector they stand out most. In version 3:
  cameras and transmitted 8-bit images only, nothing outside of the scanned part.
- `gaussian_noise` in air. White noise lights half of a CT slice's air and the bars of a dental image; in a real slice air is clipped to
  black and noise is correlated. In ultrasound stored as RGB the channels differ: coloured dots on a grey scan. In version 3: no noise where
  nothing was scanned, one field for all channels of a scan.
- `brightness_contrast` near the outline of a body. A grey rim in the air (MR), or a soft skin line that turns into a sharp edge (X-ray): the
  7-px neighbourhood that tells air from signal does not scale with the image.
- `acoustic_shadow`, heavy: black to the noise floor over its whole width, without reverberation inside; in a sector its outline looks torn.
- `glare` on scanners: a round bright spot that follows no anatomy. Weak since version 2, and still a lamp where there is none. In CT the
  gap between body and table counts as scanned (the outline is closed on a 64 x 64 map): its air glows faintly at heavy.
- `dead_pixels`, dermoscopy: whole white columns, which every camera interpolates away. `specular_reflection` there follows ink marks.
- `double_exposure`: a sharp second copy; light it is hardly seen, heavy it looks like blur.
- `illumination_shadow`: highlights inside of it turn grey, like smoke; in a panoramic X-ray (the paper has it there) no lamp exists.
- `specular_reflection`, microscopy: soft discs that are plausible in fluorescence and not in bright field, where light is not added.
- `motion_blur` and `gaussian_blur` smear a body or sector into its surround; movement in MR and CT makes ghosts and double outlines instead.
- `jpeg` on small images (91 px): blocks as large as an organ, since a quality does not scale with the image.
- `photon_starvation`, heavy: streaks over the whole of any slice, a liver too, since every body is taken for shoulders or hips of 300 mm
  and more; a radiologist expects them there alone.
- `beam_hardening` mottles bone that lies just above the window, where its HU are assumed; on thin bodies heavy is hardly seen.
- `vignette`, ultrasound: a linear image is darkened at its upper corners too, next to the probe.

## Calibration

The ranges were calibrated with the official LiteMedSAM, its box alone, on 184 real images: at most 20 of a dataset, 200 objects, partly
re-sampled samples; the encoder ran in bf16. **These are no benchmark numbers.** Dice x 100 at Clear, and what is lost from there, beside
the paper's row:

| | objects | Clear | LQ-1 | LQ-2 | LQ-3 | LQ-3+ |
|---|---|---|---|---|---|---|
| 11 seen datasets | 115 | 86.7 | 3.0 | 6.1 | 8.4 | 7.3 |
| the same without 5 small panoramic stand-ins (ToothSeg) | 110 | 86.7 | 2.4 | 5.0 | 7.3 | 5.9 |
| the paper, seen | | | 2.1 | 3.4 | 6.3 | 6.4 |
| 5 unseen datasets | 85 | 90.7 | 1.2 | 5.2 | 12.5 | 14.2 |
| the paper, unseen | | | 4.2 | 7.8 | 11.7 | 12.1 |

What these figures are not:

- *Confirmed.* The ranges were tuned, in two rounds, on these same images, and no held-out set confirms them. The criterion of the
  visibility cap was changed together with them. The click protocol was not measured.
- *The paper's.* On unseen data LQ-1 and LQ-2 are milder than the paper's and LQ-3+ is harder. On seen data LQ-2 and LQ-3 lie 2.7 and 2.1
  points above it; less without ToothSeg, which was left out after its numbers had been seen.
- *Free of training data.* Some of the datasets may have been among the model's.

Motion blur, Gaussian noise and blur cost most (14.6, 13.2 and 11.3 points at LQ-3 where they act), glare and brightness least.
`benchmarks/calibrate_levels.py` measures a benchmark of your own.

## Speed

Each section ends with the CPU time per 512 x 512 image: one thread, medians of `make bench-simulators`, drawing included. They were taken
on a shared 2-core machine with nothing else running, ours and the peers in turns, so the ratios say more than the milliseconds. {OLDER if SPEED["tables"] != TABLES_VERSION else ""}A peer with * fails the proof of that
operation (the benchmark says how). Under .1 ms nothing is compared: look-up tables take albumentations .03 ms.
"""


def page() -> str:
    """Return the whole page."""
    lines = [HEAD, "## General operations\n"]
    for name in GENERAL:
        lines += section(name)
    lines.append("## Domain operations\n")
    for name in OPS:
        if name not in GENERAL:
            lines += section(name)
    return "\n".join(lines)


if __name__ == "__main__":
    if "--text" not in sys.argv[1:]:
        draw_pictures([operation(name).name for name in sys.argv[1:]] or OPS)
    (HERE / "degradations.md").write_text(page())
