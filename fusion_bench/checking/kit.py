"""The contract kit: every check in order, and the results of one module.

A check is skipped if a check that it needs has failed, so that one fault gives one failed line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from fusion_bench.checking import behaviour, cost, gradients, precision, reading, structure, toy, tracing
from fusion_bench.checking.subject import CheckFailed, NotApplicable, Subject
from fusion_bench.contract import FusionModule
from fusion_bench.errors import FusionBenchError
from fusion_bench.foreign import foreign_streams, message_of

CRASHED = "make the forward run on these inputs"
CheckStatus: TypeAlias = Literal["pass", "fail", "skip"]


@dataclass(frozen=True)
class Check:
    """A promise of the contract.

    Attributes:
        name: name of the check, as printed.
        examine: the function of the check; it returns a note on a pass, or raises `CheckFailed` or `NotApplicable`.
        needs: checks that must pass before the result of this check has a meaning.
    """

    name: str
    examine: Callable[[Subject], str]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Attributes:
        check: name of the check.
        status: ``pass``, ``fail`` or ``skip``.
        detail: the observation, or the reason of a skip; may be empty.
        remedy: the change that fixes a failure.
        blocked: True if it was skipped because a check that it needs did not pass.
    """

    check: str
    status: CheckStatus
    detail: str = ""
    remedy: str = ""
    blocked: bool = False

    def __str__(self) -> str:
        line = f"{self.status}  {self.check}"
        if self.detail:
            line += f": {self.detail}"
        return f"{line}; {self.remedy}" if self.remedy else line


CHECKS: tuple[Check, ...] = (
    Check("declarations", structure.declarations),
    Check("shape", behaviour.shape, ("declarations",)),
    Check("registered", structure.registered, ("shape",)),
    Check("dtype", precision.dtype, ("registered",)),
    Check("stateless", behaviour.stateless, ("registered",)),
    Check("deterministic", behaviour.deterministic, ("stateless",)),
    Check("independent", behaviour.independent, ("deterministic",)),
    Check("padding", behaviour.padding, ("deterministic",)),
    Check("reacts", reading.reacts, ("registered",)),
    Check("ignores", reading.ignores, ("deterministic",)),
    Check("places", reading.places, ("independent",)),
    Check("trained", gradients.trained, ("registered",)),
    Check("finite_at_zero", gradients.finite_at_zero, ("registered",)),
    Check("gradcheck", gradients.gradcheck, ("dtype", "deterministic")),
    Check("half", precision.half, ("dtype", "stateless", "finite_at_zero")),
    Check("saved", structure.saved, ("deterministic",)),
    Check("host_sync", tracing.host_sync, ("registered",)),
    Check("moved", structure.moved, ("host_sync",)),
    Check("compiles", tracing.compiles, ("host_sync", "stateless")),
    Check("exports", tracing.exports, ("host_sync", "stateless")),
    Check("counted", cost.counted, ("moved",)),
    Check("declared_cost", cost.declared_cost, ("counted",)),
    Check("width", structure.width_scales, ("counted",)),
    Check("learns", toy.learns, ("independent", "padding", "reacts", "ignores", "trained")),
)


class Checkup:
    """The results of one module; each check runs when its result is first requested.

    Args:
        kind: the module's class.
        name: the user's name for it.

    Raises:
        FusionBenchError: the class is not a concrete `FusionModule`.
    """

    def __init__(self, kind: type[FusionModule], name: str | None = None) -> None:
        if not (isinstance(kind, type) and issubclass(kind, FusionModule)):
            raise FusionBenchError(
                f"{name or kind} is not a fusion module: derive it from fusion_bench.contract.FusionModule"
            )
        self.subject = Subject(kind, name or kind.__name__)
        self._checks = {check.name: check for check in CHECKS}
        self._found: dict[str, CheckResult] = {}

    def results(self) -> Iterator[CheckResult]:
        """Yield the result of every check, in order."""
        for name in self._checks:
            yield self.result(name)

    def result(self, name: str) -> CheckResult:
        """Return the result of one check; the checks that it needs run first."""
        if name not in self._found:
            self._found[name] = self._ask(self._checks[name])
        return self._found[name]

    def _ask(self, check: Check) -> CheckResult:
        for need in check.needs:
            found = self.result(need)
            if found.status == "fail" or found.blocked:
                cause = need if found.status == "fail" else found.detail.rpartition(" ")[2]
                return CheckResult(check.name, "skip", f"means nothing without {cause}", blocked=True)
        try:
            with torch.random.fork_rng(devices=[]), foreign_streams():
                torch.manual_seed(0)
                return CheckResult(check.name, "pass", check.examine(self.subject))
        except NotApplicable as reason:
            return CheckResult(check.name, "skip", str(reason))
        except CheckFailed as failure:
            return CheckResult(check.name, "fail", failure.seen, failure.remedy)
        except (Exception, SystemExit) as error:  # the code of the module can raise any exception
            return CheckResult(check.name, "fail", message_of(error), CRASHED)
