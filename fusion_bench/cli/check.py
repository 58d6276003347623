"""The implementation of ``fusion-bench check``: whether a module follows the contract, one line per check."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from fusion_bench.checking.kit import CheckResult, Checkup
from fusion_bench.registries import MODULES


def check_module(name: str, *, as_json: bool) -> None:
    """Run all checks of the contract on a module and print the result of each.

    Args:
        name: a registered name, ``package.module:Class`` or ``path/to/file.py[:Class]``.
        as_json: print one JSON object instead of lines.

    Raises:
        FusionBenchError: the module does not exist, or it is not a fusion module.
        typer.Exit: with code 1, if a check fails.
    """
    checkup = Checkup(MODULES.load(name), name)
    results: list[CheckResult] = []
    for result in checkup.results():
        results.append(result)
        if not as_json:
            typer.echo(str(result))
    failed = [result for result in results if result.status == "fail"]
    if as_json:
        typer.echo(
            json.dumps(
                {"module": name, "passed": not failed, "checks": [asdict(r) for r in results]}, indent=2
            )
        )
    else:
        typer.echo(_summary(name, results))
    if failed:
        raise typer.Exit(1)


def _summary(name: str, results: list[CheckResult]) -> str:
    count = {status: sum(r.status == status for r in results) for status in ("pass", "fail", "skip")}
    return f"{name}: {count['pass']} passed, {count['fail']} failed, {count['skip']} skipped"
