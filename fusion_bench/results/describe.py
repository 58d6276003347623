"""The setup of a study as sentences for its report: data, model, training and selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fusion_bench.cells.result import Outcome
from fusion_bench.contract import FusionModule
from fusion_bench.results.arm_sentences import (
    backbone_sentence,
    head_sentence,
    labels_by_slot,
    labels_by_text,
    slot_sentence,
    training_sentence,
    words_sentence,
)
from fusion_bench.samples.dataset import DataSet
from fusion_bench.samples.split import Split
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study
from fusion_bench.study.searching.search_results import SearchResult
from fusion_bench.training.config import CellConfig
from fusion_bench.training.slot import instantiate_module
from fusion_bench.training.splits import task_class


def describe(
    study: Study,
    search: SearchResult,
    data: DataSet,
    splits: Mapping[str, Split],
    outcomes: Mapping[str, Outcome],
) -> tuple[tuple[str, str], ...]:
    """Return pairs of heading and sentence.

    Args:
        study: the study as written.
        search: its arms as they are trained, after the search.
        data: its data set.
        splits: the splits of the data set, by name.
        outcomes: an outcome of each arm that has one, by label; at least one.
    """
    arms = search.arms
    return (
        ("Data", _data(data, splits, arms[0].config, next(iter(outcomes.values())))),
        ("Backbone", backbone_sentence(arms)),
        ("Words", words_sentence(arms, outcomes)),
        ("Slot", slot_sentence(arms)),
        ("Head", head_sentence(arms)),
        *([("Budget", study.budget.sentence())] if study.budget else []),
        *([("Start", _start(study.source))] if study.source else []),
        ("Training", training_sentence(arms)),
        ("Pairing", _pairing(study, arms)),
        ("Selection", _selection(study, search, data)),
    )


_DATA_WARNINGS = {
    "damaged_image": "{count:,} samples of {split} are left out, because their images cannot be read.",
    "repeated_id": "{count:,} samples of {split} are left out, because their ids occur twice.",
    "empty_text": "{count:,} sentences of {split} are left out, because they are empty.",
    "no_mask": "{count:,} samples of {split} are left out, because the outlines of their objects give no mask.",
    "partial_outline": "{count:,} samples of {split} have outlines with parts that give no pixel; others are used.",
    "shared_image": "{count:,} images of {split} are training images too (the published splits share them).",
}


def cautions_of(
    arms: Sequence[Arm],
    data: DataSet,
    files: Mapping[str, Path],
    data_warnings: Mapping[str, Mapping[str, int]],
) -> tuple[str, ...]:
    """Return the sentences that qualify every verdict.

    Args:
        arms: the arms of the study.
        data: its data set.
        files: the weight files that the study names.
        data_warnings: kind of problem -> split -> number of samples or images, from the result of any cell.
    """
    cautions = _conditional_on_backbones(arms)
    shared = [arm for arm in arms if arm.config.fusion.coordinates == "shared"]
    with_code = sorted({arm.label for arm in shared if _has_position_code(arm, files)})
    if with_code:
        cautions.append(
            f"{'Every arm' if len(shared) == len(arms) else 'Every arm with shared coordinate maps'} gets the same "
            "two coordinate maps; "
            f"{', '.join(with_code)} add{'s' if len(with_code) == 1 else ''} a position code of "
            f"{'its' if len(with_code) == 1 else 'their'} own, as published."
        )
    adapting = [arm.label for arm in arms if _adapts(arm)]
    if adapting:
        cautions.append(
            f"{', '.join(adapting)}: a post-hoc adaptation, because the backbone is frozen; the paper modulates "
            "layers inside the backbone."
        )
    if len(in_slots := labels_by_slot(arms)) > 1:
        shown = "; ".join(f"{slot}: {', '.join(labels)}" for slot, labels in in_slots.items())
        cautions.append(
            f"The slot differs between arms ({shown}); a difference between slots may come from the mixer "
            "as well as from the module."
        )
    cautions.append("Dropout masks are not paired between arms.")
    cautions += data.cautions
    cautions += [
        _DATA_WARNINGS[what].format(count=count, split=split)
        for what, counts in data_warnings.items()
        for split, count in counts.items()
    ]
    if arms[0].config.data.vocabulary == "published":
        cautions.append(
            "The vocabulary contains the words of all published splits, including the evaluate splits."
        )
    return tuple(cautions)


def _conditional_on_backbones(arms: Sequence[Arm]) -> list[str]:
    cautions = []
    for state, labels in labels_by_text(arms, _backbone_state).items():
        if not state:
            continue
        whose = "All results" if len(labels) == len(arms) else f"The results of {', '.join(labels)}"
        backbones = {arm.config.backbone for arm in arms if arm.label in labels}
        which = f"one {state} backbone" if len(backbones) == 1 else f"their {state} backbones"
        cautions.append(f"{whose} are conditional on {which}.")
    return cautions


def _backbone_state(config: CellConfig) -> str:
    if config.backbone is None:
        return ""
    if config.backbone.weights == "pretext":
        return "attribute-supervised"
    return "frozen" if config.backbone.frozen else ""


def _has_position_code(arm: Arm, files: Mapping[str, Path]) -> bool:
    module = instantiate_module(arm.config, files)
    return module is not None and module.position_code != "none"


def _adapts(arm: Arm) -> bool:
    """Return whether the arm runs after a frozen backbone although its paper puts it inside the backbone."""
    backbone = arm.config.backbone
    if arm.config.kind == "network" or backbone is None or not backbone.frozen:
        return False
    kind: type[FusionModule] = arm.config.arm.target.load()
    return kind.modulates_backbone


def _data(data: DataSet, splits: Mapping[str, Split], config: CellConfig, outcome: Outcome) -> str:
    height, width = config.data.image_size
    if not splits:
        return (
            f"{config.data.name} {config.data.version}, images at {height}x{width}; its files are not here."
        )
    sizes = []
    roles = [("train", data.splits.train), ("select", data.splits.select)]
    roles += [("evaluate", name) for name in data.splits.evaluate]
    for role, name in roles:
        split = splits[name]
        sizes.append(f"{name} ({role}) {len(split):,} samples on {len(split.images):,} images")
    letterboxed = ", letterboxed on grey" if config.data.resize == "letterbox" else ""
    raw = ", values in [0, 1] for every arm" if config.data.normalise == "none" else ""
    task = task_class(config.data)
    counted = f" {outcome.result.outputs} {task.outputs_label}." if task.outputs_label else ""
    shown = f"images at {height}x{width}{letterboxed}{raw}"
    remarks = [task.remarks(splits[data.splits.train], splits[name]) for name in data.splits.evaluate]
    text = " ".join(filter(None, remarks))
    return (
        f"{config.data.name} {config.data.version}, {shown}: {'; '.join(sizes)}.{counted}"
        f"{_outside(data, splits, config)}{f' {text}' if text else ''}"
    )


def _outside(data: DataSet, splits: Mapping[str, Split], config: CellConfig) -> str:
    """Return a sentence on the true answers that no model can give, because they are not in train."""
    if data.task(config.data.task) != "answering":
        return ""
    known = frozenset(splits[data.splits.train].table["truth"])
    shares = {name: 1 - splits[name].table["truth"].isin(known).mean() for name in data.splits.evaluate}
    outside = [f"{share:.1%} of {name}" for name, share in shares.items() if share]
    return f" True answers that are not among them count as wrong: {', '.join(outside)}." if outside else ""


def _start(source: Study) -> str:
    return (
        f"Every arm starts from the weights of the same arm and seed of the study {source.name}, trained on "
        f"{source.data.name} {source.data.version}; vocabulary and answers are those of that training."
    )


def _pairing(study: Study, arms: Sequence[Arm]) -> str:
    same_batches = len({arm.config.train.batch_size for arm in arms}) == 1
    order = "batches in the same order" if same_batches else "samples in the same order"
    modules = [arm.config for arm in arms if arm.config.kind == "module"]
    around = {repr((config.backbone, config.text, config.fusion.width, config.head)) for config in modules}
    where = "" if len(around) < 2 else ", as far as their settings are the same"
    seeds = f"Seeds {', '.join(map(str, study.seeds[: study.fewest_seeds]))}"
    if study.arm_seeds is not None:
        seeds += f", for the reference {study.reference} {', '.join(map(str, study.seeds))}"
    if study.looks:
        seeds = f"Seeds from 0 on, as many as the looks at {', '.join(map(str, study.looks))} seeds ask for"
    return (
        f"{seeds}: within a seed every arm sees the same {order} and starts from "
        f"the same backbone, text encoder, projection and head{where}."
    )


def _selection(study: Study, search: SearchResult, data: DataSet) -> str:
    sentence = (
        f"Weights are those of the best epoch on {data.splits.select}; {', '.join(data.splits.evaluate)} "
        "evaluated once, after the selection."
    )
    if study.search is not None and search.trials:
        counts = sorted(set(search.trials.values()))
        trials = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        sentence += (
            f" Settings were chosen per arm by {trials} trials on {data.splits.select} with seeds "
            f"{', '.join(map(str, study.search.seeds))}, which are not seeds of the study."
        )
        if study.search.pruner is not None:
            sentence += (
                " Trials were pruned by successive halving: a third of each batch was trained again, three times "
                "longer. So the budget of the search is counted in training steps, not in trials."
            )
    elif any(arm.searched for arm in search.arms):
        sentence += " Settings were chosen per arm by the search of the study itself, not in this context."
    return sentence
