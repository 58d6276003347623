"""Reads a study file: every section is resolved and checked before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_bench.errors import StudyFileError
from fusion_bench.foreign import foreign_streams, message_of
from fusion_bench.limits import Limits, Resources
from fusion_bench.registry import did_you_mean
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.catalogue import Catalogue, installed_catalogue
from fusion_bench.spec.contexts import context_trees
from fusion_bench.spec.document.bounds import MAX_STARTS, Bounds
from fusion_bench.spec.document.files import read_study_tree, real_path
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.schema import StudyFile
from fusion_bench.spec.document.search_section import SEARCH_SEEDS, SearchSection
from fusion_bench.spec.document.sections import (
    DEFAULT_SEEDS,
    BudgetSection,
    ExpectedSection,
)
from fusion_bench.spec.document.seeds_section import (
    SeedCountsSection,
    SeedRangeSection,
    SeedsValue,
    looks_between,
    readable_seeds,
)
from fusion_bench.spec.document.tree import Node, written_path
from fusion_bench.spec.recipes import apply_official_recipe
from fusion_bench.spec.resolve import Resolver
from fusion_bench.spec.resolve_data import ResolvedData, resolve_data
from fusion_bench.spec.search_spaces import check_search, search_spaces
from fusion_bench.spec.study import Expected, Search, Study
from fusion_bench.spec.study_arms import StudyArms
from fusion_bench.spec.warm_start import arms_with_start, read_source_study
from fusion_bench.statistics.seeds.pool import FEWEST_IN_POOL
from fusion_bench.storage import digest

if TYPE_CHECKING:
    from fusion_bench.spec.budget import Budget, FusionCosts


@foreign_streams()
def read_study(path: Path, overrides: Sequence[str] = (), *, catalogue: Catalogue | None = None) -> Study:
    """Return the study that a file describes.

    Args:
        path: the study file.
        overrides: ``KEY=VALUE`` texts such as ``train.epochs=3``, checked like the file; a value is YAML.
        catalogue: the components that the study may name; by default all that are installed.

    Raises:
        StudyFileError: the file has mistakes; the message has one line for each: the line in the file, the key, what
            is wrong and what to write instead.
    """
    return _StudyReader(catalogue or installed_catalogue()).read(path, overrides)


def check_keys(path: Path, overrides: Sequence[str] = ()) -> None:
    """Refuse what is seen without a look at any component, before torch is imported.

    Args:
        path: the study file.
        overrides: ``KEY=VALUE`` texts.

    Raises:
        StudyFileError: the file cannot be read, is not YAML (nor is an override), or has a key that no study has.
    """
    problems = Problems()
    tree = _read_tree(path, overrides, problems, Bounds())
    if problems or tree.children.keys() - StudyFile.model_fields.keys():
        problems.validate_section(StudyFile, tree)
        raise problems.error()


def is_study_file(name: str) -> bool:
    """Return True for the path of a YAML file, which is no name of a component."""
    return Path(name).suffix in {".yaml", ".yml"}


def _read_tree(path: Path, overrides: Sequence[str], problems: Problems, bounds: Bounds) -> Node:
    """Return the tree of a study, before its recipe is applied.

    Raises:
        StudyFileError: a file of the study cannot be read or is not YAML.
    """
    tree = read_study_tree(path, overrides, problems, bounds)
    if tree is None:
        raise problems.error()
    return tree


class _StudyReader:
    """Reads a study and the studies that it starts from, each of those once."""

    def __init__(self, catalogue: Catalogue) -> None:
        from fusion_bench.spec.budget import FusionCosts  # noqa: PLC0415 - imports torch

        self._catalogue, self._bounds, self._costs = catalogue, Bounds(), FusionCosts()
        self._open: list[Path] = []
        self._sources: dict[Path, Study] = {}

    def read(self, path: Path, overrides: Sequence[str] = ()) -> Study:
        """Return the study that a file describes.

        Raises:
            StudyFileError: the file has mistakes.
        """
        self._open.append(real_path(path))
        try:
            problems = Problems()
            tree = _read_tree(path, overrides, problems, self._bounds)
            text_digest = digest(repr(tree.plain()))
            tree = apply_official_recipe(tree, problems)
            contexts = context_trees(tree, problems)

            def study(node: Node) -> Study:
                found = self._study(path, node, problems)
                return replace(found, overrides=tuple(overrides), text_digest=text_digest)

            read = study(tree)
            return replace(read, contexts={label: study(context) for label, context in contexts.items()})
        finally:
            self._open.pop()

    def _study(self, path: Path, tree: Node, problems: Problems) -> Study:
        return _study(path, tree, self._catalogue, problems, self._source, self._costs)

    def _source(self, path: Path) -> Study:
        """Return a study to start from.

        Raises:
            StudyFileError: the file has mistakes, or starts from a study that is being read.
        """
        real = real_path(path)
        if real in self._open:
            circle = " -> ".join(file.name for file in (*self._open[self._open.index(real) :], real))
            raise StudyFileError(f"studies start from each other in a circle: {circle}; remove one start")
        if len(self._open) > MAX_STARTS:
            raise StudyFileError(f"more than {MAX_STARTS} studies start from each other; remove one start")
        if real not in self._sources:
            self._sources[real] = self.read(path)
        return self._sources[real]


def _study(
    path: Path,
    tree: Node,
    catalogue: Catalogue,
    problems: Problems,
    source_study: Callable[[Path], Study],
    costs: FusionCosts,
) -> Study:
    """Return one study without its contexts.

    Args:
        path: the study file.
        tree: the study.
        catalogue: the components that it may name.
        problems: collects the mistakes.
        source_study: reads the study file under ``start``.
        costs: counts the costs of arms for the budget.

    Raises:
        StudyFileError: the study has mistakes.
    """
    file = problems.validate_section(StudyFile, tree)
    resolver = Resolver(tree, catalogue, problems)
    data = resolve_data(tree, catalogue, problems)
    study_arms = StudyArms(tree, resolver, data, problems)
    reference = study_arms.reference()
    seeds = _seeds(tree, range(DEFAULT_SEEDS))
    search = _search(tree, study_arms, data, seeds, resolver, problems)
    expected = _expected(tree, study_arms, data, problems)
    root = _root(tree, data, problems)
    source = read_source_study(tree, source_study, problems)
    _check_report(tree, data, problems)
    if problems or file is None:
        raise problems.error()
    arms = study_arms.arms(reference)
    _check_seed_counts(tree, file.seeds, arms, problems)
    budget = _budget(tree, file.budget, study_arms, arms, resolver.weight_files, costs, problems)
    if budget is not None:
        arms = tuple(budget.matched(arm) for arm in arms)
        _check_distinct(study_arms, arms, problems)
    arm_seeds = file.seeds.arms if isinstance(file.seeds, SeedCountsSection) else None
    if source is not None:
        own = {arm.label: seeds if arm.label == reference else seeds[:arm_seeds] for arm in arms}
        arms = arms_with_start(arms, own, source, tree.children["start"], problems)
    if problems:
        raise problems.error()
    roots = {} if root is None else {data.config.name: root}
    return Study(
        path=path,
        name=file.name,
        title=file.title,
        data=data.config,
        task=data.task,
        arms=arms,
        seeds=seeds,
        arm_seeds=arm_seeds,
        looks=looks_between(file.seeds.min, file.seeds.max)
        if isinstance(file.seeds, SeedRangeSection)
        else (),
        threads=file.threads,
        limits=Limits(**file.limits.model_dump()),
        resources=Resources(**file.resources.model_dump()),
        reference=reference,
        selection_metric=data.metrics[0],
        primary=file.report.primary or data.metrics[0],
        primary_split=file.report.split or data.instance.splits.evaluate[0],
        margin=file.report.margin,
        pictures=file.report.pictures,
        search=search,
        budget=budget,
        expected=expected,
        roots=roots if source is None else {**source.roots, **roots},
        weight_files={**({} if source is None else source.weight_files), **resolver.weight_files},
        source=source,
    )


def _check_seed_counts(tree: Node, seeds: SeedsValue, arms: Sequence[Arm], problems: Problems) -> None:
    """Record a mistake if no comparison would use the further seeds of the reference."""
    others = sum(arm.role == "arm" for arm in arms)
    if isinstance(seeds, SeedCountsSection) and others < FEWEST_IN_POOL:
        problems.add(
            tree.children["seeds"],
            f"more seeds of the reference are used beside at least {FEWEST_IN_POOL} other arms, and there "
            f"{'is' if others == 1 else 'are'} {others}; write the same number for all, seeds: {seeds.arms}",
        )


def _seeds(node: Node, default: Sequence[int]) -> tuple[int, ...]:
    """Return the seeds under ``seeds`` that can be read; the schema records mistakes in them."""
    return readable_seeds(node.children["seeds"]) if "seeds" in node.children else tuple(default)


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
        problems.add(where, f"{named} is also among the study's seeds; write other seeds for the search")
    match = tree.children.get("budget", tree.having({})).children.get("match")
    matched = match is not None and match.value in ("params", "flops")
    spaces = search_spaces(study_arms, tree, data, resolver, problems, matched=matched)
    section = problems.validate_section(SearchSection, node)
    if section is None:
        return None
    search = Search(
        section.trials, section.batch, tuple(section.seeds), spaces, section.sampler, section.pruner
    )
    check_search(search, study_arms, node, problems)
    return search


def _expected(
    tree: Node, study_arms: StudyArms, data: ResolvedData, problems: Problems
) -> tuple[Expected, ...]:
    node = tree.children.get("expected")
    labels = (*study_arms.labels, *(arm.spec.label for arm in study_arms.resolved if arm.spec.control))
    found = []
    for item in node.value if node is not None and isinstance(node.value, list) else []:
        _check_name(item, "arm", labels, problems)
        _check_name(item, "metric", data.metrics, problems)
        _check_name(item, "split", data.report_splits, problems)
        section = problems.validate_section(ExpectedSection, item)
        if section is not None:
            found.append(Expected(**section.model_dump()))
    return tuple(found)


def _check_report(tree: Node, data: ResolvedData, problems: Problems) -> None:
    node = tree.children.get("report", tree.having({}))
    _check_name(node, "primary", data.metrics, problems, "metric")
    _check_name(node, "split", data.report_splits, problems)


def _check_name(
    node: Node, key: str, names: Sequence[str], problems: Problems, kind: str | None = None
) -> None:
    """Record a mistake if the value at ``key`` is not one of ``names``; empty ``names`` are not known."""
    found = node.children.get(key)
    if found is not None and isinstance(found.value, str) and names and found.value not in names:
        problems.add(found, f"there is no {kind or key} {found.value!r}{did_you_mean(found.value, names)}")


def _root(tree: Node, data: ResolvedData, problems: Problems) -> Path | None:
    """Return the folder under ``data.root``, relative to the file that names it; None without one."""
    node = tree.children.get("data", tree).children.get("root")
    if node is None or not isinstance(node.value, str):
        return None
    if data.adapter.built_in:
        problems.add(node, f"{data.config.name} generates its own files; leave root out")
    return real_path(written_path(node))


def _budget(
    tree: Node,
    section: BudgetSection,
    study_arms: StudyArms,
    arms: Sequence[Arm],
    files: Mapping[str, Path],
    costs: FusionCosts,
    problems: Problems,
) -> Budget | None:
    """Return the budget: the cost of the reference as written and the widths to choose; None if none is matched."""
    if section.match == "none":
        return None
    from fusion_bench.spec.budget import DEFAULT_WORDS, Budget  # noqa: PLC0415 - imports torch

    reference = next(arm for arm in arms if arm.role == "reference")
    words = reference.config.data.longest_text or DEFAULT_WORDS
    try:
        target = costs.cost(reference.config, section.match, words, files)
    except (Exception, SystemExit) as error:  # the code of a module may raise any exception
        node = tree.children["budget"].children["match"]
        reason = message_of(error)
        problems.add(node, f"the cost of the reference {reference.label!r} cannot be counted: {reason}")
        return None
    widths = {arm.spec.label: arm.free_width for arm in study_arms.resolved if arm.free_width is not None}
    return Budget(section.match, section.tolerance, reference.label, target, widths, words, files, costs)


def _check_distinct(study_arms: StudyArms, arms: Sequence[Arm], problems: Problems) -> None:
    """Record a mistake for arms that are equal after the budget was matched, because they got the same width."""
    nodes = {arm.spec.label: arm.spec.where for arm in study_arms.resolved}
    labels: dict[str, str] = {}
    for arm in arms:
        twin = labels.setdefault(arm.config.id, arm.label)
        if twin != arm.label:
            problems.add(
                nodes[arm.label],
                f"{arm.label!r} at the matched budget is the same as {twin!r}; leave one of them out",
            )
