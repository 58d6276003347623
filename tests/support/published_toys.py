"""A published study of known scores, without training: as few files as ``load`` accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fusion_bench.reporting.published.publish import save
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.spec.arms import Role


def published_toy(
    folder: Path, seeds: int | Mapping[str, int], arms: Sequence[str] = ("concat", "film", "laconv")
) -> Path:
    """Publish a study of equally good arms, the last one the reference, with 40 images of 2 questions.

    ``seeds`` is the number of seeds of every arm, or of each arm by name.
    """
    rows = []
    for number, arm in enumerate(arms):
        for seed in range(seeds if isinstance(seeds, int) else seeds[arm]):
            generator = np.random.default_rng([number, seed])
            level = 0.7 + 0.02 * generator.normal()
            score = (generator.uniform(size=80) < level).astype(float)
            sample = pd.DataFrame({"sample": [f"q{item:03}" for item in range(80)], "score": score})
            sample = sample.assign(
                cluster=[f"i{item // 2:02}" for item in range(80)], truth="yes", prediction="no"
            )
            rows.append(sample.assign(arm=arm, seed=seed, split="test"))
    samples = pd.concat(rows, ignore_index=True)
    means = samples.groupby(["arm", "seed"], sort=False)["score"].mean().reset_index(name="value")
    roles: dict[str, Role] = {arm: "reference" if arm == arms[-1] else "arm" for arm in arms}
    keys = means[["arm", "seed"]].assign(role=means["arm"].map(roles), cell="0" * 16)
    summaries = (ArmSummary(arm, roles[arm], arm, {}, "", "sentence", "none", 1, 1, 1, 1) for arm in arms)
    save(
        StudyResults(
            name="toy",
            title="A toy",
            setup=(),
            primary="accuracy",
            primary_split="test",
            select_split="val",
            evaluate_splits=("test",),
            cluster="image",
            margin=None,
            reference=arms[-1],
            arms=tuple(summaries),
            cells=keys.assign(state="done", reason="", epochs=1.0, best_epoch=1.0, seconds=1.0),
            values=keys.assign(split="test", metric="accuracy", value=means["value"]),
            samples=samples,
            slices=(),
            curves=keys.assign(epoch=1, samples_seen=1, quantity="select/accuracy", value=0.5),
            pictures=pd.DataFrame(columns=["sample", "split", "image", "text", "truth"]),
            floors=pd.DataFrame(columns=["name", "split", "accuracy", "description"]),
            expected=pd.DataFrame(columns=["arm", "metric", "split", "value", "source"]),
            environment={},
        ),
        folder,
    )
    return folder
