"""The content of ``study.json`` of a published folder, checked before anything is made from it.

A published folder may come from somebody else. The types that are checked are those of
`fusion_bench.results.results.StudyResults`, so that the file and the results cannot drift apart.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, NotRequired, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from fusion_bench.errors import FusionBenchError
from fusion_bench.results.results import StudyResults
from fusion_bench.spec.contexts import report_folder, slug
from fusion_bench.statistics.sequential import Stages, planned_looks
from fusion_bench.storage import read_json

REPORT_FORMAT = 1
TABLES = ("cells", "values", "samples", "curves", "floor_scores", "browsed", "thumbnails")
"""The tables of a study that have a file of their own."""


class Picture(TypedDict):
    """A sample that the report shows; ``image`` is a path inside the folder."""

    sample: str
    split: str
    image: str
    text: str
    truth: str
    height: NotRequired[float | None]
    width: NotRequired[float | None]


class Floor(TypedDict):
    """A baseline without training."""

    name: str
    split: str
    accuracy: float
    description: str


class ExpectedValue(TypedDict):
    """A published or earlier value."""

    arm: str
    metric: str
    split: str
    value: float
    source: str


RECORDS: Mapping[str, type] = {"pictures": Picture, "floors": Floor, "expected": ExpectedValue}
"""The tables of a study that are rows of ``study.json``."""


def read_published_study(folder: Path) -> dict[str, Any]:
    """Return the values of ``study.json``, by the names of `StudyResults`; ``contexts`` holds the labels alone.

    Raises:
        FusionBenchError: the file is missing, is not JSON, has another format, or lacks what a study has.
    """
    file = folder / "study.json"
    content = read_json(file)
    if not isinstance(content, dict):
        raise FusionBenchError(f"{file} does not describe a study: it is no mapping")
    if content.get("format") != REPORT_FORMAT:
        raise FusionBenchError(
            f"{folder} has another report format; rebuild it with the version of fusion-bench that wrote it"
        )
    try:
        study: dict[str, Any] = _checked().validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise FusionBenchError(f"{file} does not describe a study: {where}: {first['msg']}") from error
    _check_names(file, study)
    del study["format"]
    return study


def _check_names(file: Path, study: Mapping[str, Any]) -> None:
    labels = [arm.label for arm in study["arms"]]
    contexts = study.get("contexts", {})
    folders = [slug(label) for label in contexts]
    lacks_overlap = study.get("shows", "text") != "text" and "iou" not in study.get("measures", ())
    stages: Stages | None = study.get("stages")
    in_looks = (
        [] if stages is None else [arm for look in stages.taken for arm in (*look.arms, *look.left_out)]
    )
    wrong = (
        "two arms have one label"
        if len({*labels}) < len(labels)
        else f"there is no arm {study['reference'][:80]!r}, which is the reference"
        if study["reference"] not in labels
        else f"it has looks at {in_looks[0][:80]!r}, which is no arm"
        if (in_looks := [arm for arm in in_looks if arm not in labels])
        else "its looks are not those of their numbers of seeds"
        if stages is not None and not _are_looks(stages)
        else "two contexts have one folder, or a context has none"
        if len({*folders}) < len(folders) or "" in folders
        else "a context has another folder than that of its label"
        if list(contexts.values()) != [report_folder(label) for label in contexts]
        else "it shows boxes or masks without their overlap (iou)"
        if lacks_overlap
        else ""
    )
    if wrong:
        raise FusionBenchError(f"{file} does not describe a study: {wrong}")


def _are_looks(stages: Stages) -> bool:
    """Return True if the planned looks spend 5 % by the rule, and those taken are the first of them."""
    try:
        planned = planned_looks([look.seeds for look in stages.planned])
    except ValueError:
        return False
    taken = [(look.seeds, look.alpha) for look in stages.taken]
    alike = all(
        math.isclose(one.alpha, look.alpha) for one, look in zip(planned, stages.planned, strict=True)
    )
    return alike and taken == [(look.seeds, look.alpha) for look in stages.planned[: len(taken)]]


@functools.cache
def _checked() -> TypeAdapter[dict[str, Any]]:
    """Return the validator of the file: every field of `StudyResults` that has no table of its own."""
    hints = get_type_hints(StudyResults)
    special: dict[str, Any] = {"contexts": dict[str, str]}
    special |= {name: Sequence[kind] for name, kind in RECORDS.items()}  # type: ignore[valid-type]
    shape: dict[str, Any] = {"format": Literal[1]}
    for item in fields(StudyResults):
        if item.name in TABLES:
            continue
        optional = item.default is not MISSING or item.default_factory is not MISSING
        hint = special.get(item.name, hints[item.name])
        shape[item.name] = NotRequired[hint] if optional else hint
    strict = ConfigDict(extra="forbid", hide_input_in_errors=True)
    return TypeAdapter(with_config(strict)(TypedDict("PublishedStudy", shape)))  # type: ignore[operator]


def inside(folder: Path, written: str) -> Path:
    """Return the path of a file or folder of a published folder.

    Raises:
        FusionBenchError: it lies outside the folder, by itself or by a link.
    """
    path = folder / written
    try:
        leaves = not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a circle of links; a name with a null byte
        leaves = True
    if leaves or Path(written).is_absolute() or ".." in Path(written).parts:
        raise FusionBenchError(
            f"{folder} names {written[:200]!r}, which lies outside of it; a report is made only from files of its "
            "own folder"
        )
    return path
