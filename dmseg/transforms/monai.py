"""For MONAI: ``RandDegrade`` on one image, ``RandDegraded`` on a dictionary."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import MissingDependencyError, UsageError
from dmseg.transforms import arrays, axes, draws
from dmseg.transforms.degradation import Degradation
from dmseg.transforms.plain import as_array
from dmseg.transforms.settings import Options, check_probability, make_settings

try:
    import torch
    from monai.config import KeysCollection
    from monai.data.meta_obj import get_track_meta
    from monai.data.meta_tensor import MetaTensor
    from monai.transforms import InvertibleTransform, MapTransform, RandomizableTransform
    from monai.utils import convert_to_tensor
except ImportError as error:
    advice = 'install it with: pip install "dmseg-bench[monai]"'
    raise MissingDependencyError(f"dmseg.transforms.monai needs {error.name}; {advice}") from None

EXTRA = "degradation"
"""Entry of ``extra_info`` in ``applied_operations`` that holds the text of the degradation."""


class RandDegrade(RandomizableTransform, InvertibleTransform):  # type: ignore[misc]  # MONAI is not followed
    """Degrade one image, channels first: a native, randomizable transform of MONAI.

    Args:
        modality, options: see :class:`dmseg.transforms.Settings`. MONAI defines no range of floats, so ``value_range``
            or ``window`` must say what black and white are.
        prob: probability that the image is degraded.
        axes: order of the spatial axes, such as ``xyz`` or ``yx``: z counts slices, y runs down, x to the right. None:
            what the affine of a 3-D ``MetaTensor`` says, slices being those of the acquisition; else ``xyz``, and
            ``xy`` for 2-D ``MetaTensor`` (MONAI's readers put x first), ``yx`` for other 2-D arrays.

    The result is a ``MetaTensor`` (where tracking is on) of the same type and affine. What was drawn is kept in
    ``applied_operations``; ``inverse`` takes it out of there but cannot undo a degradation. 3-D images get one plan.
    """

    def __init__(
        self, modality: str | None = None, *, prob: float = 1.0, axes: str | None = None, **options: Unpack[Options]
    ) -> None:
        RandomizableTransform.__init__(self, check_probability(prob))
        self.settings = make_settings(modality, options)
        self.axes = _check_axes(axes)
        self._word = 0

    def randomize(self, data: Any = None) -> None:
        """Draw whether to act, and the number that everything else follows from."""
        super().randomize(None)
        self._word = int(self.R.randint(0, 2**63 - 1, dtype=np.int64))

    def draw(self, pixels: NDArray[Any] | None = None, name: str | None = None) -> Degradation | None:
        """Return the degradation after :meth:`randomize`, or None where it does not act."""
        if self.settings.keyed:
            key = name if name is not None else draws.make_pixel_key(np.asarray(pixels))
            return self.settings.draw(key) if self.settings.acts(key, self.prob) else None
        return self.settings.draw(draws.make_fresh_key(self._word)) if self._do_transform else None

    def __call__(self, img: Any, randomize: bool = True) -> Any:
        """Return the degraded image.

        Args:
            img: (C, spatial axes), array, tensor or ``MetaTensor``, of any numeric type.
            randomize: draw anew; False: as at the last call.
        """
        if randomize:
            self.randomize()
        return self.degrade(img, self.draw(as_array(img)))

    def degrade(self, img: Any, drawn: Degradation | None) -> Any:
        """Return an image with a given degradation: the same pixels for the same image."""
        image = convert_to_tensor(img, track_meta=get_track_meta())
        if drawn is None:
            return image
        source, layout = self._view(as_array(image), image)
        result = image.clone()
        plain = result.as_tensor() if isinstance(result, MetaTensor) else result
        made = as_array(plain)  # on a CPU the result's own memory
        target, _ = self._view(made, image)
        target[...] = arrays.degrade_array(source, layout, drawn, self.settings)
        if plain.device.type != "cpu" or plain.dtype == torch.bfloat16:
            plain.copy_(torch.from_numpy(made))
        if isinstance(result, MetaTensor):
            self._do_transform = True
            self.push_transform(result, extra_info={EXTRA: drawn.to_json()})
        return result

    def _view(self, pixels: NDArray[Any], image: Any) -> tuple[NDArray[Any], str]:
        spatial = pixels.ndim - 1
        if spatial not in (2, 3):
            raise UsageError(f"image of shape {pixels.shape}; MONAI's are (C, H, W) or (C, X, Y, Z)")
        meta = isinstance(image, MetaTensor)
        if self.axes is None and spatial == 3 and meta:
            return axes.as_radiological_slices(pixels, np.asarray(image.affine, np.float64))
        return axes.as_slices(pixels, self.axes or ("xyz" if spatial == 3 else "xy" if meta else "yx"))

    def inverse(self, data: Any) -> Any:
        """Take the record out of ``applied_operations``; the pixels stay degraded."""
        self.pop_transform(data)
        return data


def _check_axes(given: str | None) -> str | None:
    return axes.check_axes(given)


def read_degradation(image: Any) -> Degradation | None:
    """Return the last degradation in ``applied_operations`` of a ``MetaTensor``, or None."""
    for record in reversed(image.applied_operations):
        text = (record.get("extra_info") or {}).get(EXTRA)
        if text is not None:
            return Degradation.from_json(text)
    return None


class RandDegraded(MapTransform, RandomizableTransform, InvertibleTransform):  # type: ignore[misc]
    """Degrade the images of a dictionary, alike; see :class:`RandDegrade`.

    Args:
        keys: entries that hold images; masks are the entries that are not named.
        modality, prob, axes, options: as for :class:`RandDegrade`.
        name_from: entry that names the image, for keyed draws; None: the digest of the first image's pixels.
        allow_missing_keys: no error where an entry is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        modality: str | None = None,
        *,
        prob: float = 1.0,
        axes: str | None = None,
        name_from: Hashable | None = None,
        allow_missing_keys: bool = False,
        **options: Unpack[Options],
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, check_probability(prob))
        self.degrader = RandDegrade(modality, prob=prob, axes=axes, **options)
        self.name_from = name_from

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandDegraded:
        """Seed the draws."""
        super().set_random_state(seed, state)
        self.degrader.set_random_state(seed, state)
        return self

    def randomize(self, data: Any = None) -> None:
        """Draw for all images of one dictionary."""
        self.degrader.randomize()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a new dictionary with the images degraded."""
        made = dict(data)
        self.randomize()
        name = None
        if self.degrader.settings.keyed and self.name_from is not None:
            if self.name_from not in made:
                raise UsageError(f'the dictionary has no "{self.name_from}" to name its image')
            name = str(made[self.name_from])
        drawn: Degradation | None = None
        for number, key in enumerate(self.key_iterator(made)):
            if number == 0:
                drawn = self.degrader.draw(as_array(made[key]), name)
            made[key] = self.degrader.degrade(made[key], drawn)
        return made

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Take the records out of ``applied_operations``; the pixels stay degraded."""
        made = dict(data)
        for key in self.key_iterator(made):
            self.degrader.inverse(made[key])
        return made


RandDegradeD = RandDegradeDict = RandDegraded
