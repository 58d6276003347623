"""Reading a study file: every section resolved and checked before anything trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_bench.registry import did_you_mean
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.catalogue import Catalogue, installed
from fusion_bench.spec.contexts import context_trees
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.schema import (
    SEARCH_SEEDS,
    BudgetSection,
    ExpectedSection,
    SearchSection,
    StudyFile,
)
from fusion_bench.spec.document.tree import Node
from fusion_bench.spec.document.yaml import read_study_tree
from fusion_bench.spec.recipes import apply_official_recipe
from fusion_bench.spec.resolve import ResolvedData, Resolver
from fusion_bench.spec.search_spaces import search_spaces
from fusion_bench.spec.study_arms import StudyArms
from fusion_bench.spec.warm_start import arms_with_start, read_source_study

if TYPE_CHECKING:
    from fusion_bench.spec.budget import Budget
from fusion_bench.spec.study import Expected, Search, Study


def load_study(path: Path, overrides: Sequence[str] = (), *, catalogue: Catalogue | None = None) -> Study:
    """Read a study file.

    Args:
        path: the file.
        overrides: ``a.b=c``, each through the same checks as the file; the value is YAML.
        catalogue: what the study may name; everything installed if left out.

    Raises:
        StudyFileError: with every mistake, one a line: place, key, what is wrong, what to write.
    """
    problems = Problems()
    tree = read_study_tree(path, overrides, problems)
    if tree is None:
        raise problems.error()
    tree = apply_official_recipe(tree, problems)
    known = catalogue or installed()
    changed = context_trees(tree, problems)
    study = _study(path, tree, known, problems)
    return replace(
        study, contexts={label: _study(path, inner, known, problems) for label, inner in changed.items()}
    )


def _study(path: Path, tree: Node, catalogue: Catalogue, problems: Problems) -> Study:
    """One study without its contexts.

    Raises:
        StudyFileError: something is wrong with it.
    """
    file = problems.section(StudyFile, tree)
    resolver = Resolver(tree, catalogue, problems)
    data = resolver.data()
    study_arms = StudyArms(tree, resolver, data, problems)
    reference = study_arms.reference()
    seeds = _seeds(tree)
    search = _search(tree, study_arms, data, seeds, resolver, problems)
    expected = _expected(tree, study_arms, data, problems)
    root = _root(tree, data, problems)
    source = read_source_study(tree, lambda other: load_study(other, catalogue=catalogue), problems)
    _check_report(tree, data, problems)
    if problems or file is None:
        raise problems.error()
    arms = study_arms.arms(reference)
    budget = _budget(tree, file.budget, study_arms, arms, resolver.weight_files, problems)
    if budget is not None:
        arms = tuple(budget.matched(arm) for arm in arms)
        _check_unlike(study_arms, arms, problems)
    if source is not None:
        arms = arms_with_start(arms, seeds, source, tree.children["start"], problems)
    if problems:
        raise problems.error()
    own_root = {} if root is None else {data.config.name: root}
    return Study(
        path=path,
        name=file.name,
        title=file.title,
        data=data.config,
        task=data.task,
        arms=arms,
        seeds=seeds,
        threads=file.threads,
        reference=reference,
        selection_metric=data.metrics[0],
        primary=file.report.primary or data.metrics[0],
        primary_split=file.report.split or data.instance.splits.evaluate[0],
        margin=file.report.margin,
        pictures=file.report.pictures,
        search=search,
        budget=budget,
        expected=expected,
        roots=own_root if source is None else {**source.roots, **own_root},
        weight_files={**({} if source is None else source.weight_files), **resolver.weight_files},
        source=source,
    )


def _seeds(node: Node, default: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The entry ``seeds`` as far as it can be read; what is wrong with it the schema says."""
    value = node.children["seeds"].plain() if "seeds" in node.children else list(default)
    if isinstance(value, int):
        return tuple(range(min(value, 1000)))
    return tuple(seed for seed in value if isinstance(seed, int)) if isinstance(value, list) else ()


