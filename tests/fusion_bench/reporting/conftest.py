"""An invented study without training: seven arms of known accuracy, and one failed, stale and missing cell."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from fusion_bench.reporting.report.report import write_report
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.spec.arms import Role

KINDS = {"exist": ("yes", "no"), "count": ("0", "1", "2", "3"), "color": ("red", "blue", "green", "cyan")}
HARDNESS = {"exist": 0.05, "count": -0.12, "color": 0.02}
BAD_ENDS = {
    ("cross_attention", "missing"): "not run yet",
    ("image_only", "stale"): "fusion_modules/image_only.py changed since this cell was trained",
    ("prior", "failed"): "the loss was not finite (nan) at epoch 3",
}


@dataclass(frozen=True)
class Invented:
    """An arm and how good it is: accuracy, and how strongly it still rises."""

    label: str
    role: Role
    skill: float
    slope: float
    cost: int
    citation: str = ""


ARMS = (
    Invented("laconv", "reference", 0.84, 9.0, 1_180_000, "Huang et al., arXiv 2021"),
    Invented("film", "arm", 0.76, 3.0, 410_000, "Perez et al., AAAI 2018"),
    Invented("concat", "arm", 0.835, 8.0, 520_000, "Santoro et al., NeurIPS 2017"),
    Invented("cross_attention", "arm", 0.80, 6.0, 1_650_000, "Vaswani et al., NeurIPS 2017"),
    Invented("question_only", "control", 0.47, 20.0, 20_000),
    Invented("image_only", "control", 0.40, 20.0, 300_000),
    Invented("prior", "control", 0.39, 20.0, 1_000),
)

Make = Callable[..., StudyResults]


@pytest.fixture(scope="session")
def make_results(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """``make_results(seeds=3, clusters=60, bad_ends=True)`` invents a study, each one once a session.

    Its tables are copies: a test may change them.
    """
    images = tmp_path_factory.mktemp("images")

    @functools.cache
    def once(seeds: int, clusters: int, bad_ends: bool) -> StudyResults:
        return invent(images, seeds, clusters, bad_ends)

    def make(seeds: int = 3, clusters: int = 60, bad_ends: bool = True) -> StudyResults:
        results = once(seeds, clusters, bad_ends)
        values = {item.name: getattr(results, item.name) for item in dataclasses.fields(results)}
        tables = {name: value.copy() for name, value in values.items() if isinstance(value, pd.DataFrame)}
        return dataclasses.replace(results, **tables)

    return make


@pytest.fixture(scope="session")
def invented_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the invented study, written once; not to be changed. Its pictures' sources are gone."""
    folder = tmp_path_factory.mktemp("invented")
    results = invent(folder / "images")
    path = write_report(results, folder / "out")
    shutil.rmtree(folder / "images")
    return path


def invent(images: Path, seeds: int = 3, clusters: int = 60, bad_ends: bool = True) -> StudyResults:
    """The invented study; the last seed of three arms ends badly."""
    generator = np.random.default_rng(2)
    splits = {name: _questions(name, clusters, generator) for name in ("val", "test", "hidden")}
    bad = {(arm, seeds - 1): (state, why) for (arm, state), why in BAD_ENDS.items()} if bad_ends else {}
    cells, values, samples, curves = [], [], [], []
    for number, arm in enumerate(ARMS):
        for seed in range(seeds):
            state, reason = bad.get((arm.label, seed), ("done", ""))
            key = {"arm": arm.label, "role": arm.role, "seed": seed, "cell": f"{number:08x}{seed:08x}"}
            done = state == "done"
            progress = {"epochs": 8.0, "best_epoch": 8.0, "seconds": 61.5} if done else {}
            cells.append({**key, "state": state, "reason": reason, **progress})
            if not done:
                continue
            luck = 0.01 * np.random.default_rng([number, seed]).normal()
            for split, questions in splits.items():
                answers = _answers(questions, arm.skill + luck, np.random.default_rng([number, seed, 1]))
                samples.append(answers.assign(arm=arm.label, seed=seed, split=split))
                accuracy = float(answers["score"].mean())
                consistency = float(answers.groupby("cluster")["score"].min().mean())
                for metric, value in (("accuracy", accuracy), ("consistency", consistency)):
                    values.append({**key, "split": split, "metric": metric, "value": value})
            curves += _curve(key, arm, accuracy, seed)
    return StudyResults(
        name="invented",
        title="Four fusion modules and three controls on invented questions",
        setup=(
            ("Data", "invented 1.0: 3 kinds of questions about coloured shapes, images resized to 64 x 96"),
            ("Backbone", "resnet10t, stride 16, from scratch"),
            ("Text", "learned embedding 64, bidirectional GRU 64"),
            ("Slot", "width 64, depth 2, shared coordinates, each module as published"),
            ("Training", "8 epochs of 7,500 samples, batch 128, AdamW, learning rate 0.001"),
        ),
        primary="accuracy",
        primary_split="test",
        select_split="val",
        evaluate_splits=("test", "hidden"),
        cluster="image",
        margin=0.02,
        reference="laconv",
        arms=tuple(_summary(arm) for arm in ARMS),
        cells=pd.DataFrame(cells),
        values=pd.DataFrame(values),
        samples=pd.concat(samples, ignore_index=True),
        slices=("kind", "length"),
        curves=pd.DataFrame(curves),
        pictures=_pictures(images, splits["test"]),
        floors=pd.DataFrame(
            [
                ("most frequent answer", "test", 0.36, "of each kind, counted on train"),
                ("most frequent answer", "hidden", 0.35, "of each kind, counted on train"),
                ("wording", "val", 0.45, "best constant answer per kind and last word, fitted on train"),
            ],
            columns=["name", "split", "accuracy", "description"],
        ),
        expected=pd.DataFrame(
            [("film", "accuracy", "test", 0.77, "an earlier run of this study")],
            columns=["arm", "metric", "split", "value", "source"],
        ),
        environment={"machine": "2 CPU cores, x86_64", "python": "3.11.7", "torch": "2.15.0"},
        cautions=("All verdicts are conditional on one backbone trained from scratch.",),
        browsed=_browsed(splits["test"]),
        thumbnails=pd.DataFrame({"image": range(3), "picture": [_webp(number) for number in range(3)]}),
        latency_batch=64,
        command="fusion-bench run studies/invented.yaml",
    )


