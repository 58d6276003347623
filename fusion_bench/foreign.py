"""Runs code of others (a module file, an installed package) so that a fault in it is one sentence with a place."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType, TracebackType

from fusion_bench.errors import FusionBenchError

_LONGEST = 300  # characters of an error's message
# A step inside these two files is no place of a fault: they import what a study names.
_IMPORTERS = frozenset({"fusion_bench.foreign", "fusion_bench.registry"})


@contextmanager
def foreign_streams(program: str | None = None) -> Iterator[None]:
    """Hide this program's arguments and its standard output from the code that runs inside.

    A module that parses arguments would read ours, and end the program over them; what a module prints would break a
    command's JSON, so it goes to standard error.

    Args:
        program: what the code finds as ``sys.argv[0]``; None leaves ours.
    """
    arguments = sys.argv
    sys.argv = [*arguments[:1]] if program is None else [program]
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.argv = arguments


@contextmanager
def importing(module: str, shown: str, intro: str, folder: Path | None = None) -> Iterator[None]:
    """Turn whatever goes wrong inside, a call of ``sys.exit`` included, into one sentence.

    Args:
        module: the name of the module that is imported.
        shown: what a sentence calls the module's file where the error does not name it.
        intro: what was wanted, for an error that has no place in the package of the module.
        folder: the folder of a module file, whose other files the module cannot import.

    Raises:
        FusionBenchError: the code raised; the message holds the file and the line of the fault.
    """
    try:
        with foreign_streams(shown):
            yield
    except KeyboardInterrupt:  # the user's own wish
        raise
    except BaseException as error:  # code of others may raise anything
        place = _place(error, module, shown)
        raise FusionBenchError(f"{place or intro}: {_reason(error, place, folder)}") from error


def read_module_file(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the text of a Python file, and the names of the classes that it defines.

    A file in another encoding than UTF-8 is read if it names its encoding in its first lines, as Python does.

    Raises:
        FusionBenchError: the file cannot be read or is not Python; the message holds the line.
    """
    try:
        if not path.is_file():
            path.stat()  # a file that is not there raises its own error
            raise FusionBenchError(f"cannot read the module file {path}: it is no file")
        content = path.read_bytes()
    except OSError as error:
        raise FusionBenchError(f"cannot read the module file {path}: {error.strerror}") from error
    try:
        source = importlib.util.decode_source(content)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise FusionBenchError(f"{path}, {_undecoded(content, error)}") from error
    try:
        tree = ast.parse(source, filename=str(path))
    except SyntaxError as error:
        raise FusionBenchError(f"{path}, line {error.lineno or 1}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte; brackets nested thousands deep
        raise FusionBenchError(f"{path}: this cannot be read as Python ({message_of(error)})") from error
    return source, tuple(node.name for node in tree.body if isinstance(node, ast.ClassDef))


def _undecoded(content: bytes, error: SyntaxError | UnicodeDecodeError) -> str:
    """Return the line of a Python file that is not text in the file's encoding, and what to do."""
    remedy = "save the file as UTF-8, or name its encoding in the first line (# coding: latin-1)"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as first:
        line = content.count(b"\n", 0, first.start) + 1
        return f"line {line}: this is not UTF-8 text; {remedy}"
    if isinstance(error, SyntaxError):  # the first line names an encoding that Python does not know
        return f"line 1: {error.msg}; {remedy}"
    line = content.count(b"\n", 0, error.start) + 1
    return f"line {line}: this is not {error.encoding} text; {remedy}"


def name_of_text(source: str) -> str:
    """Return the name that the module of a copied text has in this process, made from its content."""
    return f"fusion_bench_file_{hashlib.sha256(source.encode()).hexdigest()[:16]}"


def run_text(name: str, source: str) -> ModuleType:
    """Execute the copied text of a module file once a process, as the module ``name``."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_loader(name, loader=None)
        assert spec is not None  # noqa: S101 - a spec is always made for a plain name
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            # The user named this file in the study; running it is what they asked for.
            exec(compile(source, f"<{name}>", "exec"), module.__dict__)  # noqa: S102
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def message_of(error: BaseException) -> str:
    """Return an exception in one line: its type and the first line of its message, shortened."""
    if isinstance(error, SystemExit):
        return f"it ends the program (sys.exit({error.code!r}))"[:_LONGEST]
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line[:_LONGEST]}" if line else type(error).__name__


def _place(error: BaseException, module: str, shown: str) -> str:
    """Return file and line of the last step inside the package of ``module``; of the syntax error, if it is there."""
    if frame := _last_frame(error.__traceback__, module.partition(".")[0]):
        file, line = frame
        return f"{shown if file.startswith('<') else file}, line {line}"
    if isinstance(error, SyntaxError) and error.filename is not None and error.lineno is not None:
        file = shown if error.filename.startswith("<") else error.filename
        return f"{file}, line {error.lineno}"
    return ""


def _last_frame(traceback: TracebackType | None, package: str) -> tuple[str, int] | None:
    found = None
    while traceback is not None:
        frame = traceback.tb_frame
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] == package and name not in _IMPORTERS:
            found = (frame.f_code.co_filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def _reason(error: BaseException, place: str, folder: Path | None) -> str:
    if isinstance(error, FusionBenchError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        top = error.name.partition(".")[0]
        if folder is not None and ((folder / f"{top}.py").exists() or (folder / top).exists()):
            return (
                f"there is no module {error.name!r}: a module file goes into each cell alone, without the files "
                "beside it; write all into one file, or install them as a package"
            )
        return f"there is no module {error.name!r}; install the package that holds it"
    if isinstance(error, SyntaxError):
        elsewhere = f"{error.filename}, line {error.lineno}"
        in_a_file = error.filename is not None and not error.filename.startswith("<")
        return f"{elsewhere}: {error.msg}" if in_a_file and place != elsewhere else str(error.msg)
    if isinstance(error, SystemExit):
        return f"{message_of(error)}; a module that is imported may not"
    return message_of(error)