def _search(
    tree: Node,
    study_arms: StudyArms,
    data: ResolvedData,
    seeds: Sequence[int],
    resolver: Resolver,
    problems: Problems,
) -> Search | None:
    node = tree.children.get("search")
    if node is None or node.value is None:
        return None
    if both := sorted({*_seeds(node, SEARCH_SEEDS)} & {*seeds}):
        where = node.children.get("seeds", node)
        named = ", ".join(map(str, both))
        problems.add(
            where, f"{named} would be both searched and confirmed; write seeds that the study has not"
        )
    match = tree.children.get("budget", tree.having({})).children.get("match")
    matched = match is not None and match.value in ("params", "flops")
    spaces = search_spaces(study_arms, tree, data, resolver, problems, matched=matched)
    section = problems.section(SearchSection, node)
    return None if section is None else Search(section.trials, section.batch, tuple(section.seeds), spaces)


def _expected(
    tree: Node, study_arms: StudyArms, data: ResolvedData, problems: Problems
) -> tuple[Expected, ...]:
    node = tree.children.get("expected")
    labels = (*study_arms.labels, *(arm.spec.label for arm in study_arms.resolved if arm.spec.control))
    found = []
    for item in node.value if node is not None and isinstance(node.value, list) else []:
        _known(item, "arm", labels, problems)
        _known(item, "metric", data.metrics, problems)
        _known(item, "split", data.judging, problems)
        section = problems.section(ExpectedSection, item)
        if section is not None:
            found.append(Expected(**section.model_dump()))
    return tuple(found)


def _check_report(tree: Node, data: ResolvedData, problems: Problems) -> None:
    node = tree.children.get("report", tree.having({}))
    _known(node, "primary", data.metrics, problems, "metric")
    _known(node, "split", data.judging, problems)


def _known(node: Node, key: str, names: Sequence[str], problems: Problems, kind: str | None = None) -> None:
    """The value at ``key``, if there is one, must be one of ``names`` (if those are known at all)."""
    found = node.children.get(key)
    if found is not None and isinstance(found.value, str) and names and found.value not in names:
        problems.add(found, f"there is no {kind or key} {found.value!r}{did_you_mean(found.value, names)}")


def _root(tree: Node, data: ResolvedData, problems: Problems) -> Path | None:
    """Where the study says the data set's files are; a path starts at the file that it stands in."""
    node = tree.children.get("data", tree).children.get("root")
    if node is None or not isinstance(node.value, str):
        return None
    if data.adapter.built_in:
        problems.add(node, f"{data.config.name} makes its own files; leave root out")
    return (node.place.folder / Path(node.value).expanduser()).resolve()


def _budget(
    tree: Node,
    section: BudgetSection,
    study_arms: StudyArms,
    arms: Sequence[Arm],
    files: Mapping[str, Path],
    problems: Problems,
) -> Budget | None:
    """What the reference costs as it is written, and whose width may be chosen to cost the same."""
    if section.match == "none":
        return None
    from fusion_bench.spec.budget import DEFAULT_WORDS, Budget, fusion_cost  # noqa: PLC0415 - imports torch

    reference = next(arm for arm in arms if arm.role == "reference")
    words = reference.config.data.longest_text or DEFAULT_WORDS
    try:
        target = fusion_cost(reference.config, section.match, words, files)
    except Exception as error:  # a module's code is not ours: whatever it raises, the user is told
        node = tree.children["budget"].children["match"]
        problems.add(node, f"what the reference {reference.label!r} costs cannot be counted: {error}")
        return None
    knobs = {arm.spec.label: arm.knob for arm in study_arms.resolved if arm.knob is not None}
    return Budget(section.match, section.tolerance, reference.label, target, knobs, words, files)


def _check_unlike(study_arms: StudyArms, arms: Sequence[Arm], problems: Problems) -> None:
    """Arms that differed may come to the same width."""
    places = {arm.spec.label: arm.spec.where for arm in study_arms.resolved}
    found: dict[str, str] = {}
    for arm in arms:
        twin = found.setdefault(arm.config.id, arm.label)
        if twin != arm.label:
            problems.add(
                places[arm.label], f"{arm.label!r} at the matched budget is the same as {twin!r}; drop one"
            )
