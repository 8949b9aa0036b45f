"""Models that users bring: importing them, checking them in words, and naming the code and files they are made of."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from dmseg.baselines.interface import CAPABILITIES, ModelAdapter, SelfTestAdapter
from dmseg.errors import DataError, ModelError, UsageError, suggestion, unknown_name
from dmseg.files import sha256_file

MOST_SOURCES = 2000
"""Local modules that are followed from a model's file; a project of more is named by its first ones."""


# ---------------------------------------------------------------- importing


def import_user_object(reference: str) -> Any:
    """Return what ``pkg.mod:Class`` or ``file.py:Class`` names.

    Modules beside the file, and packages in the working folder, can be imported by it, then and later; a file that
    reads the command line sees its own name and nothing else.

    Raises:
        UsageError: there is no such file, module or name.
        ModelError: running the code fails.
    """
    place, _, attribute = reference.rpartition(":")
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place, reference)
    if not hasattr(module, attribute):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise UsageError(f'{place} has no "{attribute}"{suggestion(attribute, names)}; it defines: {", ".join(names)}')
    return getattr(module, attribute)


def _import_module(place: str, reference: str) -> ModuleType:
    _let_import(Path.cwd())
    try:
        with _own_command_line(place):
            return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(f"{error.name}.")):
            raise UsageError(
                f'model "{reference}": no module "{place}" can be imported; give pkg.mod:Class of an installed '
                "package or one in the working folder, or file.py:Class"
            ) from None
        raise ModelError(f'model "{reference}": importing {place} failed: {error}') from error
    except (Exception, SystemExit) as error:
        raise ModelError(f'model "{reference}": importing {place} failed: {_describe(error)}') from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"{path}: no such file; a model of your own is given as file.py:Class")
    # One module per path, under a name of its own, so that it is loaded once and cannot shadow a package.
    name = f"dmseg_user_model_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path}: cannot be loaded as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _let_import(path.resolve().parent)
    try:
        with _own_command_line(str(path)):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ModelError(f"{path}: running the file failed: {_describe(error)}") from error
    return module


