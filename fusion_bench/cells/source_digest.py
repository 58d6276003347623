"""Digests of source code: equal for equal code, wherever the files lie and however they import each other.

Comments, docstrings and layout do not count. An import of one of the project's own modules counts by what is
imported and by the content of the module that defines it, not by that module's path.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

Statement = ast.Import | ast.ImportFrom


def source_digest(texts: Iterable[str]) -> str:
    """The first 16 hexadecimal digits of a SHA-256 over parsed source, in the order of ``texts``."""
    return _digest(_code(text) for text in texts)


@dataclass(frozen=True)
class Scope:
    """The modules that a digest covers.

    Attributes:
        followed: packages and modules whose imports are followed, by dotted prefix.
        skipped: modules among them that do not count.
    """

    followed: tuple[str, ...]
    skipped: frozenset[str] = frozenset()

    def covers(self, name: str) -> bool:
        """True if a module's content counts."""
        within = any(name == prefix or name.startswith(f"{prefix}.") for prefix in self.followed)
        return within and name not in self.skipped

    def owns(self, name: str) -> bool:
        """True for a module of the harness or of a package that the scope reaches into: its path does not count."""
        return name.partition(".")[0] in {"fusion_bench", *(p.partition(".")[0] for p in self.followed)}


@functools.lru_cache(maxsize=1024)  # asked for every cell of a study; sources are read once a process
def reachable_digest(starts: tuple[str, ...], scope: Scope) -> str:
    """Digest over the modules ``starts`` (dotted names) and all in ``scope`` that they import, in turn."""
    seen, waiting = set[str](), list(starts)
    while waiting:
        name = waiting.pop()
        if name in seen or not read_source(name):
            continue
        seen.add(name)
        waiting += [other for other in imported_names(name) if scope.covers(other)]
    contents = (_content(name, scope) for name in seen)
    return _digest(sorted(content for content in contents if content))


def developed_imports(text: str) -> tuple[str, ...]:
    """Return the modules that a module file imports and that may change under it, sorted.

    The standard library, the harness and packages in ``site-packages`` do not count: they change with their versions.
    """
    names = set[str]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return tuple(
        sorted(name for name in names if _is_developed(name.partition(".")[0]) and read_source(name))
    )


@functools.cache
def _is_developed(package: str) -> bool:
    if package in sys.stdlib_module_names or package == "fusion_bench":
        return False
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # ``__main__`` has no file
        return False
    places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
    return not any({"site-packages", "dist-packages"} & {*Path(place).parts} for place in places)


@functools.cache
def read_source(name: str) -> str:
    """The text of an importable module; empty for a class or a name that is no module.

    Read once a process: a file that is edited later is not what this process imported and runs.
    """
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return ""
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    return Path(spec.origin).read_text(encoding="utf-8")


@functools.cache  # the modules of one package import the same others
def imported_names(name: str) -> tuple[str, ...]:
    """Every dotted name that the source of a module may import from."""
    found: list[str] = []
    for node in ast.walk(ast.parse(read_source(name))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, name)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _base(node: ast.ImportFrom, importer: str) -> str:
    """The dotted name of the module that ``from ... import`` names."""
    package = importer if _is_package(importer) else importer.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return ".".join(filter(None, [package if node.level else "", node.module or ""]))


def _is_package(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.submodule_search_locations is not None


def _code(text: str) -> str:
    """Source without comments, docstrings and layout."""
    return ast.unparse(_stripped(ast.parse(text)))


def _stripped(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


class _OwnImportsRemoved(ast.NodeTransformer):
    """Replaces every import of the project's own packages by ``pass`` and keeps it in ``found``."""

    def __init__(self, importer: str, scope: Scope) -> None:
        self._importer, self._scope = importer, scope
        self.found: list[Statement] = []

    def visit_Import(self, node: ast.Import) -> ast.stmt:
        return self._visited(node, [alias.name for alias in node.names])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        return self._visited(node, [_base(node, self._importer)])

    def _visited(self, node: Statement, modules: list[str]) -> ast.stmt:
        if not all(map(self._scope.owns, modules)):
            return node
        self.found.append(node)
        return ast.Pass()


@functools.lru_cache(maxsize=1024)
def _split(name: str, scope: Scope) -> tuple[str, tuple[Statement, ...]]:
    """The code of a module without its own imports, and those imports; the code is empty if nothing is left.

    ``__all__`` goes too: it only lists names.
    """
    remover = _OwnImportsRemoved(name, scope)
    tree = remover.visit(_stripped(ast.parse(read_source(name))))
    kept = [node for node in tree.body if not isinstance(node, ast.Pass) and not _lists_names(node)]
    return ast.unparse(ast.Module(kept, [])), tuple(remover.found)


def _lists_names(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
    )


@functools.lru_cache(maxsize=1024)
def _content(name: str, scope: Scope) -> str:
    """The code of a module, and each of its own imports as imported name, local name, content of its module.

    Empty for a module that only hands on what others define.
    """
    code, _ = _split(name, scope)
    if not code:
        return ""
    lines = {
        f"import {symbol} as {local} {_digest([_split(home, scope)[0]]) if scope.covers(home) else ''}"
        for local, symbol, home in _own_imports(name, scope)
    }
    return "\n".join([*sorted(lines), code])


def _own_imports(name: str, scope: Scope) -> Iterator[tuple[str, str, str]]:
    """Local name, imported name and defining module of everything imported from the scope's own packages.

    The imported name of a whole module is empty.
    """
    for local, (module, symbol) in _named_imports(name, scope).items():
        yield local, *_definition(module, symbol, scope)


@functools.lru_cache(maxsize=1024)
def _named_imports(name: str, scope: Scope) -> dict[str, tuple[str, str]]:
    """Module and symbol that each local name is imported from, as written; the symbol of a module is empty."""
    found: dict[str, tuple[str, str]] = {}
    for node in _split(name, scope)[1]:
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: (alias.name, "") for alias in node.names}
            continue
        base = _base(node, name)
        for alias in node.names:
            module, local = f"{base}.{alias.name}", alias.asname or alias.name
            found[local] = (module, "") if read_source(module) else (base, alias.name)
    return found


def _definition(module: str, symbol: str, scope: Scope) -> tuple[str, str]:
    """The name and the module of a symbol where it is defined; a package's face may only hand it on."""
    visited = set[tuple[str, str]]()
    while symbol and (module, symbol) not in visited:
        visited.add((module, symbol))
        handed_on = _named_imports(module, scope).get(symbol) if scope.owns(module) else None
        if handed_on is None:
            break
        module, symbol = handed_on
    return symbol, module


def _digest(parts: Iterable[str]) -> str:
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(part.encode() + b"\0")
    return sha256.hexdigest()[:16]
