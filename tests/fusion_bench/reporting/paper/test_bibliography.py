"""The bibliography: everything that is registered has a reference, and it is the one that a module declares."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable

import pytest

from fusion_bench.registries import DATASETS, MODULES, NETWORKS
from fusion_bench.registry import Registry
from fusion_bench.reporting.paper.bibliography import (
    bibliography,
    known_references,
    references_of_arm,
    references_of_data,
)
from fusion_bench.results.results import StudyResults

Make = Callable[..., StudyResults]


def names(registry: Registry[object]) -> list[str]:
    return [getattr(entry, "name", str(entry)) for entry in registry.entries()]


@pytest.mark.parametrize(("kind", "registry"), [("module", MODULES), ("network", NETWORKS)])
def test_every_component_has_the_reference_that_it_declares(kind: str, registry: Registry[object]) -> None:
    for name in names(registry):
        citation = registry.load(name).citation  # type: ignore[attr-defined]
        references = known_references()[f"{kind}:{name}"]
        assert len(references) == 1, name
        fields = references[0].fields
        assert re.sub(r"[{}]", "", fields["title"]) == citation.title, name
        assert (fields["year"], fields["url"]) == (str(citation.year), citation.url), name
        assert citation.venue in fields.get("booktitle", "") + fields.get("journal", ""), name
        first = citation.authors.split(" et al.")[0].split(" and ")[0]
        assert fields["author"].startswith(first), name


def test_every_data_set_has_a_reference() -> None:
    assert not [name for name in names(DATASETS) if f"data:{name}" not in known_references()]  # type: ignore[arg-type]


def test_nothing_else_is_listed() -> None:
    registered = {f"module:{name}" for name in names(MODULES)}  # type: ignore[arg-type]
    registered |= {f"network:{name}" for name in names(NETWORKS)}  # type: ignore[arg-type]
    registered |= {f"data:{name}" for name in names(DATASETS)}  # type: ignore[arg-type]
    assert set(known_references()) == registered | {"statistics"}


def test_a_study_cites_its_arms_its_data_and_the_correction_once(make_results: Make) -> None:
    text = bibliography(make_results())
    keys = re.findall(r"^@\w+\{([^,]+),$", text, flags=re.MULTILINE)
    assert {"luo2024laconv", "perez2018film", "benyounes2019block", "holm1979"} <= set(keys)
    assert len(set(keys)) == len(keys)
    assert text.count("{") == text.count("}")


def test_what_is_not_registered_here_has_its_own_words(make_results: Make) -> None:
    results = make_results()
    foreign = dataclasses.replace(
        results.arms[0], component="my_{module}.py", citation="Me & You, arXiv 2030"
    )
    (reference,) = references_of_arm(foreign)
    assert reference.key == "component-my-module-py"
    assert reference.fields["note"] == r"Me \& You, arXiv 2030"
    (lone,) = references_of_arm(dataclasses.replace(foreign, component="half{open", citation="a}b{c}{"))
    assert lone.fields["title"] == r"{half\textbraceleft{}open}"
    written = lone.bibtex().strip().removeprefix("@misc")
    *depths, last = itertools.accumulate((sign == "{") - (sign == "}") for sign in written)
    assert last == 0 < min(depths), "BibTeX counts a brace behind a backslash too"
    assert references_of_arm(dataclasses.replace(foreign, citation="")) == ()
    setup = (("Data", "own_data% 3, images at 8x8: nothing"),)
    (data,) = references_of_data(dataclasses.replace(results, setup=setup))
    assert (data.key, data.fields["title"]) == ("data-own-data", r"{own\_data\% 3}")
    assert references_of_data(dataclasses.replace(results, setup=())) == ()