def _describe(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ended the program (sys.exit: {error.code}); a model is imported, it must not exit"
    if isinstance(error, ModuleNotFoundError):
        return f"{type(error).__name__}: {error}; install it in this environment, or run the model over a bridge"
    return f"{type(error).__name__}: {error}"


def _let_import(folder: Path) -> None:
    """Let modules of a folder be imported from now on, after all that is installed, so that none is shadowed."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


@contextmanager
def _own_command_line(program: str) -> Iterator[None]:
    """Hide dmseg's own arguments from code that parses the command line when it is imported."""
    before, sys.argv = sys.argv, [program]
    try:
        yield
    finally:
        sys.argv = before


# ---------------------------------------------------------------- checking


def check_user_model(model: Any, name: str) -> ModelAdapter:
    """Return a user's model if it has the interface; ``capabilities`` may be any collection of names.

    Raises:
        ModelError: what is missing or of the wrong kind, in words.
    """
    if isinstance(model, SelfTestAdapter):
        raise ModelError(f'model "{name}" is a self-test that sees the reference; only those of dmseg are run')
    lacking = [part for part in ("name", "capabilities", "encode", "predict") if not hasattr(model, part)]
    if lacking:
        raise ModelError(
            f'model "{name}" ({type(model).__name__}) lacks {", ".join(lacking)}; a model has name, capabilities, '
            "encode(images) and predict(embeddings, image_index, prompts, state): see docs/models.md"
        )
    if not isinstance(model.name, str) or not model.name.strip():
        raise ModelError(f'model "{name}": name is {model.name!r}; give a text')
    capabilities = _read_capabilities(model.capabilities, name)
    if model.capabilities != capabilities or not isinstance(model.capabilities, frozenset):
        try:
            model.capabilities = capabilities
        except AttributeError:
            raise ModelError(f'model "{name}": make capabilities a frozenset of {", ".join(CAPABILITIES)}') from None
    adapter: ModelAdapter = model
    return adapter


def _read_capabilities(given: Any, name: str) -> frozenset[str]:
    if isinstance(given, str):
        raise ModelError(
            f'model "{name}": capabilities is the text "{given}"; give a collection, such as {{"{given}"}}'
        )
    if isinstance(given, Mapping):
        given = [key for key, value in given.items() if value]
    if not isinstance(given, (list, tuple, set, frozenset)):
        raise ModelError(f'model "{name}": capabilities is {given!r}; give a set of {", ".join(CAPABILITIES)}')
    for capability in given:
        if capability not in CAPABILITIES:
            raise ModelError(f'model "{name}": {unknown_name("capability", str(capability), CAPABILITIES)}')
    return frozenset(given)


# ---------------------------------------------------------------- naming code and files


def source_digest(defined: Any) -> str | None:
    """Return the first 12 hex digits of the sha256 of the file that defines a class or function, or None."""
    path = _source_file(defined)
    return None if path is None else sha256_file(path)[:12]


def hash_sources(defined: Any) -> str | None:
    """Return one sha256 (64 hex digits) of the file that defines a class or function and of the local modules it
    imports, directly or not, at the top or inside of functions; None where there is no file, or it is dmseg's own.

    Local is what lies beside the file or in the working folder, and is not installed. What is imported by a computed
    name is not seen.
    """
    start = _source_file(defined)
    if start is None or str(getattr(defined, "__module__", "")).partition(".")[0] == "dmseg":
        return None
    roots = [start.resolve().parent, Path.cwd()]
    found = sorted(_follow_imports(start.resolve(), roots), key=str)
    digest = hashlib.sha256()
    for path in found:
        # Named by what it is called, not by where the project lies: a moved project is the same code.
        digest.update(f"{_name_below(path, roots)} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def hash_files(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return argument -> sha256 of each argument whose value is the path of a file."""
    found = {}
    for key, value in arguments.items():
        if isinstance(value, (str, Path)) and str(value):
            try:
                if Path(value).is_file():
                    found[key] = sha256_file(Path(value))
            except (OSError, ValueError):  # too long for a name, or with a zero byte: a text, and no path
                continue
    return found


def _source_file(defined: Any) -> Path | None:
    try:
        source = inspect.getsourcefile(defined)
    except TypeError:
        return None
    return Path(source) if source and Path(source).is_file() else None


def _name_below(path: Path, roots: Sequence[Path]) -> str:
    for root in roots:
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.name


def _follow_imports(start: Path, roots: Sequence[Path]) -> set[Path]:
    installed = {Path(place).resolve() for place in sysconfig.get_paths().values()}
    found, waiting = {start}, [start]
    while waiting and len(found) < MOST_SOURCES:
        path = waiting.pop()
        for name, level in _list_imports(path):
            if level == 0 and name.partition(".")[0] == "dmseg":
                continue  # named by its version in the record, wherever it lies
            bases = roots if level == 0 else [_parent_of(path, level)]
            for module in _find_modules(name, bases):
                if module not in found and not any(module.is_relative_to(place) for place in installed):
                    found.add(module)
                    waiting.append(module)
    return found


def _parent_of(path: Path, level: int) -> Path:
    for _ in range(level):
        path = path.parent
    return path


def _list_imports(path: Path) -> list[tuple[str, int]]:
    """Return the names that a file imports, dotted, with the number of leading dots."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return []  # it fails when it is imported, and says so there
    names: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            names += [(base, node.level)] if base else []
            names += [(f"{base}.{alias.name}".lstrip("."), node.level) for alias in node.names]
    return names


def _find_modules(name: str, bases: Sequence[Path]) -> Iterator[Path]:
    """Yield the files of a dotted name below one of the bases: of the module, and of the packages that hold it."""
    parts = name.split(".")
    for base in bases:
        for count in range(1, len(parts) + 1):
            place = base.joinpath(*parts[:count])
            for candidate in (place.with_suffix(".py"), place / "__init__.py"):
                if candidate.is_file():
                    yield candidate.resolve()
