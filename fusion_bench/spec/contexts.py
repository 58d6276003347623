"""The same arms in other surroundings: does a ranking hold with another backbone, slot or pooling?

A context is the study with some of its keys changed and a name of its own (``<study>--<context>``): it plans,
trains, resumes and reports as every study does. It searches nothing: an arm keeps what the study's own search
chose for it. Its budget is matched anew, since its surroundings change what a module costs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fusion_bench.registry import did_you_mean
from fusion_bench.spec.arm_specs import known_key
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.schema import VARIABLE
from fusion_bench.spec.document.tree import Node, assigned

_NOT_INHERITED = ("contexts", "search", "expected")


def slug(label: str) -> str:
    """A context's label as part of a folder's name: ``uniform slot`` -> ``uniform_slot``."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", label).strip("_.-")


def report_folder(label: str) -> str:
    """Where a context's report stands, inside its study's."""
    return f"contexts/{slug(label)}"


def context_trees(tree: Node, problems: Problems) -> Mapping[str, Node]:
    """The study once for each of its contexts, with that context's keys and name."""
    node = tree.children.get("contexts", tree.having({}))
    name = tree.children.get("name")
    if name is None or not isinstance(name.value, str):
        return {}
    found: dict[str, Node] = {}
    for label, changes in node.children.items():
        if not slug(label) or slug(label) in map(slug, found):
            problems.add(changes, "names a folder: write letters and digits, unlike the other contexts'")
            continue
        if not changes.children:
            problems.add(changes, "changes nothing; write study keys, for example {head.pool: mean}")
            continue
        changed = tree.without(*_NOT_INHERITED)
        for key, value in changes.children.items():
            if "." not in key:
                hint = did_you_mean(key, VARIABLE)
                problems.add(value, f"must be a key of a section, for example head.pool{hint}")
            elif known_key(key, value, (), VARIABLE, problems):
                changed = assigned(changed, key, value)
        own = Node(f"{name.value}--{slug(label)}", name.place, name.path)
        found[label] = changed.having({**changed.children, "name": own})
    return found
