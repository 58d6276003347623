"""The contract kit of fusion-bench on this package's module: one test for each check."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.mark.fusion_module("spatial_gate")  # the registered name; "package.module:Class" works as well
def test_contract(contract_check: Callable[[], None]) -> None:
    """One check passes, or is skipped with its reason."""
    contract_check()
