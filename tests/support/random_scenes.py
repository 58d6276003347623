"""Facts of random scenes, without pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_bench.data.miniclevr.scenes.attributes import FIXED_VALUES, VARYING
from fusion_bench.data.programs import ATTRIBUTES, RELATIONS, Facts


def random_scenes(
    number: int, seed: int, things: tuple[int, int] = (3, 10), varying: Sequence[str] = VARYING
) -> list[Facts]:
    """Return scenes of objects with independent attributes at independent places.

    Args:
        number: number of scenes.
        seed: seed of the scenes.
        things: least and greatest number of objects.
        varying: the attributes that vary; the others have the values of the built-in data sets.
    """
    random = np.random.default_rng(seed)
    scenes = []
    for _ in range(number):
        places = random.uniform(-3, 3, (random.integers(things[0], things[1] + 1), 2))
        objects = [
            {
                name: str(random.choice(values)) if name in varying else FIXED_VALUES[name]
                for name, values in ATTRIBUTES.items()
            }
            for _ in places
        ]
        relations = {
            name: [
                [int(j) for j in np.flatnonzero(sign * (places[:, axis] - here[axis]) > 0.2)]
                for here in places
            ]
            for name, axis, sign in zip(RELATIONS, (0, 0, 1, 1), (-1, 1, 1, -1), strict=True)
        }
        scenes.append(Facts.of({"objects": objects, "relationships": relations}))
    return scenes
