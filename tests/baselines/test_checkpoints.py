"""Weights files: accepted strictly, told apart, never executed; messages that say what a wrong file is."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dmseg
from dmseg.baselines import find_missing_packages, model_cards
from dmseg.errors import ModelError, UsageError
from dmseg.types import Prompts

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from dmseg.baselines import checkpoints, loading  # noqa: E402
from dmseg.baselines.checkpoints import Checkpoint  # noqa: E402

PARITY = Path(__file__).parents[1] / "golden" / "parity"
LAYOUT_FILES = {
    "sam-vit-b": "sam_vit_b",
    "sam-vit-l": "sam_vit_l",
    "mobile-sam": "mobilesam",
    "lite-medsam": "litemedsam",
    "sam-med2d": "sammed2d_noadapter",
    "sam-med2d-adapter": "sammed2d_adapter",
    "robust-sam-b": "robustsam_vit_b",
}


def file_of_zeros(path: Path, layout: str, wrap: str | None = None, prefix: str = "") -> Path:
    """A small file with the official keys and shapes: expanded zeros share one element."""
    keys = json.loads((PARITY / f"{LAYOUT_FILES[layout]}.keys.json").read_text())["keys"]
    state: dict[str, Any] = {
        prefix + key: torch.zeros((), dtype=getattr(torch, kind)).expand(shape) for key, shape, kind in keys
    }
    torch.save({wrap: state, "epoch": 3} if wrap else state, path)
    return path


def test_one_table_entry_makes_every_network_and_says_which_file_it_has() -> None:
    networks = [name for name, card in model_cards().items() if card.kind == "network"]
    assert networks == list(loading.FAMILIES)
    for name in networks:
        card, bases = model_cards()[name], loading.FAMILIES[name].bases
        if bases:
            assert card.network is None and card.checkpoint is None and bases == card.bases
            assert not any(loading.FAMILIES[base].bases for base in bases)
        else:
            assert card.network is not None and not card.addition
            assert card.shipped or loading.official_file(name).file


@pytest.mark.slow
def test_stated_parameter_counts_are_those_of_the_networks() -> None:
    from dmseg.baselines.networks.sam import parameter_count

    with torch.device("meta"):
        for name, family in loading.FAMILIES.items():
            if find_missing_packages(model_cards()[name]):
                continue
            card, count = model_cards()[name], parameter_count(family.build())
            assert card.params == count, name
            if family.bases:
                base = loading.FAMILIES[family.bases[0]].build()
                assert card.added_params == count - parameter_count(base), name


@pytest.mark.parametrize(
    ("layout", "wanted"),
    [
        ("mobile-sam", "lite-medsam"),
        ("lite-medsam", "mobile-sam"),
        ("sam-vit-b", "sam-med2d"),
        ("sam-med2d-adapter", "sam-med2d"),
        ("robust-sam-b", "sam-vit-b"),
        ("sam-vit-l", "medsam"),
    ],
)
@pytest.mark.slow
def test_a_file_of_another_model_is_named(tmp_path: Path, layout: str, wanted: str) -> None:
    path = file_of_zeros(tmp_path / "weights.pth", layout)
    with pytest.raises(
        ModelError, match=f"not the weights of {wanted}: this looks like a file of .*{layout}"
    ) as caught:
        dmseg.load_model(wanted, weights=path)
    assert any(word in str(caught.value) for word in ("missing", "unexpected", "of another shape"))


@pytest.mark.parametrize(("wrap", "prefix"), [(None, ""), ("model", ""), ("state_dict", "model."), (None, "module.")])
def test_wrapped_files_are_unwrapped(tmp_path: Path, wrap: str | None, prefix: str) -> None:
    path = file_of_zeros(tmp_path / "weights.pth", "mobile-sam", wrap, prefix)
    model: Any = dmseg.load_model("mobile-sam", weights=path)
    assert not any(tensor.any() for key, tensor in model.official_state_dict().items() if key.endswith("weight"))
    assert len(model.weights_sha256) == 64


@pytest.mark.slow
def test_loaded_weights_are_the_files(tmp_path: Path) -> None:
    source: Any = dmseg.load_model("mobile-sam", weights="random")
    torch.save(dict(source.official_state_dict()), tmp_path / "mobile_sam.pt")
    loaded: Any = dmseg.load_model("mobile-sam", weights=tmp_path / "mobile_sam.pt")
    image = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    prompts = Prompts(np.array([[20, 10]], np.float32), np.array([1], np.int8), None, 1)
    answers = [model.predict(model.encode([image]), [0], [prompts], [None]).logits for model in (source, loaded)]
    assert answers[0].shape == (1, 40, 60)
    # TinyViT caches its attention biases: a stale cache would show here.
    assert torch.equal(*answers)


def test_installed_weights_are_found_and_missing_ones_say_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMSEG_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelError, match=r"mobile_sam\.pt.*not installed.*--weights FILE"):
        dmseg.load_model("mobile-sam")
    file_of_zeros(tmp_path / "mobile_sam.pt", "mobile-sam")
    assert dmseg.load_model("mobile-sam").name == "mobile-sam"


class TestTwins:
    """SAM ViT-B and MedSAM have the same keys and shapes: only the hash can tell."""

    sam = Checkpoint("sam.pth", "here", "get it", sha256_prefix="ba7816bf")
    medsam = Checkpoint("medsam.pth", "there", "get it")

    def twins(self) -> Mapping[str, Checkpoint]:
        return {"sam-vit-b": self.sam, "medsam": self.medsam, "medsam-box": self.medsam}

    def test_a_known_hash_proves_or_refuses(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"abc")  # sha256 begins with ba7816bf
        assert checkpoints.identity("sam-vit-b", tmp_path / "f", self.twins()) is None
        with pytest.raises(ModelError, match="official file of sam-vit-b, not of medsam"):
            checkpoints.identity("medsam", tmp_path / "f", self.twins())

    def test_an_unknown_hash_warns_with_both_names(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"other")
        doubt = checkpoints.identity("medsam", tmp_path / "f", self.twins())
        assert doubt and "sam-vit-b" in doubt and "medsam" in doubt

    def test_models_of_one_file_are_no_twins(self, tmp_path: Path) -> None:
        assert (
            checkpoints.identity("medsam", tmp_path / "f", {"medsam": self.medsam, "medsam-box": self.medsam}) is None
        )

    def test_loading_warns(self, tmp_path: Path) -> None:
        path = file_of_zeros(tmp_path / "x.pth", "sam-vit-b")
        with pytest.warns(UserWarning, match="keys of sam-vit-b and medsam"):
            dmseg.load_model("medsam-box", weights=path)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dmseg.load_model("lite-medsam-box", weights=file_of_zeros(tmp_path / "l.pth", "lite-medsam"))


class _Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (eval, ("open('executed', 'w').write('x')",))


class TestUntrustedFiles:
    def test_code_in_a_file_is_not_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "evil.pth").write_bytes(pickle.dumps({"model": _Evil()}, protocol=2))
        torch.save({"model": _Evil()}, tmp_path / "evil_zip.pth")
        for name in ("evil.pth", "evil_zip.pth"):
            with pytest.raises(ModelError, match="refused, since reading it would execute code"):
                dmseg.load_model("mobile-sam", weights=tmp_path / name)
        assert not (tmp_path / "executed").exists()

    def test_truncated_empty_foreign_and_missing_files(self, tmp_path: Path) -> None:
        whole = file_of_zeros(tmp_path / "whole.pth", "mobile-sam").read_bytes()
        (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "empty.pth").write_bytes(b"")
        (tmp_path / "page.pth").write_bytes(b"<html>not found</html>")
        (tmp_path / "bad.safetensors").write_bytes(b"\x00" * 20)
        for name in ("half.pth", "empty.pth", "page.pth", "bad.safetensors"):
            with pytest.raises(ModelError, match=name):
                dmseg.load_model("mobile-sam", weights=tmp_path / name)
        torch.save([1, 2], tmp_path / "list.pth")
        with pytest.raises(ModelError, match="holds no state dict"):
            dmseg.load_model("mobile-sam", weights=tmp_path / "list.pth")
        with pytest.raises(ModelError, match="no such weights file"):
            dmseg.load_model("mobile-sam", weights=tmp_path / "none.pth")
        torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "foreign.pth")
        with pytest.raises(ModelError, match="it is of no model known here"):
            dmseg.load_model("mobile-sam", weights=tmp_path / "foreign.pth")


def test_random_weights_are_seeded_and_leave_torch_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = (dmseg.load_model("lite-medsam", weights="random") for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    states: list[Any] = [model.official_state_dict() for model in (first, second)]  # type: ignore[attr-defined]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_unknown_mode_and_argument() -> None:
    with pytest.raises(UsageError, match=r'unknown mode "offical".*official'):
        dmseg.load_model("mobile-sam", weights="random", mode="offical")
    with pytest.raises(UsageError, match='no argument "mod"'):
        dmseg.load_model("mobile-sam", weights="random", mod="official")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b'{"error": "not found"}', "a text"),
    ],
)
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path, content, message, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        checkpoints.read_state(tmp_path / name)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model_state_dict": state, "optimizer": {"lr": 1.0}, "epoch": 3},
        lambda state: {"net": state},
        lambda state: {"state_dict": {f"model._orig_mod.{key}": value for key, value in state.items()}},
        lambda state: {"model": {"state_dict": {f"module.{key}": value for key, value in state.items()}}},
    ],
)
def test_common_wrappers_are_unwrapped(tmp_path, wrap):
    state = {"a.weight": torch.ones(2), "b.bias": torch.zeros(3)}
    torch.save(wrap(state), tmp_path / "weights.pth")
    assert checkpoints.read_state(tmp_path / "weights.pth").keys() == state.keys()


def test_a_misnamed_safetensors_file_is_read(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "weights.pth")
    assert checkpoints.read_state(tmp_path / "weights.pth")["a"].tolist() == [1, 1]


def test_weights_with_nan_are_refused(tmp_path):
    torch.save({"a.weight": torch.tensor([1.0, float("nan")]), "b": torch.ones(1)}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=r"NaN or infinity in 1 tensors \(a\.weight\)"):
        checkpoints.read_state(tmp_path / "weights.pth")
