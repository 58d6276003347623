"""The reader of NLVR's sentence files: one JSON object per line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_bench.data.annotations.json_stream import has_half_pair
from fusion_bench.data.files import read_utf8
from fusion_bench.errors import DataError

_IDENTIFIER = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True, slots=True)
class NlvrExample:
    """One line of a sentences file; ``directory`` is None where the release does not give it (split hidden)."""

    group: str
    position: str
    sentence: str
    label: str
    picture: str
    directory: str | None


def read_nlvr_examples(path: Path) -> list[NlvrExample]:
    """Read a file with one JSON object per line; blank lines are skipped."""
    examples: list[NlvrExample] = []
    # Other line ends of Unicode, at which splitlines() would cut, may stand in a sentence.
    for number, line in enumerate(read_utf8(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if has_half_pair(record, line):
                raise ValueError("a text contains half of a surrogate pair, such as \\ud83d")
            examples.append(_example(record))
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is not JSON: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            detail = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{path}, line {number} is not an NLVR example: {detail}") from error
    if not examples:
        raise DataError(f"{path} contains no example")
    if len({(example.group, example.position) for example in examples}) != len(examples):
        raise DataError(f"{path} contains an identifier twice")
    return examples


def _example(record: Mapping[str, Any]) -> NlvrExample:
    identifier = _IDENTIFIER.fullmatch(record["identifier"])
    if identifier is None:
        raise ValueError(f"the identifier {record['identifier']!r} is not of the form n-m")
    if record["label"] not in {"true", "false"}:
        raise ValueError(f"the label {record['label']!r} is neither 'true' nor 'false'")
    if not isinstance(record["sentence"], str):
        raise ValueError("the sentence is not text")
    return NlvrExample(
        identifier[1],
        identifier[2],
        record["sentence"],
        record["label"],
        _picture_type(record["structured_rep"]),
        record.get("directory"),
    )


def _picture_type(boxes: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    stacked = all((o["type"], o["size"], o["x_loc"]) == ("square", 20, 40) for box in boxes for o in box)
    return "tower" if stacked else "scatter"
