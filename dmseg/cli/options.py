"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from dmseg.errors import UsageError, unknown_name
from dmseg.types import ALL_LEVELS, LEVELS, MODALITIES, SPLITS, TRACKS, Window, check_level, check_track


class CommaList(click.ParamType):  # type: ignore[type-arg]  # generic only from click 8.2 on
    """A comma-separated list of names: ``a,b,c`` -> ``("a", "b", "c")``."""

    name = "name,name,..."

    def __init__(self, known: Sequence[str] = ()) -> None:
        self._known = known

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the last name of the list."""
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(before + comma + name) for name in self._known if name.startswith(last)]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


def complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a model, for a shell."""
    from dmseg import baselines

    return [name for name in baselines.model_names() if name.startswith(incomplete)]


def complete_presets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a prompt preset, for a shell."""
    from dmseg import protocol

    return [name for name in protocol.PRESETS if name.startswith(incomplete)]


def complete_level(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete a level, for a shell."""
    return [level for level in LEVELS if level.startswith(incomplete)]


def complete_modality(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete a modality, for a shell."""
    return [modality for modality in MODALITIES if modality.startswith(incomplete)]


def _check_levels(ctx: click.Context, param: click.Parameter, value: tuple[str, ...] | None) -> tuple[str, ...]:
    chosen = {check_level(level, allowed=ALL_LEVELS) for level in value} if value else set(LEVELS)
    return tuple(level for level in ALL_LEVELS if level in chosen)


def check_level_option(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the id of one level that was typed."""
    return None if value is None else check_level(value)


def _check_splits(ctx: click.Context, param: click.Parameter, value: tuple[str, ...] | None) -> tuple[str, ...]:
    names = value or ()
    for name in names:
        if name not in (*SPLITS, "all"):
            raise unknown_name("split", name, (*SPLITS, "all"))
    return SPLITS if "all" in names else tuple(split for split in SPLITS if split in names)


def levels_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--levels clear,lq1,...`` -> tuple of level ids in benchmark order; default: all."""
    return click.option(
        "--levels",
        type=CommaList(ALL_LEVELS),
        callback=_check_levels,
        help="Comma-separated; default: all of the track.",
    )(function)


def _check_track(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else check_track(value)


track_option = click.option(
    "--track",
    callback=_check_track,
    default=None,
    help=f"{', '.join(TRACKS)}; default: of the data, or medical.",
)


def split_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--split train,seen,unseen,all`` -> tuple of split names."""
    return click.option(
        "--split",
        "splits",
        type=CommaList((*SPLITS, "all")),
        default=default,
        show_default=True,
        callback=_check_splits,
        help="Comma-separated: train, seen, unseen, all.",
    )


def _check_window(ctx: click.Context, param: click.Parameter, value: str | None) -> Window | None:
    """Read ``C/W``."""
    if value is None:
        return None
    try:
        center, width = (float(part) for part in value.split("/"))
    except ValueError:
        raise UsageError(f"--window {value}: give center/width, such as 40/400") from None
    if not width > 0:
        raise UsageError(f"--window {value}: the width must be above 0")
    return Window(center, width)


window_option = click.option(
    "--window",
    metavar="C/W",
    callback=_check_window,
    default=None,
    help="Grey window center/width, such as 40/400 HU.",
)
jobs_option = click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Worker processes.")


def _read_shard(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    from dmseg.jobs import read_shard

    return None if value is None else read_shard(value)


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--engine`` and ``--scheduler``: where the units of a long job run."""
    engine = click.option("--engine", default="loky", show_default=True, help="Where workers run: loky or dask.")
    address = click.option("--scheduler", default=None, metavar="ADDRESS", help="Of a dask cluster, for --engine dask.")
    return engine(address(function))


shard_option = click.option(
    "--shard", callback=_read_shard, default=None, metavar="I/N", help="Do every N-th unit of work, from the I-th on."
)
seed_option = click.option("--seed", type=int, default=0, show_default=True, help="Seed of all keyed randomness.")
limit_option = click.option("--limit", type=click.IntRange(min=1), default=None, help="At most N images per dataset.")
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
ANY_PATH = click.Path(path_type=Path)
