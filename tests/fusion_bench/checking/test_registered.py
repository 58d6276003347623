"""Every registered module keeps the contract and has a test of its own formula."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from fusion_bench.checking.kit import CHECKS, Checkup
from fusion_bench.checking.toy import learns
from fusion_bench.registries import MODULES

ENTRIES = MODULES.entries()
EVERY = pytest.mark.parametrize("name", ENTRIES)
TESTS = Path(__file__).parents[2] / "fusion_modules"


@cache
def checkup(name: str) -> Checkup:
    return Checkup(MODULES.load(name), name)


@EVERY
@pytest.mark.parametrize("check", [check.name for check in CHECKS if check.name != "learns"])
def test_a_registered_module_passes(name: str, check: str) -> None:
    result = checkup(name).result(check)
    if result.status == "skip" and not result.blocked:
        pytest.skip(result.detail)
    assert result.status == "pass", result


@EVERY
def test_a_registered_module_learns_what_needs_both_inputs(name: str) -> None:
    """From one seed; all three are slow together."""
    assert checkup(name).result("trained").status != "fail"
    if not MODULES.load(name).trainable:
        pytest.skip("trainable is False")
    learns(checkup(name).subject, seeds=(0,))


@pytest.mark.slow
@EVERY
def test_a_registered_module_learns_it_from_every_seed(name: str) -> None:
    result = checkup(name).result("learns")
    assert result.status == ("pass" if MODULES.load(name).trainable else "skip"), result


@EVERY
def test_a_registered_module_has_a_test_of_its_own_formula(name: str) -> None:
    """By convention ``fusion_modules/x.py`` is tested in ``test_x.py``, a package in the folder of its name."""
    module, _, kind = ENTRIES[name].target.reference.partition(":")
    first = module.split(".")[1]
    files = [*TESTS.glob(f"test_{first}.py"), *(TESTS / first).glob("test_*.py")]
    assert files, f"{name}: write tests/fusion_modules/test_{first}.py"
    named = re.compile(rf"\b({kind}|{name})\b")
    assert any(named.search(file.read_text(encoding="utf-8")) for file in files), (
        f"{name}: none of {', '.join(file.name for file in files)} tests {kind}"
    )
