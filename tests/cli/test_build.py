"""The commands build, verify and cite: what they print, their exit codes, and that errors are one message."""

from __future__ import annotations

import re
import shutil

import pytest

from dmseg import phantoms
from dmseg.build import open_benchmark
from dmseg.cli import main


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    phantoms.write_phantoms(folder, per_dataset=2, datasets=["BUSI", "CHAOS"])
    return folder


@pytest.fixture(scope="module")
def bench(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "bench"
    assert leave("build", "--raw", raw, "--out", folder) == 0
    return folder


def leave(*arguments) -> int:
    """Run the command line and return its exit code."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def test_build_says_what_it_wrote_and_what_is_next(raw, bench, capsys):
    assert leave("build", "--raw", raw, "--out", bench) == 0
    out, err = capsys.readouterr()
    opened = open_benchmark(bench)
    assert f"{len(opened.images)} images, local 0+{opened.digest[:8]}" in out
    assert opened.digest in out
    assert "next: dmseg preview" in out
    assert "build:" in err


def test_an_unknown_dataset_is_one_message_with_a_suggestion(raw, tmp_path, capsys):
    assert leave("build", "--raw", raw, "--out", tmp_path / "b", "--datasets", "BUSY") == 2
    assert capsys.readouterr().err.strip().startswith('error: unknown dataset "BUSY" (did you mean "BUSI"?)')
    assert not (tmp_path / "b").exists()


def test_a_source_that_fails_gives_exit_code_1_and_is_named(raw, tmp_path, capsys):
    broken = tmp_path / "raw"
    shutil.copytree(raw / "BUSI", broken / "BUSI")
    victim = next(path for path in sorted((broken / "BUSI").rglob("benign*.png")) if "mask" not in path.name)
    victim.write_bytes(victim.read_bytes()[:400])
    assert leave("build", "--raw", broken, "--out", tmp_path / "b", "--levels", "clear") == 1
    out, err = capsys.readouterr()
    assert "failed: 1 sources" in out
    assert victim.name in err


def test_a_dry_run_changes_nothing_and_counts_right(raw, tmp_path, capsys):
    assert leave("build", "--raw", raw, "--out", tmp_path / "b", "--dry-run", "--levels", "clear,lq1") == 0
    out = capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert re.search(r"BUSI +2 +2 ", out)
    assert re.search(r"CHAOS +1 +2 ", out)
    assert re.search(r"all +3 +4 ", out)


def test_verify_in_order_and_not(bench, tmp_path, capsys):
    assert leave("verify", bench) == 0
    assert "in order" in capsys.readouterr().out
    copy = tmp_path / "copy"
    shutil.copytree(bench, copy)
    next((copy / "images").rglob("*.png")).unlink()
    assert leave("verify", copy, "--sample", "50%") == 1
    assert "file is missing" in capsys.readouterr().out


@pytest.mark.parametrize("share", ["0", "120%", "half", "-1"])
def test_a_sample_that_is_no_share(bench, capsys, share):
    assert leave("verify", bench, f"--sample={share}") == 2
    assert "--sample" in capsys.readouterr().err


def test_verify_of_something_else(tmp_path, capsys):
    assert leave("verify", tmp_path / "nowhere") == 2
    assert "no such folder" in capsys.readouterr().err


def test_cite_names_the_benchmark_and_does_not_cite_phantoms(bench, capsys):
    assert leave("cite", bench) == 0
    out = capsys.readouterr().out
    assert open_benchmark(bench).digest in out
    assert "2606.30477" in out
    assert "BUSI: 2 images\n% synthetic" in out
    assert out.count("@") == 1


def test_cite_gives_bibtex_and_licence_of_real_datasets(bench):
    import dataclasses

    from dmseg import datasets
    from dmseg.build import cite
    from dmseg.manifests import read_manifest

    manifest = read_manifest(bench)
    text = cite(dataclasses.replace(manifest, info={**manifest.info, "synthetic": []}))
    for name in ("BUSI", "CHAOS"):
        assert datasets.recipe(name).citation.strip() in text
        assert datasets.recipe(name).licence in text


def test_build_without_raw_uses_the_phantom_edition_and_says_so(tmp_path, capsys, monkeypatch):
    from dmseg.build import phantom_edition, run

    monkeypatch.setenv("DMSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(run, "phantom_raw", lambda track: phantom_edition.phantom_raw(1, track=track))
    assert leave("build", "--out", tmp_path / "b", "--datasets", "BUSI", "--levels", "clear") == 0
    assert f"using the phantom edition in {tmp_path / 'cache'}" in capsys.readouterr().err
    assert set(open_benchmark(tmp_path / "b").images.dataset) == {"BUSI"}


def test_the_help_of_each_command_has_an_example(capsys):
    for name in ("build", "verify", "cite"):
        assert leave(name, "--help") == 0
        assert f"dmseg {name} " in capsys.readouterr().out.split("Example", 1)[1]
