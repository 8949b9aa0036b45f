"""Pandas pickles read as data: nothing in them is executed, and pixels are read only when asked for.

``pandas.read_pickle`` runs whatever a pickle says and holds all of it in memory. Here the pickle is walked by an
unpickler for which every name is an inert :class:`Pickled` class, and names outside pandas and numpy are refused. Byte
strings are not read but remembered by their place in the file, so that a table of a thousand images costs kilobytes
until one array is loaded.
"""

from __future__ import annotations

import functools
import json
import math
import pickle
import struct
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import ImageFileError
from dmseg.imaging import check_size

_PACKAGES = ("pandas", "numpy")
_OTHER_NAMES = ("builtins.slice", "__builtin__.slice", "copyreg._reconstructor", "builtins.bytearray", "_codecs.encode")
# For a file of one's own; whoever gets a table from others should not unpickle it.
_SAVE_AGAIN = (
    "if you made this table yourself, save it again: table.columns = table.columns.astype(object); "
    'table.astype(object).to_pickle("FILE.pkl", protocol=4)'
)


@dataclass(frozen=True, slots=True)
class Span:
    """A byte string that stays in the file."""

    offset: int
    length: int


class Pickled:
    """An object of the pickle as inert data: ``arguments`` it was made from and ``state`` it was given."""

    qualified = ""

    def __new__(cls, *arguments: Any, **named: Any) -> Pickled:
        made = super().__new__(cls)
        made.arguments = arguments
        made.state = None
        return made

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.arguments: tuple[Any, ...]
        self.state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state


@dataclass(frozen=True, slots=True)
class StoredArray:
    """Where the values of a numeric array lie in its pickle."""

    offset: int
    length: int
    dtype: str
    shape: tuple[int, ...]
    fortran: bool

    def to_text(self) -> str:
        """Return this place as JSON."""
        return json.dumps(astuple(self))

    @staticmethod
    def from_text(text: str) -> StoredArray:
        """Read what :meth:`to_text` wrote."""
        offset, length, dtype, shape, fortran = json.loads(text)
        return StoredArray(offset, length, dtype, tuple(shape), fortran)

    def load(self, path: Path) -> NDArray[Any]:
        """Read a two-dimensional array from its pickle.

        Raises:
            ImageFileError: not two-dimensional, too large, not numeric, or the file ends before the array does.
        """
        if len(self.shape) != 2:
            raise ImageFileError(f"{path}: an array of shape {self.shape}, expected height x width")
        check_size(path, *self.shape)
        kind = np.dtype(self.dtype)
        if kind.kind not in "iufb" or self.length != math.prod(self.shape) * kind.itemsize:
            raise ImageFileError(f"{path}: an array of {self.dtype} whose size does not match its shape {self.shape}")
        with path.open("rb") as handle:
            handle.seek(self.offset)
            content = handle.read(self.length)
        if len(content) != self.length:
            raise ImageFileError(f"{path}: the file ends inside an array (truncated)")
        return np.frombuffer(content, dtype=kind).reshape(self.shape, order="F" if self.fortran else "C")


