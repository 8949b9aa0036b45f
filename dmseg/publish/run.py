"""A finished run as a folder to publish: what a submission is, with a card, metadata and the figures."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path

from dmseg.files import write_text
from dmseg.leaderboard.entries import RUN_FILES
from dmseg.publish.benchmark import write_folder
from dmseg.publish.card import run_card, zenodo_record
from dmseg.publish.croissant import describe_tables
from dmseg.results import model_table
from dmseg.results.runs import open_run, run_digest


def publish_run(run: Path, out: Path, *, date: datetime.date, creator: str = "The dmseg users") -> Path:
    """Write a finished run to a new folder; times and host names stay behind.

    Args:
        run: the run folder.
        out: a folder that does not exist yet, or is empty.
        date: of publication; ``creator``: who publishes.

    Raises:
        UsageError: the folder holds something.
        DataError: no finished run, or a damaged one.
    """
    opened = open_run(run)
    info = opened.info
    title = f"{info['model']['name']} on {info['benchmark']['edition']} {info['benchmark']['version']}"
    with write_folder(out) as folder:
        for name in RUN_FILES:
            if (run / name).is_file():
                shutil.copyfile(run / name, folder / name)
        record = zenodo_record(title, f"Results of an evaluation: {title}.", creator, date)
        write_text(folder / ".zenodo.json", json.dumps(record, indent=2) + "\n")
        tables = [folder / f"{name}.parquet" for name in ("steps", "prompts", "inputs")]
        croissant = describe_tables(folder, title, creator, date, [path for path in tables if path.is_file()])
        write_text(folder / "croissant.json", json.dumps(croissant, indent=2) + "\n")
        figures = model_table.build_tables([opened], model_table.LAYOUTS["table1"], drop=True)
        text = "\n\n".join(model_table.format_markdown(table) for table in figures)
        write_text(folder / "README.md", run_card(info, run_digest(run), text))
    return out