def _questions(split: str, clusters: int, generator: np.random.Generator) -> pd.DataFrame:
    sizes = generator.integers(4, 13, clusters)
    kind = generator.choice(list(KINDS), sizes.sum())
    cluster = np.repeat(np.arange(clusters), sizes)
    return pd.DataFrame(
        {
            "sample": [f"{split}-{number:05d}" for number in range(len(kind))],
            "cluster": [f"{split}_{number:04d}.png" for number in cluster],
            "kind": kind,
            "length": generator.choice(["short", "long"], len(kind)),
            "truth": [str(generator.choice(KINDS[name])) for name in kind],
            "hardness": generator.normal(0, 0.12, clusters)[cluster],
        }
    )


def _answers(questions: pd.DataFrame, skill: float, generator: np.random.Generator) -> pd.DataFrame:
    chance = skill + questions["hardness"] + questions["kind"].map(HARDNESS)
    right = generator.random(len(questions)) < chance
    wrong = questions["truth"].to_numpy(dtype=object)
    for kind, choices in KINDS.items():
        own = np.flatnonzero(questions["kind"] == kind)
        places = pd.Index(choices).get_indexer(wrong[own])
        other = (places + generator.integers(1, len(choices), len(own))) % len(choices)
        wrong[own] = np.array(choices, dtype=object)[other]
    answers = questions.drop(columns="hardness")
    answers["prediction"] = np.where(right, questions["truth"], wrong)
    answers["score"] = right.astype(float)
    return answers


def _curve(key: dict[str, object], arm: Invented, accuracy: float, seed: int) -> list[dict[str, object]]:
    epochs = np.arange(1, 9)
    noise = 0.004 * np.random.default_rng([seed, 5]).normal(size=8)
    learnt = (1 - np.exp(-arm.slope * epochs / 16)) / (1 - np.exp(-arm.slope / 2))
    quantities = {"select/accuracy": 0.3 + (accuracy - 0.3) * learnt + noise, "train/loss": 2 - 1.6 * learnt}
    return [
        {**key, "epoch": int(epoch), "samples_seen": int(epoch) * 7500, "quantity": quantity, "value": value}
        for quantity, values in quantities.items()
        for epoch, value in zip(epochs, values, strict=True)
    ]


def _summary(arm: Invented) -> ArmSummary:
    return ArmSummary(
        label=arm.label,
        role=arm.role,
        component=arm.label,
        factors={"kernel_size": 3} if arm.label == "laconv" else {},
        citation=arm.citation,
        listens="words" if arm.label in {"laconv", "cross_attention"} else "sentence",
        position_code="none",
        fusion_parameters=arm.cost // 10,
        fusion_multiply_adds=arm.cost * 8,
        around_parameters=250_000,
        around_multiply_adds=21_000_000,
        latency_ms=2.0 + arm.cost / 2e5,
    )


def _browsed(questions: pd.DataFrame) -> pd.DataFrame:
    """Fifty samples, of which the first have a picture."""
    shown = questions.head(50)
    image = [number if number < 3 else -1 for number in range(len(shown))]
    text = [f"Which {kind} is it?" for kind in shown["kind"]]
    columns = {"sample": shown["sample"], "split": "test", "text": text, "image": image}
    return pd.DataFrame(columns | {"height": None, "width": None})


def _webp(number: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (12, 8), (80 * number, 128, 130)).save(buffer, "WEBP")
    return buffer.getvalue()


def _pictures(folder: Path, questions: pd.DataFrame) -> pd.DataFrame:
    """A drawn picture for each of the first questions."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = questions.head(60)
    for number, name in enumerate(shown["cluster"].unique()):
        generator = np.random.default_rng([number, 9])
        image = Image.new("RGB", (96, 64), (128, 128, 130))
        draw = ImageDraw.Draw(image)
        for color in generator.choice(["red", "blue", "green", "cyan", "yellow"], 4):
            x, y = generator.integers(4, 76), generator.integers(4, 46)
            shape = draw.ellipse if generator.random() < 0.5 else draw.rectangle
            shape((int(x), int(y), int(x) + 15, int(y) + 15), fill=str(color))
        image.save(folder / name)
    asked = {
        "exist": "Is there a small thing of the same colour as the cube left of the ball?",
        "count": "How many balls are in front of the big cube?",
        "color": "What colour is the cube behind the ball?",
    }
    return pd.DataFrame(
        {
            "sample": shown["sample"],
            "split": "test",
            "image": [str(folder / name) for name in shown["cluster"]],
            "text": shown["kind"].map(asked),
            "truth": shown["truth"],
        }
    )
