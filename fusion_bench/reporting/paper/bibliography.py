"""The references of what a study compares and of its data, as BibTeX."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from fusion_bench.reporting.paper.latex_text import latex
from fusion_bench.results.results import ArmSummary, StudyResults

_DATA = "Data"


@dataclass(frozen=True)
class BibEntry:
    """One entry of a bibliography.

    Attributes:
        key: the key of ``\\cite``.
        kind: the BibTeX type (``article``, ``inproceedings``, ``misc``).
        fields: name -> value, in the order in which they are written.
    """

    key: str
    kind: str
    fields: Mapping[str, str]

    def bibtex(self) -> str:
        """Return the entry."""
        lines = [f"  {name} = {{{value}}}," for name, value in self.fields.items()]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"]) + "\n"


@functools.cache
def known_references() -> Mapping[str, tuple[BibEntry, ...]]:
    """Return ``module:NAME``, ``network:NAME``, ``data:NAME`` or ``statistics`` -> the references of each."""
    text = files("fusion_bench.reporting.paper").joinpath("references.toml").read_text(encoding="utf-8")
    found: dict[str, list[BibEntry]] = {}
    for key, entry in tomllib.loads(text).items():
        fields = {name: str(value) for name, value in entry.items() if name not in {"of", "type"}}
        for cited_by in entry["of"]:
            found.setdefault(cited_by, []).append(BibEntry(key, entry["type"], fields))
    return {name: tuple(references) for name, references in found.items()}


def references_of_arm(arm: ArmSummary) -> tuple[BibEntry, ...]:
    """Return the references of an arm's module or network.

    One that is not registered here has a reference with the short citation that it declares; none without one.
    """
    known = known_references()
    for kind in ("module", "network"):
        if found := known.get(f"{kind}:{arm.component}"):
            return found
    if not arm.citation:
        return ()
    key = "component-" + (re.sub(r"[^A-Za-z0-9]+", "-", arm.component).strip("-") or "of-arm")
    return (BibEntry(key, "misc", {"title": f"{{{_field(arm.component)}}}", "note": _field(arm.citation)}),)


def references_of_data(results: StudyResults) -> tuple[BibEntry, ...]:
    """Return the references of the data set of a study: those known, else one with its name and version."""
    sentence = dict(results.setup).get(_DATA, "")
    named = sentence.partition(",")[0].strip()
    name = named.partition(" ")[0]
    if not name:
        return ()
    if found := known_references().get(f"data:{name}"):
        return found
    key = "data-" + (re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "set")
    return (BibEntry(key, "misc", {"title": f"{{{_field(named)}}}", "note": "Data set"}),)


def _field(text: str) -> str:
    """Return free text as LaTeX for a field; BibTeX counts every brace, also one behind a backslash."""
    return latex(text).replace(r"\{", r"\textbraceleft{}").replace(r"\}", r"\textbraceright{}")


def bibliography(results: StudyResults) -> str:
    """Return the BibTeX file of a study: its arms and controls, its data, and the correction of its p-values."""
    cited: dict[str, BibEntry] = {}
    groups: Sequence[Sequence[BibEntry]] = (
        *map(references_of_arm, results.arms),
        references_of_data(results),
        known_references()["statistics"],
    )
    for reference in (reference for group in groups for reference in group):
        cited.setdefault(reference.key, reference)
    return "\n".join(reference.bibtex() for reference in cited.values())
