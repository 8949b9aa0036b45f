"""For TorchIO: ``RandomDegrade``, and ``DegradeAgain`` that replays what it did."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from dmseg.errors import MissingDependencyError, UsageError
from dmseg.transforms import arrays, axes, draws
from dmseg.transforms.degradation import Degradation
from dmseg.transforms.settings import Options, Settings, make_settings

try:
    import torch
    from torchio import IntensityTransform
    from torchio.transforms.augmentation import RandomTransform
except ImportError as error:
    advice = 'install it with: pip install "dmseg-bench[torchio]"'
    raise MissingDependencyError(f"dmseg.transforms.torchio needs {error.name}; {advice}") from None


class RandomDegrade(RandomTransform, IntensityTransform):  # type: ignore[misc]  # TorchIO is not followed
    """Degrade the scalar images of a subject, alike: a native intensity transform of TorchIO.

    Args:
        modality, options: see :class:`dmseg.transforms.Settings`. TorchIO defines no range of floats, so
            ``value_range`` or ``window`` must say what black and white are.
        name_from: entry of the subject that names it, for keyed draws; None: the digest of the first image's voxels.
        host: ``p``, ``include``, ``exclude``, ... of :class:`torchio.Transform`.

    A volume gets one plan for the slices of its acquisition, which its affine tells; 2-D images are images. Label maps
    stay as they are. Draws come from PyTorch's generator. The subject's history holds :class:`DegradeAgain` with all
    drawn numbers: applied to the same subject it gives the same voxels.
    """

    def __init__(
        self,
        modality: str | None = None,
        *,
        name_from: str | None = None,
        host: dict[str, Any] | None = None,
        p: float = 1.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(**{"p": p, **(host or {})})
        self.settings = make_settings(modality, options)
        self.modality, self.options, self.name_from = modality, dict(options), name_from
        self.args_names = ["modality", "options"]

    def apply_transform(self, subject: Any) -> Any:
        """Draw a degradation and apply it to all scalar images."""
        images = self.get_images_dict(subject)
        if not images:
            raise UsageError("the subject holds no scalar image to degrade")
        if not self.settings.keyed:
            key = f"draw {int(torch.randint(0, 2**63 - 1, ())):016x}"
        elif self.name_from is None:
            key = draws.make_pixel_key(next(iter(images.values())).numpy())
        elif self.name_from in subject:
            key = str(subject[self.name_from])
        else:
            raise UsageError(f'the subject has no "{self.name_from}" to name it')
        record = self.settings.draw(key).to_json()
        again = DegradeAgain(record, self.modality, self.options, **self._get_base_args())
        made = again.apply_transform(subject)  # the subject is a copy already
        again._add_transform_to_subject_history(made)
        return made


class DegradeAgain(IntensityTransform):  # type: ignore[misc]  # TorchIO is not followed
    """Apply a degradation that was drawn before.

    Args:
        record: text of :meth:`dmseg.transforms.Degradation.to_json`.
        modality, options: those of the :class:`RandomDegrade` that drew it.
        host: see :class:`torchio.Transform`.
    """

    def __init__(self, record: str, modality: str | None = None, options: Any = None, **host: Any) -> None:
        super().__init__(**host)
        self.record, self.modality, self.options = record, modality, dict(options or {})
        self.settings: Settings = make_settings(modality, self.options)  # type: ignore[arg-type]
        self.drawn = Degradation.from_json(record)
        self.args_names = ["record", "modality", "options"]

    def apply_transform(self, subject: Any) -> Any:
        """Apply the degradation to all scalar images."""
        with np.errstate(divide="warn", over="warn", invalid="warn"):  # TorchIO raises for what kernels round away
            for image in self.get_images(subject):
                pixels = image.numpy()
                made = np.empty_like(pixels)
                affine = np.asarray(image.affine, np.float64)
                source, layout = axes.as_radiological_slices(pixels, affine)
                target, _ = axes.as_radiological_slices(made, affine)
                target[...] = arrays.degrade_array(source, layout, self.drawn, self.settings)
                image.set_data(torch.from_numpy(made))
        return subject
