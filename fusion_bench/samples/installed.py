"""Installed packages, found through the metadata that pip leaves; none of their code is imported."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution


def find_installed(name: str) -> Distribution | None:
    """Return the distribution that pip installed under this name; None if there is none."""
    try:
        return distribution(name)
    except (PackageNotFoundError, ValueError):  # ValueError: the name is empty
        return None
