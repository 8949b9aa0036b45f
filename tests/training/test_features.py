"""Features kept on disk: encoded once, found again, never mixed up."""

from __future__ import annotations

import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from dmseg.baselines.networks.sam import Encoded  # noqa: E402
from dmseg.errors import MachineError  # noqa: E402
from dmseg.training.features import FeatureCache, all_items, cache_key  # noqa: E402

ITEMS = [(f"image{index}", level) for index in range(20) for level in ("clear", "lq3")]
ORDER = {item: float(row) for row, item in enumerate(ITEMS)}


def read(item: tuple[str, str]) -> torch.Tensor:
    return torch.full((3, 4, 4), ORDER[item])


def encode(pixels: torch.Tensor) -> Encoded:
    return Encoded(pixels[:, :2] * 2, {"1": pixels.permute(0, 2, 3, 1) + 1})


def open_cache(folder: Path) -> FeatureCache:
    return FeatureCache(folder, ITEMS, encode(read(ITEMS[0])[None]))


def fill(cache: FeatureCache, wanted: list[tuple[str, str]]) -> int:
    return cache.fill(wanted, read, encode, torch.device("cpu"), jobs=3)


def test_what_is_read_is_what_was_encoded_in_the_order_asked_for(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    assert fill(cache, ITEMS) == len(ITEMS)
    asked = [ITEMS[7], ITEMS[0], ITEMS[7]]
    found, expected = cache.read(asked), encode(torch.stack([read(item) for item in asked]))
    assert torch.equal(found.embedding, expected.embedding)
    assert torch.equal(found.intermediate["1"], expected.intermediate["1"])
    assert cache.read(asked, intermediate=False).intermediate == {}


def test_filling_goes_on_where_it_stopped_even_in_the_middle(tmp_path: Path) -> None:
    assert fill(open_cache(tmp_path), ITEMS[:5]) == 5
    calls = 0

    def break_item(item: tuple[str, str]) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise OSError("the disk went away")
        return read(item)

    with pytest.raises(OSError, match="went away"):
        open_cache(tmp_path).fill(ITEMS, break_item, encode, torch.device("cpu"))
    cache = open_cache(tmp_path)
    assert fill(cache, ITEMS) == len(ITEMS) - 5 - 16  # one whole chunk was kept
    assert fill(cache, ITEMS) == 0
    assert torch.equal(cache.read(ITEMS).embedding[:, 0, 0, 0], torch.arange(40.0) * 2)


@pytest.mark.parametrize("damage", ["embedding.f16", "1.f16"])
def test_a_file_that_is_gone_or_cut_is_filled_again(damage: str, tmp_path: Path) -> None:
    assert fill(open_cache(tmp_path), ITEMS) == len(ITEMS)
    (tmp_path / damage).write_bytes((tmp_path / damage).read_bytes()[:-2])
    cache = open_cache(tmp_path)
    assert fill(cache, ITEMS) == len(ITEMS)
    assert torch.equal(cache.read(ITEMS).embedding[:, 0, 0, 0], torch.arange(40.0) * 2)


def test_another_encoder_preparation_benchmark_side_or_set_of_pictures_has_another_folder() -> None:
    encoder = torch.nn.Linear(2, 2)
    first = cache_key(encoder, "SamAdapter", "a", 64, ITEMS)
    assert first == cache_key(encoder, "SamAdapter", "a", 64, ITEMS)
    others = {cache_key(encoder, "SamAdapter", "b", 64, ITEMS), cache_key(encoder, "SamAdapter", "a", 96, ITEMS)}
    others.add(cache_key(encoder, "MedSamAdapter", "a", 64, ITEMS))
    others.add(cache_key(encoder, "SamAdapter", "a", 64, ITEMS[1:]))
    with torch.no_grad():
        encoder.weight[0, 0] += 1e-3
    others.add(cache_key(encoder, "SamAdapter", "a", 64, ITEMS))
    assert first not in others and len(others) == 5


def test_what_finds_no_room_is_encoded_again_and_reads_alike(tmp_path: Path) -> None:
    row = encode(read(ITEMS[0])[None])
    bytes_a_row = 2 * (row.embedding.numel() + row.intermediate["1"].numel())
    cache = FeatureCache(tmp_path, ITEMS, row, limit=3 * bytes_a_row)
    assert fill(cache, ITEMS[:5]) == 5
    assert torch.equal(cache.read(ITEMS[:5]).embedding[:, 0, 0, 0], torch.arange(5.0) * 2)
    assert fill(cache, ITEMS[:5]) == 2  # three are kept, two come again
    assert fill(open_cache(tmp_path), ITEMS[:5]) == 2


def test_the_clear_version_is_always_among_the_items() -> None:
    assert all_items(["x"], ["lq3", "lq1"]) == [("x", "clear"), ("x", "lq1"), ("x", "lq3")]


def test_caches_that_are_opened_at_once_do_not_cut_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as executor:
        caches = list(executor.map(open_cache, [tmp_path] * 8))
    assert fill(caches[0], ITEMS) == len(ITEMS)
    assert [fill(cache, ITEMS) for cache in caches[1:]] == [0] * 7
    assert not (tmp_path / "lock").exists()


def test_a_full_disk_is_said_before_the_process_is_ended_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = open_cache(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(MachineError, match=r"only 1 MB are free.*cache_gb"):
        patch.setattr("shutil.disk_usage", lambda path: types.SimpleNamespace(free=1_000_000))
        fill(cache, ITEMS)
    assert fill(cache, ITEMS) == len(ITEMS)
