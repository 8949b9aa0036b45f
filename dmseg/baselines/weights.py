"""Which official weights are installed, whether they are the authors' bytes, and how the others are got.

Nothing is fetched but by :func:`download`, and that only where the authors publish a direct public link.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from dmseg.baselines.cards import find_shipped_weights, model_cards
from dmseg.baselines.checkpoints import Checkpoint, weights_folder
from dmseg.errors import ModelError, UsageError, unknown_name
from dmseg.files import atomic_path, sha256_file

VERIFIED, INSTALLED, WRONG, MISSING = "verified", "installed", "wrong", "missing"
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One official file on this machine.

    Attributes:
        models: the models that load it, their own or their base's.
        checkpoint: what is known of it.
        path: where it lies or would lie.
        state: ``verified`` (its sha256 begins as published), ``installed`` (there, but the authors publish no hash),
            ``wrong`` (another sha256) or ``missing``.
    """

    models: tuple[str, ...]
    checkpoint: Checkpoint
    path: Path
    state: str


def weights_files() -> list[WeightsFile]:
    """Return the official files of all models, in the order of the cards; a file of several models once."""
    cards = model_cards()
    users: dict[str, list[str]] = {}
    known: dict[str, Checkpoint] = {}
    for name, card in cards.items():
        for owner in (card, *(cards[base] for base in card.bases)):
            if owner.checkpoint is not None:
                users.setdefault(owner.checkpoint.file, []).append(name)
                known.setdefault(owner.checkpoint.file, owner.checkpoint)
    folder = weights_folder()
    return [
        WeightsFile(tuple(users[file]), checkpoint, folder / file, state_of(folder / file, checkpoint))
        for file, checkpoint in known.items()
    ]


def list_shipped() -> dict[str, bool]:
    """Return the models whose weights ship inside the package, and whether this installation has them."""
    found = {}
    for name, card in model_cards().items():
        if card.shipped is not None:
            try:
                found[name] = find_shipped_weights(name).is_file()
            except ModelError:
                found[name] = False
    return found


def state_of(path: Path, checkpoint: Checkpoint) -> str:
    """Return ``verified``, ``installed``, ``wrong`` or ``missing`` for the file of ``checkpoint`` at ``path``."""
    if not path.is_file():
        return MISSING
    if checkpoint.sha256_prefix is None:
        return INSTALLED
    return VERIFIED if sha256_file(path).startswith(checkpoint.sha256_prefix) else WRONG


def weights_of(model: str) -> WeightsFile:
    """Return the official file of one model.

    Raises:
        UsageError: an unknown model, or one without weights.
    """
    files = weights_files()
    for one in files:
        if model in one.models:
            return one
    if model in model_cards():
        raise UsageError(f'model "{model}" has no weights to install')
    raise unknown_name("model with weights", model, [name for one in files for name in one.models])


def download(model: str) -> Path:
    """Fetch a model's official file from its public link into the weights folder and return its path.

    What arrives is kept only if its sha256 begins as published; without a published hash it is kept, and loading
    still compares every key and shape.

    Raises:
        UsageError: an unknown model, or one without weights.
        ModelError: there is no direct link (the message says how to get the file), the link does not answer, or what
            it sends is another file.
    """
    import pooch

    wanted = weights_of(model)
    checkpoint = wanted.checkpoint
    if not checkpoint.direct:
        raise ModelError(steps(wanted))
    fetch = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=_TIMEOUT_S)
    with atomic_path(wanted.path) as temporary:
        try:
            fetch(checkpoint.source, str(temporary), None)
        except (OSError, ValueError) as error:
            # requests' errors are OSErrors; a full disk is one too and keeps its own message.
            if getattr(error, "errno", None) is not None:
                raise
            raise ModelError(
                f"{checkpoint.source} did not send {checkpoint.file}: {type(error).__name__}: {error}. Try again, or "
                f"fetch it with a browser and put it into {wanted.path.parent}"
            ) from None
        if state_of(temporary, checkpoint) == WRONG:
            raise ModelError(
                f"{checkpoint.source} sent {temporary.stat().st_size} bytes whose sha256 begins with "
                f"{sha256_file(temporary)[: len(checkpoint.sha256_prefix or '')]}, not {checkpoint.sha256_prefix}; "
                "nothing was kept. Perhaps a proxy answered: fetch the file with a browser"
            )
    return wanted.path


def steps(wanted: WeightsFile) -> str:
    """Say how a file without a direct link is got."""
    checkpoint = wanted.checkpoint
    return (
        f"{checkpoint.file} has no direct public link. {checkpoint.steps} 1. Open {checkpoint.source} 2. Save the file "
        f"as {wanted.path} 3. Run dmseg weights, and dmseg selfcheck --model {wanted.models[0]}"
    )
