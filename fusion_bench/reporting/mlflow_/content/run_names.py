"""The names and parameters under which MLflow shows a study: metrics, factors and settings of an arm."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.serialisation import to_json
from fusion_bench.storage import canonical
from fusion_bench.training.config import CellConfig

PARAMETERS: Final = "parameters"
MULTIPLY_ADDS: Final = "multiply_adds"
LATENCY: Final = "latency_ms"
_LONGEST_NAME: Final = 250
_LONGEST_PARAM: Final = 6000
_ARM_PARAMS: Final = ("arm", "component", "role", "seed")


def metric_name(*parts: str) -> str:
    """Return the parts joined with ``_`` as a name that MLflow accepts: ``test``, ``acc@1`` -> ``test_acc_at_1``."""
    joined = "_".join(parts).replace("@", "_at_").replace("%", "percent").replace("/", "_")
    return re.sub(r"[^\w.\- ]", "_", joined)[:_LONGEST_NAME]


def primary_metric(results: StudyResults) -> str:
    """Return the name under which the primary metric is logged."""
    return metric_name(results.primary_split, results.primary)


def shown_value(value: float) -> float:
    """Return a value to five significant digits, which a column of MLflow's table shows whole.

    Counts stay exact. The report and the samples, which are artifacts, hold every digit.
    """
    return value if not math.isfinite(value) or value == int(value) else float(f"{value:.5g}")


def factor_names(results: StudyResults) -> tuple[str, ...]:
    """Return the names of the factors of all arms, as they are logged."""
    return tuple(dict.fromkeys(name for arm in results.arms for name in factor_params(factors_of(arm))))


def factors_of(arm: ArmSummary) -> dict[str, Any]:
    """Return the settings in which an arm differs from others, those that a search chose among them."""
    return {**arm.factors, **arm.searched}


def factor_params(factors: Mapping[str, Any]) -> dict[str, str]:
    """Return factors as parameters of a run, under names that no other parameter has."""
    named = {metric_name(name): value for name, value in factors.items()}
    return {
        f"setting.{name}" if name in _ARM_PARAMS else name: param_text(value)
        for name, value in named.items()
        if value is not None
    }


def arm_params(arm: str, component: str, role: str, factors: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters of an arm: its name and its factors, for the table and the parallel coordinates."""
    return {"arm": arm, "component": component, "role": role, **factor_params(factors)}


def settings_params(config: CellConfig) -> dict[str, str]:
    """Return the settings that a cell was trained with: ``train.epochs``, ``fusion.width``, ``module.kernel_size``.

    Those of components that equal a default of their class are left out, as in the cell's ``config.json``.
    """
    stored = config.to_json()
    stored.pop("start", None)
    stored.pop("seed", None)
    found: dict[str, str] = {}
    _flatten("", stored, found)
    return {re.sub(r"^arm(?=\.|$)", "module", name): text for name, text in found.items() if text}


def _flatten(prefix: str, value: Any, into: dict[str, str]) -> None:
    if isinstance(value, Mapping) and "target" in value and "settings" in value:
        target = value["target"]
        into[metric_name(prefix.rstrip("."))] = param_text(target.get("name") or target["reference"])
        value = value["settings"]
    if isinstance(value, Mapping):
        for name, item in value.items():
            _flatten(f"{prefix}{name}.", item, into)
    elif value is not None:
        into[metric_name(prefix.rstrip("."))] = param_text(to_json(value))


def param_text(value: Any) -> str:
    """Return a value as the text of a parameter, cut where MLflow would cut it."""
    return (value if isinstance(value, str) else canonical(value))[:_LONGEST_PARAM]
