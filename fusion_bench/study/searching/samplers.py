"""Optuna's samplers, with every argument that matters written here, so that a new default changes no search.

A sampler is made anew for each trial, seeded by the number of the trial. What it keeps from one trial to the next
lies in the trials (``cmaes``) or in the study (``qmc``). So a search that is repeated over finished cells draws the
same trials, in whatever process.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping

import optuna
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.study import Sampler
from fusion_bench.training.seeds import seed_of

_STARTUP = 8
"""Number of trials drawn at random before the sampler uses earlier values; equal for arms with equal spaces."""


def sampler_for(name: Sampler, number: int) -> BaseSampler:
    """Return the sampler that draws the trial of this number, from 0.

    Raises:
        FusionBenchError: it needs a package that is not installed.
    """
    if missing := missing_sampler_package(name):
        raise FusionBenchError(missing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _SAMPLERS[name](seed_of(f"search/{number}", 0) % 2**32)


def missing_sampler_package(name: Sampler) -> str:
    """Return the sentence that says which package a sampler lacks; empty if it lacks none."""
    if name != "cmaes" or importlib.util.find_spec("cmaes") is not None:
        return ""
    return (
        "search.sampler: cmaes needs the package cmaes, which is not installed; install it with: "
        "pip install 'laconv-fusion-bench[search]'"
    )


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, n_startup_trials=_STARTUP, multivariate=True, constant_liar=True)


def _gp(seed: int) -> BaseSampler:
    return GPSampler(
        seed=seed,
        n_startup_trials=_STARTUP,
        deterministic_objective=False,  # another seed gives another value
        warn_independent_sampling=False,
    )


def _cmaes(seed: int) -> BaseSampler:
    # Trials drawn at random teach it nothing: only those of its own generations do.
    return CmaEsSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)


def _qmc(seed: int) -> BaseSampler:
    return QMCSampler(
        qmc_type="sobol",
        scramble=True,  # otherwise the first point is a corner of the space
        seed=seed_of("search/qmc", 0) % 2**32,  # one sequence for all trials
        independent_sampler=RandomSampler(seed=seed),  # of the first trial, before the space is known
        warn_independent_sampling=False,
    )


_SAMPLERS: Mapping[Sampler, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "random": lambda seed: RandomSampler(seed=seed),
    "gp": _gp,
    "cmaes": _cmaes,
    "qmc": _qmc,
}
