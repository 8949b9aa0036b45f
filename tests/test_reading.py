"""Strict readers: what is no regular file, no strict JSON, or no TOML is one error that names the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dmseg.errors import DataError
from dmseg.reading import parse_json, read_json, read_regular, read_toml, show_name
from dmseg.schemas import Items, Number, Optional, Record, Text, find_problems

BAD_JSON = {
    "key twice": '{"a": 1, "a": 2}',
    "NaN": "NaN",
    "infinity": "[-Infinity]",
    "overflow": "[1e999]",
    "huge whole number": "9" * 5000,
    "beyond 64 bit": str(2**63),
    "surrogate": '"\\ud800"',
    "surrogate key": '{"\\udfff": 1}',
    "deep list": "[" * 100_000,
    "deep objects": '{"a":' * 50 + "1" + "}" * 50,
    "cut off": '{"a": ',
    "empty": "",
    "not UTF-8": b"\xff\xfe{}",
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_json_that_is_not_strict_is_refused_with_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    content = BAD_JSON[name]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=r"x\.json"):
        read_json(path)


def test_good_json_comes_back_as_it_is() -> None:
    value = {"a": [1, -2.5, True, None, "é"], "b": {"c": 2**63 - 1}}
    assert parse_json('{"a": [1, -2.5, true, null, "é"], "b": {"c": 9223372036854775807}}', "x") == value


def test_a_pipe_is_refused_at_once_and_a_link_where_asked(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "real").write_text("{}")
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(DataError, match="a pipe"):
        read_json(tmp_path / "pipe")
    with pytest.raises(DataError, match="a device"):
        read_json(Path("/dev/zero"))
    with pytest.raises(DataError, match="a folder"):
        read_json(tmp_path)
    assert read_json(tmp_path / "link") == {}
    with pytest.raises(DataError, match="symbolic link"):
        read_json(tmp_path / "link", links=False)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1" * 101)
    with pytest.raises(DataError, match="101 bytes; at most 100"):
        read_regular(tmp_path / "x", limit=100)


@pytest.mark.parametrize(
    "text", ["a = nan", "a = inf", "a = 1e999", "a = 99999999999999999999", "a = ", "a=" + "[" * 5000]
)
def test_toml_with_numbers_that_are_none_or_too_deep_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(DataError, match=r"x\.toml"):
        read_toml(tmp_path / "x.toml")


def test_names_that_are_no_text_are_shown(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff.json")
    assert show_name(name) == "a\\xff.json"
    (tmp_path / name).write_text("nope")
    with pytest.raises(DataError, match=r"a\\xff\.json") as caught:
        read_json(tmp_path / name)
    str(caught.value).encode()


def test_problems_name_their_field() -> None:
    shape = Record(
        {"name": Text(5), "steps": Items(Number(1, 9), 3, distinct=True), "x": Optional(Number(0, 1, False))}
    )
    assert find_problems({"name": "abc", "steps": [1, 2]}, shape) == []
    value = {"name": "ab\u202ec", "steps": [1, 1, True], "x": -1, "y": 0}
    fields = [problem.split(" ", 1)[0] for problem in find_problems(value, shape)]
    assert fields == ["name", "steps[2]", "steps", "x", "y"]
    assert find_problems([], shape) == ["it is []; an object"]
