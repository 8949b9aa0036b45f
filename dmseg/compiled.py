"""Functions compiled by numba, whose code on disk is never that of another signature or of an older source.

numba numbers the files of a function's signatures, and writes in the index which number a signature has before it
writes the file. Processes that start at once then take the same number for two signatures, and one that is killed in
between leaves an index that leads to old code. Either is code for other arguments: a crash, or silently other numbers.
Here a file is named by what it was compiled from, and the index is written after it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile


def compile_function(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called; the code is kept on disk, and other threads run beside it."""
    return _keep(njit(cache=True, nogil=True)(function))


def compile_inline(function: Callable[..., Any]) -> Any:
    """Compile a function as :func:`compile_function` does, into every compiled function that calls it."""
    return _keep(njit(cache=True, nogil=True, inline="always")(function))


def compile_arithmetic(function: Callable[..., Any]) -> Any:
    """Compile a function as :func:`compile_function` does, for vectors: unchecked division, fused products."""
    return _keep(njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})(function))


def _keep(dispatcher: Any) -> Any:
    if getattr(dispatcher, "_cache", None) is not None:  # NUMBA_DISABLE_JIT leaves the plain function
        dispatcher._cache = _Cache(dispatcher.py_func)
    return dispatcher


class _Cache(FunctionCache):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        base, source = self._impl.filename_base, _digest_source(function.__code__.co_filename)
        self._cache_file = CodeFiles(cache_path=self._cache_path, filename_base=base, source_stamp=source)


class CodeFiles(IndexDataCacheFile):  # type: ignore[misc]
    """The files of one function, named by source and signature."""

    def save(self, key: Any, data: Any) -> None:
        """Keep the code of a signature; the index names it when it is there."""
        name = self._data_name(self._number(key))
        self._save_data(name, data)
        self._save_index({**self._load_index(), key: name})

    def _number(self, key: Any) -> int:
        content = repr((self._version, self._source_stamp, key)).encode()
        return int.from_bytes(hashlib.sha256(content).digest()[:8])


@functools.cache
def _digest_source(file: str) -> str:
    """Return the digest of a source file, which unlike its time tells every change."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
