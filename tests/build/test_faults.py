"""Bad input and failing disks: one clear message each, nothing half-written, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import pytest

from dmseg import datasets, imaging
from dmseg.build import build, open_benchmark, unit, verify
from dmseg.build import raw as raw_module
from dmseg.errors import DataError, ImageFileError, MachineError, UsageError
from dmseg.jobs import ledger
from dmseg.types import LEVELS


def test_a_missing_raw_folder_is_named_and_nothing_is_made(tmp_path, toy):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        build(tmp_path / "nowhere", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_raw_folder_without_any_dataset(tmp_path, toy):
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match=r"none of the datasets of the track medical is in it.*dmseg datasets"):
        build(tmp_path / "raw", tmp_path / "b")


def test_a_dataset_that_is_asked_for_but_missing_shows_what_is_expected(tmp_path, toy):
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match=r"(?s)dataset Toy not found.*Toy/<case>.npz"):
        build(tmp_path / "raw", tmp_path / "b", datasets=["Toy"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"datasets": ["toi"]}, 'unknown dataset "toi".*did you mean "Toy"'),
        ({"levels": ["lq4"]}, 'unknown level "lq4".*did you mean'),
        ({"storage": "pngs"}, 'unknown storage "pngs".*did you mean "png"'),
        ({"engine": "daks"}, 'unknown engine "daks".*did you mean "dask"'),
        ({"levels": []}, "no level"),
        ({"limit": 0}, "limit is 0"),
        ({"jobs": 0}, "jobs is 0"),
    ],
)
def test_wrong_arguments_are_named_and_nothing_is_made(raw, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        build(raw, tmp_path / "b", **options)
    assert not (tmp_path / "b").exists()


def test_a_folder_that_holds_something_else_is_refused_and_untouched(raw, tmp_path, tree):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("dear")
    before = tree(tmp_path / "b")
    with pytest.raises(DataError, match="holds something else"):
        build(raw, tmp_path / "b")
    assert tree(tmp_path / "b") == before


def test_a_file_as_output_and_an_output_inside_the_raw_data_are_refused(raw, tmp_path, tree):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        build(raw, tmp_path / "file")
    before = tree(raw)
    for out in (raw, raw / "Toy", raw / "bench"):
        with pytest.raises(DataError, match="lies inside the raw data"):
            build(raw, out)
    assert tree(raw) == before


def test_a_benchmark_without_its_memory_is_not_overwritten(raw, tmp_path):
    import shutil

    build(raw, tmp_path / "b", levels=["clear"])
    shutil.rmtree(tmp_path / "b" / ".build")
    with pytest.raises(DataError, match=r"finished benchmark without its \.build memory"):
        build(raw, tmp_path / "b", levels=["clear"])


@pytest.mark.parametrize("other", [{"seed": 1}, {"levels": ["clear", "lq1"]}, {"storage": "recipe"}])
def test_other_options_in_the_same_folder_are_refused(raw, tmp_path, tree, other):
    options = {"seed": 0, "levels": ["clear"], "storage": "png"}
    build(raw, tmp_path / "b", **options)
    before = tree(tmp_path / "b")
    with pytest.raises(UsageError, match=f"was begun with {next(iter(other))}"):
        build(raw, tmp_path / "b", **(options | other))
    assert tree(tmp_path / "b") == before


def test_no_image_at_all_is_an_error_that_points_to_the_report(tmp_path, toy):
    root = tmp_path / "raw" / "Toy"
    root.mkdir(parents=True)
    (root / "a.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"no image could be built; build_report\.csv"):
        build(tmp_path / "raw", tmp_path / "b")
    assert "a,error" in (tmp_path / "b" / "build_report.csv").read_text()
    assert not (tmp_path / "b" / "benchmark.json").exists()


def fail_when(real, number, when):
    """Return ``real``, raising OSError(number) on the calls whose path satisfies ``when``."""

    def function(path, *arguments, **named):
        if when(Path(path)):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments, **named)

    return function


def test_an_unreadable_source_fails_alone(raw, tmp_path, monkeypatch):
    refuse = fail_when(raw_module.sha256_file, errno.EACCES, lambda path: path.name == "case1.npz")
    monkeypatch.setattr(raw_module, "sha256_file", refuse)
    summary = build(raw, tmp_path / "b", levels=["clear"])
    assert summary.errors == ("Toy/case1: case1.npz: Permission denied",)
    assert (summary.n_images, summary.exit_code) == (8, 1)
    assert verify(open_benchmark(tmp_path / "b")) == []


@pytest.mark.parametrize("number", [errno.EIO, errno.EFBIG, errno.EACCES, errno.ENOSPC])
def test_a_write_that_fails_is_the_machine_s_fault_and_not_the_source_s(raw, tmp_path, monkeypatch, number):
    expected = build(raw, tmp_path / "whole").manifest_digest
    broken = fail_when(imaging.write_png, number, lambda path: path.name == "Toy__case2_z001.png")
    with monkeypatch.context() as patch:
        patch.setattr(imaging, "write_png", broken)
        with pytest.raises(MachineError, match=rf"{os.strerror(number)}.*case2_z001.*run the same command again"):
            build(raw, tmp_path / "b")
    assert not (tmp_path / "b" / "benchmark.json").exists()
    assert not (tmp_path / "b" / ".build" / "parts" / "Toy" / "Toy__case2.json").exists(), "nothing is recorded of it"
    assert build(raw, tmp_path / "b").manifest_digest == expected


def vanish(raw, monkeypatch, when):
    """Let the files of the dataset go away when the n-th source is begun: a disk that is taken out."""
    from dmseg.build import run as run_module

    calls = []

    def run_task(task):
        calls.append(task)
        if len(calls) == when:
            (raw / "Toy").rename(raw / "away")
        return unit.run_task(task)

    monkeypatch.setattr(run_module, "run_task", run_task)


@pytest.mark.parametrize("when", [1, 3])
def test_sources_that_vanish_stop_the_build_and_are_tried_again(raw, tmp_path, monkeypatch, when):
    expected = build(raw, tmp_path / "whole").manifest_digest
    with monkeypatch.context() as patch:
        vanish(raw, patch, when)
        with pytest.raises(MachineError, match=r"\.npz: was there when the build began, and is gone.*goes on") as error:
            build(raw, tmp_path / "b")
    assert error.value.exit_code == 2
    assert len(list((tmp_path / "b" / ".build" / "parts").rglob("*.json"))) == when - 1
    (raw / "away").rename(raw / "Toy")
    summary = build(raw, tmp_path / "b")
    assert (summary.manifest_digest, summary.errors) == (expected, ())


def test_a_file_that_vanishes_while_it_is_read_stops_the_build(raw, tmp_path, monkeypatch, toy):
    def read(self, root, source):
        (root / source.files[0]).unlink()
        raise ImageFileError("nothing to read there")

    monkeypatch.setattr(type(datasets.reader_of(toy())), "read", read)
    with pytest.raises(MachineError, match="is gone"):
        build(raw, tmp_path / "b")


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOTCONN, errno.EMFILE])
def test_a_lost_network_or_too_many_open_files_stop_the_build(raw, tmp_path, monkeypatch, number):
    refuse = fail_when(raw_module.sha256_file, number, lambda path: path.name == "case1.npz")
    monkeypatch.setattr(raw_module, "sha256_file", refuse)
    with pytest.raises(MachineError, match=re.escape(os.strerror(number))):
        build(raw, tmp_path / "b", levels=["clear"])


def test_a_link_to_nothing_is_the_source_s_own_fault(raw, tmp_path):
    (raw / "Toy" / "case1.npz").unlink()
    (raw / "Toy" / "case1.npz").symlink_to("nowhere.npz")
    summary = build(raw, tmp_path / "b", levels=["clear"])
    assert summary.errors == ("Toy/case1: case1.npz: No such file or directory",)


def test_a_full_disk_stops_the_build_with_one_message_and_it_goes_on_later(raw, tmp_path, monkeypatch):
    expected = build(raw, tmp_path / "whole").manifest_digest
    full = fail_when(imaging.write_png, errno.ENOSPC, lambda path: path.name == "Toy__case3_z000.png")
    with monkeypatch.context() as patch:
        patch.setattr(imaging, "write_png", full)
        with pytest.raises(DataError, match=r"No space left.*run the same command again"):
            build(raw, tmp_path / "b")
    assert not (tmp_path / "b" / "benchmark.json").exists()
    done = {path.name for path in (tmp_path / "b" / ".build" / "parts" / "Toy").iterdir()}
    assert done == {"Toy__case0.json", "Toy__case1.json", "Toy__case2.json"}
    assert build(raw, tmp_path / "b").manifest_digest == expected


@pytest.mark.parametrize("name", ["images.parquet", "benchmark.json", "build_report.csv", "options.json"])
def test_a_disk_that_is_full_at_the_index_leaves_no_half_benchmark(raw, tmp_path, monkeypatch, name):
    from dmseg import files

    def is_full_at(real):
        def move(source, target):
            if Path(target).name == name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
            return real(source, target)

        return move

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", is_full_at(Path.replace))
        patch.setattr(os, "link", is_full_at(os.link))
        with pytest.raises(DataError, match="No space left"):
            build(raw, tmp_path / "b", levels=["clear"])
    with pytest.raises(DataError):
        open_benchmark(tmp_path / "b")
    assert not list((tmp_path / "b").rglob(f"{files.TEMPORARY_PREFIX}*"))
    assert build(raw, tmp_path / "b", levels=["clear"]).exit_code == 0


def test_a_damaged_part_is_done_again(raw, tmp_path):
    expected = build(raw, tmp_path / "b", levels=["clear"]).manifest_digest
    for content in ("", "{}", "[]", '{"key": 1, "files": {}, "report": []'):
        part = tmp_path / "b" / ".build" / "parts" / "Toy" / "Toy__case0.json"
        part.write_text(content)
        assert build(raw, tmp_path / "b", levels=["clear"]).manifest_digest == expected


def test_damaged_options_are_named(raw, tmp_path):
    build(raw, tmp_path / "b", levels=["clear"])
    (tmp_path / "b" / ".build" / "options.json").write_text("{")
    with pytest.raises(DataError, match=r"options\.json.*not readable"):
        build(raw, tmp_path / "b", levels=["clear"])


def test_damaged_phantom_list_is_named(raw, tmp_path):
    (raw / "phantom.json").write_text("{")
    with pytest.raises(DataError, match=r"phantom\.json"):
        build(raw, tmp_path / "b", levels=["clear"])


def test_opening_what_is_no_benchmark(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        open_benchmark(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"benchmark\.json is missing"):
        open_benchmark(tmp_path)


def test_unknown_images_masks_and_levels_are_named(raw, tmp_path):
    build(raw, tmp_path / "b", levels=["clear", "lq1"])
    bench = open_benchmark(tmp_path / "b")
    with pytest.raises(UsageError, match=r'unknown image "Toy__case9_z000".*did you mean'):
        bench.image("Toy__case9_z000", "clear")
    with pytest.raises(UsageError, match='unknown level of this benchmark "lq3"'):
        bench.image("Toy__case0_z000", "lq3")
    with pytest.raises(UsageError, match='unknown mask "x"'):
        bench.mask("x")


def test_a_part_of_the_levels_can_be_built(raw, tmp_path):
    build(raw, tmp_path / "b", levels=["lq3plus", "lq1"])
    bench = open_benchmark(tmp_path / "b")
    assert bench.levels == ("lq1", "lq3plus")
    assert bench.levels != LEVELS
    assert sorted(path.name for path in (tmp_path / "b" / "images" / "Toy").iterdir()) == ["lq1", "lq3plus"]
    assert verify(bench) == []
    assert json.loads((tmp_path / "b" / "benchmark.json").read_text())["levels"] == ["lq1", "lq3plus"]


def test_every_picture_is_on_the_disk_before_the_part_that_speaks_of_it(raw, tmp_path, monkeypatch):
    from dmseg import files

    synced: set[str] = set()
    sync, write = files._sync, unit.write_part

    def note(path):
        sync(path)
        synced.add(path.name)

    def check(folder, name, part):
        for row in part.images:
            for level in ("clear", "lq1"):
                assert (tmp_path / "b" / "images" / "Toy" / level / f"{row['image_id']}.png").is_file()
            assert f"{row['image_id']}.png" in synced
        write(folder, name, part)

    monkeypatch.setattr(files, "_sync", note)
    monkeypatch.setattr(unit, "write_part", check)
    assert build(raw, tmp_path / "b", levels=["clear", "lq1"]).n_images == 10


def test_an_image_that_cannot_be_synced_stops_the_build(raw, tmp_path, monkeypatch):
    from dmseg import files

    sync = files._sync
    with monkeypatch.context() as patch:
        patch.setattr(files, "_sync", fail_when(sync, errno.EIO, lambda path: path.name == "Toy__case2_z001.png"))
        with pytest.raises(MachineError, match=r"Input/output error.*Toy__case2_z001\.png"):
            build(raw, tmp_path / "b", levels=["clear", "lq1"])
    assert build(raw, tmp_path / "b", levels=["clear", "lq1"]).n_images == 10


def test_an_output_folder_that_may_not_be_written_is_named_and_left_alone(raw, tmp_path, monkeypatch, tree):
    before = tree(tmp_path)
    monkeypatch.setattr(ledger, "write_new", fail_when(ledger.write_new, errno.EACCES, lambda path: True))
    with pytest.raises(DataError, match=r"b: cannot write there: Permission denied; give --out another folder"):
        build(raw, tmp_path / "b")
    assert tree(tmp_path) == before


def test_an_image_above_the_limit_fails_alone_and_nothing_outside_is_touched(kvasir, tmp_path, tree):
    import struct
    import zlib

    def chunk(content):
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    size = chunk(b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + size + chunk(b"IDAT" + zlib.compress(bytes(1000))) + chunk(b"IEND")
    (kvasir / "Kvasir-SEG" / "images" / "cju3.jpg").write_bytes(bomb)
    (kvasir / "Kvasir-SEG" / "images" / "cju4.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    before = tree(tmp_path)
    summary = build(kvasir, tmp_path / "b", levels=["clear"])
    assert (summary.n_images, summary.exit_code) == (6, 1)
    assert "400 megapixels" in summary.errors[0] and "cju4.jpg" in summary.errors[1]
    after = tree(tmp_path)
    assert {name: state for name, state in after.items() if not name.startswith("b/")} == before
    assert str(tmp_path) not in (tmp_path / "b" / "build_report.csv").read_text()
