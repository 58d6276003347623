"""A third party checks its module with three lines."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

MODULE = '''
from torch import nn
from fusion_bench.contract import Choice, Citation, FusionModule, Width


class Gate(FusionModule):
    """A gate that forgets to listen if it is told to."""

    citation = Citation("My gate", "Me", "in preparation", 2026, "https://example.org")
    width = Width("hidden", step=4, minimum=4)
    listens = "sentence"
    position_code = "none"
    deaf = False

    @classmethod
    def search_space(cls, visual_dim, language_dim):
        return {"hidden": Choice((8, 16))}

    def __init__(self, visual_dim, language_dim, *, hidden=16):
        super().__init__()
        self.out_dim = visual_dim
        self.gate = nn.Sequential(nn.Linear(language_dim, hidden), nn.ReLU(), nn.Linear(hidden, visual_dim))

    def forward(self, visual, language):
        heard = language.sentence * 0 if self.deaf else language.sentence
        return visual * self.gate(heard)[:, :, None, None]


class DeafGate(Gate):
    deaf = True
'''

TEST = """
import pytest
from gate import DeafGate, Gate

@pytest.mark.fusion_module(Gate, DeafGate)
def test_contract(contract_check):
    contract_check()
"""


def test_each_check_is_a_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(gate=MODULE, test_gate=TEST)
    chosen = "padding or reacts or declared_cost"
    outcome = pytester.runpytest_inprocess("-p", "fusion_bench.checking.plugin", "-v", "-rfs", "-k", chosen)
    outcome.assert_outcomes(passed=3, failed=1, skipped=2)
    outcome.stdout.fnmatch_lines(
        ["*test_contract*Gate-reacts* PASSED*", "*test_contract*DeafGate-reacts* FAILED*"]
    )
    outcome.stdout.fnmatch_lines(["*other sentence, same output; use the sentence*"])


@pytest.mark.parametrize("mark", [".with_args(Gate)", "('gate:Gate')"], ids=["class", "name"])
def test_one_module_is_named_by_its_class_or_by_a_name(pytester: pytest.Pytester, mark: str) -> None:
    pytester.makepyfile(gate=MODULE, test_gate=TEST.replace("(Gate, DeafGate)", mark))
    outcome = pytester.runpytest_inprocess("-p", "fusion_bench.checking.plugin", "-k", "reacts")
    outcome.assert_outcomes(passed=1)


def test_a_test_that_does_not_say_which_module_is_told_so(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_contract(contract_check): contract_check()")
    outcome = pytester.runpytest_inprocess("-p", "fusion_bench.checking.plugin")
    assert outcome.ret != 0
    outcome.stdout.fnmatch_lines(["*@pytest.mark.fusion_module.with_args(MyFusion)*"])


def test_nothing_is_there_unless_asked_for(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_contract(contract_check): contract_check()")
    outcome = pytester.runpytest_inprocess("-p", "no:fusion_bench.checking.plugin")
    outcome.stdout.fnmatch_lines(["*fixture 'contract_check' not found*"])
