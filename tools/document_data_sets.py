"""``docs/reference/data_sets.md``: every registered data set, what it is read from and which studies use it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from fusion_bench.registries import DATASETS
from fusion_bench.registry import Registry
from fusion_bench.samples.dataset import DataSet

_HEAD = """\
# Data sets

Written by `python tools/document.py` from the registered data sets; do not edit.

An adapter reads the files as they were published. Say where they are with `data.root` in the study, with
`--data NAME=FOLDER`, or with the environment variable `FUSION_BENCH_DATA_NAME` (`+` is written `_PLUS`); then
`fusion-bench data verify NAME --root FOLDER` says what is missing. A data set that makes its own files needs none of
it, nor does one whose files are in an installed package. The questions of `miniclevr`, `miniclevr_cogent` and
`miniclevr_cogent_b` are balanced: within each [stratum](../glossary.md), every answer is asked equally often. Their
`kinds` are a list or a [tier](../how-to/write_a_study.md#how-hard-the-questions-are): `locate`, `relate` or `reason`.
"""


def data_sets_page(studies: Path, datasets: Registry[DataSet] = DATASETS) -> str:
    """Return the page as Markdown; ``studies`` is the folder of the study files."""
    used = _used(studies)
    sections = [
        _section(name, entry.target.load(), entry.target.reference, used.get(name, []))
        for name, entry in datasets.entries().items()
    ]
    return "\n".join([_HEAD, *sections])


def _used(studies: Path) -> dict[str, list[str]]:
    """Study files by the data set that they name themselves."""
    found: dict[str, list[str]] = {}
    for file in sorted(studies.glob("*.yaml")):
        name = re.search(
            r"^data:(?:.*?\bname:|\s*(?:#.*)?\n  name:)\s*([\w+:.]+)", file.read_text("utf-8"), re.MULTILINE
        )
        if name:
            found.setdefault(name[1], []).append(f"studies/{file.name}")
    return found


def _section(name: str, cls: type[Any], reference: str, studies: list[str]) -> str:
    tasks = "; ".join(f"{task} ({', '.join(metrics)})" for task, metrics in cls.tasks.items())
    facts = {
        "Tasks and metrics, the default first": tasks,
        "Version": cls.version,
        "Cluster": cls.cluster,
        "Files": _files(cls),
        "Settings": _settings(cls),
        "Class": f"`{reference}`",
        "Studies": ", ".join(f"`{study}`" for study in studies) or "none in `studies/` names it",
    }
    listed = "\n".join(f"- {fact}: {value}" for fact, value in facts.items())
    summary = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0]
    return f"## `{name}`\n\n{' '.join(summary.split())}\n\n{listed}\n"


def _files(cls: type[Any]) -> str:
    """Return where the files come from."""
    if cls.built_in:
        return "made on this machine"
    package = f", in the package that `{cls.package.command}` installs" if cls.package else ""
    return f"<{cls.homepage}>{package}"


def _settings(cls: type[Any]) -> str:
    """Return every setting of the constructor with its default, or that it is required."""
    given = inspect.signature(cls.__init__).parameters.values()
    settings = [item for item in given if item.kind is inspect.Parameter.KEYWORD_ONLY]
    return ", ".join(_setting(item) for item in settings) or "none"


def _setting(item: inspect.Parameter) -> str:
    if item.default is inspect.Parameter.empty:
        return f"`{item.name}` (required)"
    return f"`{item.name}={item.default!r}`"
