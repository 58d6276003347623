"""The setup of a study as sentences for its report: data, model, training and selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fusion_bench.cells.result import Outcome
from fusion_bench.contract import FusionModule
from fusion_bench.samples.dataset import DataSet
from fusion_bench.samples.split import Split
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study
from fusion_bench.training.config import CellConfig, Json, TrainConfig, hash_reference
from fusion_bench.training.model import head_settings
from fusion_bench.training.slot import instantiate_module
from fusion_bench.training.splits import task_class

_WEIGHTS = {
    "imagenet": "ImageNet weights from timm",
    "random": "random initial weights",
    "pretext": "weights from dense attribute recognition on separate built-in scenes",
    "file": "weights from a file",
}


def describe(
    study: Study, arms: Sequence[Arm], data: DataSet, splits: Mapping[str, Split], outcome: Outcome
) -> tuple[tuple[str, str], ...]:
    """Return pairs of heading and sentence; ``outcome`` is that of any finished cell."""
    config = arms[0].config
    return (
        ("Data", _data(data, splits, config, outcome)),
        ("Backbone", _backbone(config)),
        ("Words", _words(config, outcome)),
        ("Slot", _slot(arms)),
        ("Head", _head(config)),
        *([("Budget", study.budget.sentence())] if study.budget else []),
        *([("Start", _start(study.source))] if study.source else []),
        ("Training", _training(arms)),
        ("Pairing", _pairing(study)),
        ("Selection", _selection(study, data)),
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
    config = arms[0].config
    cautions = []
    if config.backbone is not None and config.backbone.weights == "pretext":
        cautions.append("All results are conditional on one attribute-supervised backbone.")
    elif config.backbone is not None and config.backbone.frozen:
        cautions.append("All results are conditional on one frozen backbone.")
    with_code = sorted({arm.label for arm in arms if _has_position_code(arm, files)})
    if config.fusion.coordinates == "shared" and with_code:
        cautions.append(
            "Every arm gets the same two coordinate maps; "
            f"{', '.join(with_code)} add{'s' if len(with_code) == 1 else ''} a position code of "
            f"{'its' if len(with_code) == 1 else 'their'} own, as published."
        )
    adapting = [arm.label for arm in arms if _adapts(arm)]
    if adapting:
        cautions.append(
            f"{', '.join(adapting)}: a post-hoc adaptation, because the backbone is frozen; the paper modulates "
            "layers inside the backbone."
        )
    if len(in_slots := _in_slots(arms)) > 1:
        labels_by_slot = "; ".join(f"{slot}: {', '.join(labels)}" for slot, labels in in_slots.items())
        cautions.append(
            f"The slot differs between arms ({labels_by_slot}); a difference between slots may come from the mixer "
            "as well as from the module."
        )
    cautions.append("Dropout masks are not paired between arms.")
    cautions += data.cautions
    cautions += [
        _DATA_WARNINGS[what].format(count=count, split=split)
        for what, counts in data_warnings.items()
        for split, count in counts.items()
    ]
    if config.data.vocabulary == "published":
        cautions.append(
            "The vocabulary contains the words of all published splits, including the evaluate splits."
        )
    return tuple(cautions)


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
    sizes = []
    roles = [("train", data.splits.train), ("select", data.splits.select)]
    roles += [("evaluate", name) for name in data.splits.evaluate]
    for role, name in roles:
        split = splits[name]
        sizes.append(f"{name} ({role}) {len(split):,} samples on {len(split.images):,} images")
    height, width = config.data.image_size
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


def _backbone(config: CellConfig) -> str:
    backbone = config.backbone
    if backbone is None:
        return "None: end-to-end networks only."
    state = "frozen, its feature maps computed once" if backbone.frozen else "trained with every arm"
    return f"{backbone.name} (timm), map {backbone.layer}, {_WEIGHTS[backbone.weights]}, {state}."


def _words(config: CellConfig, outcome: Outcome) -> str:
    name = config.text.target.reference.partition(":")[2]
    settings = ", ".join(f"{key} {_short(value)}" for key, value in config.text.settings.items())
    words = outcome.result.words or f"{outcome.result.vocabulary:,} words from train"
    return (
        f"{name}{f' ({settings})' if settings else ''}, {words}; "
        "equal architecture and initial weights in every arm, trained with it"
        f"{', as far as it is not frozen' if outcome.result.words else ''}."
    )


def _short(value: Json) -> Json:
    """Return the first digits of a file hash; any other setting unchanged."""
    return (
        value[: len(hash_reference("")) + 12]
        if isinstance(value, str) and value.startswith(hash_reference(""))
        else value
    )


def _in_slots(arms: Sequence[Arm]) -> dict[str, list[str]]:
    """Return the labels of the arms with each kind of slot; networks have none."""
    found: dict[str, list[str]] = {}
    for arm in arms:
        if arm.config.kind == "module":
            found.setdefault(arm.config.fusion.slot, []).append(arm.label)
    return found


def _slot(arms: Sequence[Arm]) -> str:
    config = arms[0].config
    places = {
        "shared": "the same two coordinate maps before the slot and before the head",
        "module": "no shared coordinate maps",
        "none": "no coordinate maps",
    }[config.fusion.coordinates]
    depth = config.fusion.depth
    copies = "1 copy" if depth == 1 else f"{depth} copies"
    followed = {
        "published": "as published",
        "uniform": "with the same residual 3x3 mixer after each",
        "both": "as published, or with the same residual 3x3 mixer after each (a factor of this study)",
    }
    slots = list(_in_slots(arms)) or ["published"]
    return (
        f"1x1 projection to {config.fusion.width} channels, {copies} of the module "
        f"{followed[slots[0] if len(slots) == 1 else 'both']}, 1x1 adapter to {config.head.width}; {places}."
    )


def _head(config: CellConfig) -> str:
    return task_class(config.data).describe_head(config.head.kind, head_settings(config.head))


def _start(source: Study) -> str:
    return (
        f"Every arm starts from the weights of the same arm and seed of the study {source.name}, trained on "
        f"{source.data.name} {source.data.version}; vocabulary and answers are those of that training."
    )


def _training(arms: Sequence[Arm]) -> str:
    train = arms[0].config.train
    if not train.epochs:
        return "None: the initial weights of each arm are evaluated without training."
    rates = sorted({arm.config.train.learning_rate for arm in arms})
    rate = (
        f"learning rate {rates[0]:g}"
        if len(rates) == 1
        else f"learning rates {', '.join(f'{r:g}' for r in rates)}"
    )
    optimizer = {"adamw": "AdamW", "adam": "Adam"}[train.optimizer]
    if (train.betas, train.eps) != (TrainConfig.betas, TrainConfig.eps):
        optimizer += f" (betas {train.betas[0]:g} and {train.betas[1]:g}, eps {train.eps:g})"
    start = "" if train.warmup_from is None else f" from {train.warmup_from:g}"
    return (
        f"{train.epochs} epochs of batches of {train.batch_size}, {optimizer}, {rate}, weight decay "
        f"{train.weight_decay:g}, warm-up{start} over {100 * train.warmup:.3g}% of the steps, cosine to "
        f"{f'{train.final_learning_rate:g}' if train.final_learning_rate else 'zero'}, "
        f"gradient norm clipped at {train.clip:g}{_extra_settings(train)}."
    )


def _extra_settings(train: TrainConfig) -> str:
    text = ""
    if train.ema is not None:
        text += f"; a moving average of the weights ({train.ema:g}) is evaluated and kept"
    if train.one_expression_per_referent:
        text += "; an epoch draws one sentence per referent"
    return text


def _pairing(study: Study) -> str:
    return (
        f"Seeds {', '.join(map(str, study.seeds))}: within a seed every arm sees the same batches in the same "
        "order and starts from the same backbone, text encoder, projection and head."
    )


def _selection(study: Study, data: DataSet) -> str:
    sentence = (
        f"Weights are those of the best epoch on {data.splits.select}; {', '.join(data.splits.evaluate)} "
    )
    sentence += "evaluated once, after the selection."
    if study.search is not None:
        sentence += (
            f" Settings were chosen per arm by {study.search.trials} trials on {data.splits.select} with seeds "
            f"{', '.join(map(str, study.search.seeds))}, which are not seeds of the study."
        )
    return sentence
