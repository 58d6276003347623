"""The names and parameters under which MLflow shows a study: metrics, factors and settings of an arm."""

from __future__ import annotations

import re
from typing import Any, Final

from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.storage import canonical

_LONGEST_NAME: Final = 250
_LONGEST_PARAM: Final = 6000
_ARM_PARAMS: Final = (
    "arm",
    "component",
    "role",
    "seed",
    "fusion_parameters",
    "fusion_multiply_adds",
    "around_parameters",
    "around_multiply_adds",
    "latency_ms",
)


def metric_name(*parts: str) -> str:
    """Return the parts joined with ``_`` as a name that MLflow accepts: ``test``, ``acc@1`` -> ``test_acc_at_1``."""
    joined = "_".join(parts).replace("@", "_at_").replace("%", "percent").replace("/", "_")
    return re.sub(r"[^\w.\- ]", "_", joined)[:_LONGEST_NAME]


def primary_metric(results: StudyResults) -> str:
    """Return the name under which the primary metric is logged."""
    return metric_name(results.primary_split, results.primary)


def factor_names(results: StudyResults) -> tuple[str, ...]:
    """Return the names of the factors of all arms, as they are logged."""
    logged = dict.fromkeys(name for arm in results.arms for name in arm_params(arm))
    return tuple(name for name in logged if name not in _ARM_PARAMS)


def arm_params(arm: ArmSummary) -> dict[str, str]:
    """Return the parameters of an arm: its name, factors and cost, for the table and the parallel coordinates."""
    fixed: dict[str, Any] = {
        "arm": arm.label,
        "component": arm.component,
        "role": arm.role,
        "fusion_parameters": arm.fusion_parameters,
        "fusion_multiply_adds": arm.fusion_multiply_adds,
        "around_parameters": arm.around_parameters,
        "around_multiply_adds": arm.around_multiply_adds,
        "latency_ms": None if arm.latency_ms is None else round(arm.latency_ms, 4),
    }
    factors = {metric_name(name): value for name, value in {**arm.factors, **arm.searched}.items()}
    params = {f"setting.{name}" if name in _ARM_PARAMS else name: value for name, value in factors.items()}
    return {
        name: _param_text(value)[:_LONGEST_PARAM]
        for name, value in {**fixed, **params}.items()
        if value is not None
    }


def _param_text(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value)
