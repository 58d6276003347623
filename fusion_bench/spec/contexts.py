"""Contexts: the same arms with another backbone, slot or pooling, to show whether a ranking holds.

A context is the study with some keys changed and its own name (``<study>--<context>``). It plans, trains, resumes and
reports like any other study. It has no search: an arm keeps the settings that the study's own search chose. Its
budget is matched again, because the changed keys change the cost of a module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fusion_bench.registry import did_you_mean
from fusion_bench.spec.arm_specs import check_key
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.sections import VARIABLE
from fusion_bench.spec.document.tree import Node, set_value
from fusion_bench.storage import digest

_MAX_SLUG = 40
_NOT_INHERITED = ("contexts", "search", "expected")


def slug(label: str) -> str:
    """Return a context's label as part of a folder's name: ``uniform slot`` becomes ``uniform_slot``.

    A digest stands for a long label, and for one without such letters and digits.
    """
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", label).strip("_.-")
    return (
        plain if 0 < len(plain) <= _MAX_SLUG else f"{plain[: _MAX_SLUG - 9]}-{digest(label, 8)}".lstrip("-")
    )


def report_folder(label: str) -> str:
    """Return the folder of a context's report, relative to the folder of its study's report."""
    return f"contexts/{slug(label)}"


def context_trees(tree: Node, problems: Problems) -> Mapping[str, Node]:
    """Return, by label of the context, the tree of the study with that context's keys and name."""
    node = tree.children.get("contexts", tree.having({}))
    name = tree.children.get("name")
    if name is None or not isinstance(name.value, str):
        return {}
    trees: dict[str, Node] = {}
    for label, changes in node.children.items():
        if slug(label) in map(slug, trees):
            problems.add(
                changes,
                "names a folder; write a label whose letters or digits differ from the other contexts",
            )
            continue
        if not changes.children:
            problems.add(changes, "changes nothing; write study keys, for example {head.pool: mean}")
            continue
        changed = tree.without(*_NOT_INHERITED)
        for key, value in changes.children.items():
            if "." not in key:
                hint = did_you_mean(key, VARIABLE)
                problems.add(value, f"must be a key of a section, for example head.pool{hint}")
            elif check_key(key, value, (), VARIABLE, problems):
                changed = set_value(changed, key, value)
        own_name = Node(f"{name.value}--{slug(label)}", name.location, name.path)
        trees[label] = changed.having({**changed.children, "name": own_name})
    return trees
