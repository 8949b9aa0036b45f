"""The peers of the simulators: how each library is called for each operation, at a strength like our medium one.

A peer that cannot be imported, or whose operation raises, is named with its error; the others are still compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from side_by_side import peer

Call = Callable[[], Any]
Image = NDArray[Any]
warnings.filterwarnings("ignore")


def _scale(length: float, image: Image) -> float:
    """Return a length given at a 512-px short side in px of the image, as ours are."""
    return length * min(image.shape[:2]) / 512


def _albumentations(library: Any, image: Image) -> Iterator[tuple[str, Call]]:
    spread = _scale(1.7, image), _scale(3.3, image)
    length = int(_scale(15, image)) // 2 * 2 + 1
    transforms = {
        "gaussian_noise": library.GaussNoise(std_range=(0.07, 0.07), p=1),
        "salt_pepper": library.SaltAndPepper(amount=(0.028, 0.028), p=1),
        "motion_blur": library.MotionBlur(blur_limit=(length, length), p=1),
        "gaussian_blur": library.GaussianBlur(sigma_limit=spread, blur_limit=0, p=1),
        "brightness_contrast": library.RandomBrightnessContrast(p=1),
        "gamma": library.RandomGamma(gamma_limit=(150, 150), p=1),
        "jpeg": library.ImageCompression(quality_range=(38, 38), p=1),
        "speckle": library.MultiplicativeNoise(multiplier=(0.7, 1.3), elementwise=True, p=1),
        "acoustic_shadow": library.RandomShadow(p=1),
        "illumination_shadow": library.PlasmaShadow(p=1),
        "gibbs_ringing": library.RingingOvershoot(blur_limit=(15, 15), p=1),
        "dead_pixels": library.PixelDropout(dropout_prob=0.002, p=1),
    }
    for name, transform in transforms.items():
        yield name, lambda transform=transform: transform(image=image)["image"]


def _albumentations_colour(library: Any, image: Image) -> Iterator[tuple[str, Call]]:
    transforms = {
        "glare": library.RandomSunFlare(src_radius=image.shape[0] // 4, p=1),
        "fog": library.RandomFog(p=1),
    }
    for name, transform in transforms.items():
        yield name, lambda transform=transform: transform(image=image)["image"]


def _torchio(library: Any, image: Image) -> Iterator[tuple[str, Call]]:
    import torch

    torch.set_num_threads(1)
    tensor = torch.from_numpy(np.ascontiguousarray(image[..., 0] if image.ndim == 3 else image))[None, :, :, None]
    tensor = tensor.float() / 255
    transforms = {
        "gaussian_noise": library.RandomNoise(std=(0.07, 0.07)),
        "gaussian_blur": library.RandomBlur(std=(_scale(1.7, image), _scale(3.3, image))),
        "gamma": library.RandomGamma(log_gamma=(0.4, 0.4)),
        "bias_field": library.RandomBiasField(),
        "mr_ghosting": library.RandomGhosting(num_ghosts=(4, 4), axes=(0,), intensity=(0.3, 0.3)),
    }
    for name, transform in transforms.items():
        yield name, lambda transform=transform: transform(tensor)


def _monai(library: Any, image: Image) -> Iterator[tuple[str, Call]]:
    import torch

    torch.set_num_threads(1)
    transforms = peer("monai.transforms")
    grey = np.ascontiguousarray(image[..., 0] if image.ndim == 3 else image)[None].astype(np.float32) / 255
    chosen = {
        "gaussian_noise": transforms.RandGaussianNoise(prob=1, std=0.07, sample_std=False),
        "gaussian_blur": transforms.GaussianSmooth(sigma=_scale(2.5, image)),
        "gamma": transforms.AdjustContrast(gamma=1.5),
        "bias_field": transforms.RandBiasField(prob=1),
        "gibbs_ringing": transforms.GibbsNoise(alpha=0.5),
        "rician_noise": transforms.RandRicianNoise(prob=1, std=0.07, sample_std=False),
    }
    for name, transform in chosen.items():
        yield name, lambda transform=transform: transform(grey)


def _imagecorruptions(library: Any, image: Image) -> Iterator[tuple[str, Call]]:
    colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    chosen = {
        "gaussian_noise": ("gaussian_noise", 1),
        "salt_pepper": ("impulse_noise", 1),
        "motion_blur": ("motion_blur", 3),
        "gaussian_blur": ("gaussian_blur", 2),
        "brightness_contrast": ("contrast", 2),
        "jpeg": ("jpeg_compression", 1),
        "speckle": ("speckle_noise", 2),
        "fog": ("fog", 2),
    }
    for name, (corruption, severity) in chosen.items():
        yield (
            name,
            lambda corruption=corruption, severity=severity: library.corrupt(
                colour, corruption_name=corruption, severity=severity
            ),
        )


def _medmnistc(library: Any, image: Image) -> Iterator[tuple[str, Call]]:
    from PIL import Image as Pillow

    picture = Pillow.fromarray(image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2))
    modules = {
        name: peer(f"medmnistc.corruptions.{name}")
        for name in ("noise", "filter", "enhance", "compression", "microscopy")
    }
    chosen = {
        "gaussian_noise": ("noise", "GaussianNoise", 0.07),
        "speckle": ("noise", "SpeckleNoise", 0.2),
        "motion_blur": ("filter", "MotionBlur", (10, 3)),
        "gaussian_blur": ("filter", "GaussianBlur", 13),
        "brightness_contrast": ("enhance", "Contrast", 1.4),
        "gamma": ("enhance", "GammaCorrection", 1.5),
        "jpeg": ("compression", "JPEGCompression", 38),
        "vignette": ("microscopy", "BlackCorner", 1.0),
    }
    for name, (module, kind, value) in chosen.items():
        if modules[module] is not None and hasattr(modules[module], kind):
            corruption = getattr(modules[module], kind)([value])
            yield name, lambda corruption=corruption: corruption.apply(picture, severity=0)


def _skimage(library: Any, image: Image) -> Iterator[tuple[str, Call]]:
    transform = peer("skimage.transform")
    grey = (image[..., 0] if image.ndim == 3 else image).astype(np.float64)
    angles = np.arange(180.0)

    def once() -> Any:
        return transform.iradon(transform.radon(grey, angles, circle=False), angles, circle=False)

    yield "ct_ring", once
    yield "beam_hardening", once


def _astra(library: Any, image: Image) -> Iterator[tuple[str, Call]]:
    grey = (image[..., 0] if image.ndim == 3 else image).astype(np.float32)
    size = grey.shape[0]
    volume = library.create_vol_geom(size, size)
    beams = library.create_proj_geom("parallel", 1.0, int(1.5 * size), np.linspace(0, np.pi, 180, False))
    projector = library.create_projector("linear", beams, volume)

    def once() -> Any:
        number, _ = library.create_sino(grey, projector)
        target = library.data2d.create("-vol", volume)
        settings = library.astra_dict("FBP")
        settings |= {"ProjectorId": projector, "ProjectionDataId": number, "ReconstructionDataId": target}
        algorithm = library.algorithm.create(settings)
        library.algorithm.run(algorithm)
        result = library.data2d.get(target)
        library.algorithm.delete(algorithm)
        library.data2d.delete([number, target])
        return result

    yield "ct_ring", once
    yield "beam_hardening", once


LIBRARIES: dict[str, tuple[str, Callable[[Any, Image], Iterator[tuple[str, Call]]], int]] = {
    "albumentations": ("albumentations", _albumentations, 1),
    "albumentations (RGB)": ("albumentations", _albumentations_colour, 3),
    "torchio": ("torchio", _torchio, 1),
    "monai": ("monai", _monai, 1),
    "medmnistc (RGB)": ("medmnistc", _medmnistc, 3),
    "imagecorruptions (RGB)": ("imagecorruptions", _imagecorruptions, 3),
    "skimage": ("skimage", _skimage, 1),
    "astra": ("astra", _astra, 1),
}
"""Name in print -> (module, its operations on an image, channels that it needs)."""


def calls(image: Image) -> Iterator[tuple[str, str, int, Call]]:
    """Yield (operation, name in print, channels, call) for every peer that can be imported."""
    for name, (module, operations, channels) in LIBRARIES.items():
        library = peer(module)
        if library is None:
            continue
        given = image if channels == 1 else np.repeat(image[..., None], 3, axis=2)
        try:
            for operation, call in operations(library, given):
                yield operation, name, channels, call
        except Exception as error:  # a peer may fail in any way
            print(f"left out: the rest of {name}: {type(error).__name__}: {error}")
