"""An optional pytest plugin for test suites of other packages: one test per check of the contract kit.

Switch it on with ``-p fusion_bench.checking.plugin`` (say, in ``addopts``), or in ``conftest.py`` at the root with
``pytest_plugins = ["fusion_bench.checking.plugin"]``. Then three lines in any test file check a module:

    @pytest.mark.fusion_module.with_args(MyFusion)
    def test_contract(contract_check):
        contract_check()

A name works too: ``@pytest.mark.fusion_module("my_fusion")``, a registered name, ``package.module:Class`` or
``path/to/file.py``. A class needs ``with_args``, since pytest takes a lone class for what the mark decorates.
Several modules in one mark are checked in turn. A check that does not apply is a skipped test with its reason;
``-k "not learns"`` leaves out the one that trains.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from fusion_bench.checking.kit import CHECKS, Checkup
from fusion_bench.contract import FusionModule
from fusion_bench.registries import MODULES

_MARK = "fusion_module"


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line(
        "markers", f"{_MARK}(*modules): classes or names that `contract_check` checks with the contract kit"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Create one test per module and check, for every function with the fixture `contract_check`.

    Raises:
        pytest.UsageError: no mark names a module.
    """
    if "contract_check" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker(_MARK)
    if mark is None or not mark.args:
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid} uses contract_check; name its module: "
            f"@pytest.mark.{_MARK}.with_args(MyFusion)"
        )
    cases = [
        pytest.param((module, check.name), id=f"{_name(module)}-{check.name}")
        for module in mark.args
        for check in CHECKS
    ]
    metafunc.parametrize("contract_check", cases, indirect=True)


@pytest.fixture
def contract_check(request: pytest.FixtureRequest) -> Callable[[], None]:
    """The function that runs one check: it passes, fails with observation and remedy, or skips with a reason."""
    module, check = request.param

    def run() -> None:
        __tracebackhide__ = True
        result = _checkup(module).result(check)
        if result.status == "fail":
            pytest.fail(str(result), pytrace=False)
        if result.status == "skip":
            pytest.skip(result.detail)

    return run


@cache
def _checkup(module: type[FusionModule] | str) -> Checkup:
    """Return the results of a module, cached for the session so that a check that others need runs once."""
    return Checkup(MODULES.load(module) if isinstance(module, str) else module, _name(module))


def _name(module: type[FusionModule] | str) -> str:
    return module if isinstance(module, str) else module.__name__
