"""fusion-bench compares vision-language fusion modules. This is its public Python API.

    from fusion_bench import load_report, load_study, run_study

    study = load_study("my_study.yaml")       # read and checked; nothing is trained
    report = run_study("my_study.yaml")       # trains what is missing, then writes the report
    report = load_report("reports/quickstart")
    report.comparisons                        # a pandas DataFrame

``import fusion_bench`` imports nothing heavy: a name is imported from its own file when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["Report", "Study", "load_report", "load_study", "run_study"]

if TYPE_CHECKING:
    from fusion_bench.api.report import Report, load_report
    from fusion_bench.api.run import run_study
    from fusion_bench.api.study import load_study
    from fusion_bench.spec.study import Study
else:

    def __getattr__(name: str) -> object:
        """A public name, imported from its own file when it is first used.

        Raises:
            AttributeError: the package has no such name.
        """
        import importlib  # noqa: PLC0415 - a package that only holds other packages needs no importer

        homes = {
            "Report": "fusion_bench.api.report",
            "Study": "fusion_bench.spec.study",
            "load_report": "fusion_bench.api.report",
            "load_study": "fusion_bench.api.study",
            "run_study": "fusion_bench.api.run",
        }
        if name not in homes:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)


def __dir__() -> list[str]:
    """The public names, and those that every package has."""
    return sorted({*globals(), *__all__})
