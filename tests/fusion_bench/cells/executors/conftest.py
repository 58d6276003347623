"""A Ray cluster of this host, which the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from fusion_bench.cells.executors.on_ray.cluster import connected


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Connect this process to a Ray cluster; a test that asks for it is skipped where ray is not installed."""
    if find_spec("ray") is None:
        pytest.skip("the extra ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        # Two GPUs that are not there: Ray only counts them.
        patch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 2, "GPU": 2}')
        with connected(None):
            yield