class _InertUnpickler(pickle._Unpickler):
    """The pure-Python unpickler without any import: names become Record classes, byte strings become spans."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # opcode -> method

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(file)
        self._source = file
        self._size = size

    def find_class(self, module: str, name: str) -> Any:
        qualified = f"{module}.{name}"
        if module == "copy_reg":
            raise pickle.UnpicklingError(f"it has pickle protocol 0 or 1; {_SAVE_AGAIN}")
        if module.split(".")[0] == "pyarrow":
            raise pickle.UnpicklingError(f"its texts are Arrow arrays, as pandas 3 stores them; {_SAVE_AGAIN}")
        if module.split(".")[0] not in _PACKAGES and qualified not in _OTHER_NAMES:
            raise pickle.UnpicklingError(f'it names "{qualified}", which a table of images has no use for; refused')
        return type(name, (Pickled,), {"qualified": qualified})

    def _span(self, length_bytes: int) -> None:
        length = int.from_bytes(self._source.read(length_bytes), "little")
        offset = self._source.tell()
        if offset + length > self._size:
            raise pickle.UnpicklingError("the file ends inside an array (truncated)")
        self._source.seek(length, 1)
        self.append(Span(offset, length))  # type: ignore[attr-defined]

    def _skip_frame_length(self) -> None:
        self._source.read(8)  # frames only help readers that read ahead; this one reads in place

    dispatch[pickle.SHORT_BINBYTES[0]] = functools.partial(_span, length_bytes=1)
    dispatch[pickle.BINBYTES[0]] = functools.partial(_span, length_bytes=4)
    dispatch[pickle.BINBYTES8[0]] = functools.partial(_span, length_bytes=8)
    dispatch[pickle.BYTEARRAY8[0]] = functools.partial(_span, length_bytes=8)
    dispatch[pickle.FRAME[0]] = _skip_frame_length


def read_columns(path: Path) -> dict[str, list[Any]]:
    """Return column name -> values of a pickled DataFrame; arrays inside are :class:`StoredArray`.

    Raises:
        ImageFileError: missing, truncated, no pickle, no DataFrame, or a pickle that names anything outside pandas
            and numpy.
    """
    try:
        with path.open("rb") as handle:
            table = _InertUnpickler(handle, path.stat().st_size).load()
        return _columns(table)
    except (pickle.UnpicklingError, EOFError) as error:
        raise ImageFileError(f"{path}: not readable as a pickled table: {error or 'it ends too early'}") from None
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be opened ({error.strerror})") from None
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError, ArithmeticError, struct.error) as error:
        # A walk over arbitrary bytes can fail in any of these ways; all mean that this is not the expected table.
        raise ImageFileError(f"{path}: not the pickled DataFrame that was expected ({error})") from None


def _columns(table: Any) -> dict[str, list[Any]]:
    if not isinstance(table, Pickled) or not table.qualified.endswith(".DataFrame"):
        raise ValueError(f"it holds {getattr(table, 'qualified', type(table).__name__)}")
    manager = table.state.get("_mgr", table.state.get("_data"))
    axes, blocks = _axes_and_blocks(manager)
    names = [str(name) for name in _elements(axes[0])]
    found: dict[str, list[Any]] = {}
    for values, places in blocks:
        elements = _elements(values)
        rows = len(elements) // len(places) if places else 0
        for k, place in enumerate(places):
            found[names[place]] = [_simple(item) for item in elements[k * rows : (k + 1) * rows]]
    return found


def _axes_and_blocks(manager: Pickled) -> tuple[Any, list[tuple[Any, list[int]]]]:
    """Return the axes and (values, column numbers) of each block of object columns, for pandas from 1.0 on."""
    if manager.arguments:
        made_from, axes = manager.arguments[:2]
        pairs = [block.arguments[:2] for block in made_from]
    else:
        described: Mapping[str, Any] = manager.state[3]["0.14.1"]
        axes = described["axes"]
        pairs = [(block["values"], block["mgr_locs"]) for block in described["blocks"]]
    return axes, [(values, _places(place)) for values, place in pairs if _objects(values) is not None]


def _places(place: Any) -> list[int]:
    """Return column numbers from a slice, an array of numbers kept in the file being no case of object columns."""
    if isinstance(place, Pickled) and place.qualified.endswith("slice"):
        return list(range(*place.arguments))
    if isinstance(place, Pickled) and place.qualified.endswith("BlockPlacement"):
        return _places(place.arguments[0])
    raise ValueError("its columns are not stored side by side")


def _objects(value: Any) -> list[Any] | None:
    """Return the elements of the first object array inside a record (an index, a string array), in C order."""
    for record in _records(value):
        if record.qualified.endswith("._reconstruct") and isinstance(record.state, tuple):
            content = record.state[4]
            if isinstance(content, list):
                return content
    return None


def _elements(value: Any) -> list[Any]:
    found = _objects(value)
    if found is None:
        raise ValueError("its columns have no names")
    return found


def _records(value: Any) -> Iterator[Pickled]:
    """Yield a record and those in its arguments and state, depth first."""
    if isinstance(value, Pickled):
        yield value
        if not value.qualified.endswith("._reconstruct"):
            yield from _records(value.arguments)
            yield from _records(value.state)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _records(item)
    elif isinstance(value, dict):
        yield from _records(list(value.values()))


def _simple(item: Any) -> Any:
    """Return an element as it is, or a numeric array as its place in the file."""
    if not isinstance(item, Pickled):
        return item
    if item.qualified.endswith("._reconstruct"):
        _, shape, dtype, fortran, content = item.state
    elif item.qualified.endswith("._frombuffer"):
        content, dtype, shape, order = item.arguments
        fortran = order == "F"
    else:
        raise ValueError(f"a cell holds {item.qualified}")
    content = content.arguments[0] if isinstance(content, Pickled) and content.arguments else content
    if not isinstance(content, Span):
        raise ValueError(f"it has pickle protocol 2, which stores no bytes; {_SAVE_AGAIN}")
    byte_order = dtype.state[1] if dtype.state else "|"
    return StoredArray(content.offset, content.length, byte_order + dtype.arguments[0], tuple(shape), bool(fortran))
