"""The output of ``plan``: a matched budget, contexts, and what the study can decide."""

from __future__ import annotations

import json
import re
from pathlib import Path

from command_line import CommandLine

STUDY = """\
version: 1
name: fitted
data: {name: miniclevr, image_size: [32, 64], images: {train: 10, select: 5, evaluate: 5}}
backbone: {name: test_resnet, layer: 2}
text: {embedding: 8, hidden: 6}
fusion: {width: 16}
arms:
  film: {module: film}
  concat: {module: concat}
  product: {module: "toys:Product"}
seeds: 3
controls: [question_only]
budget: {match: params}
"""


def test_the_plan_shows_widths_and_distances(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY)
    shown = cli("plan", tmp_path / "s.yaml", "--runs", tmp_path / "runs").out
    assert "Parameters of the fusion modules and adapters, matched by each module's width to the" in shown
    (concat,) = (line for line in shown.splitlines() if line.strip().startswith("concat"))
    assert re.search(r"hidden=\d+ .* [+-]\d\.\d%", concat)
    assert "not ranked: it has no width to match" in shown
    budget = json.loads(cli("plan", tmp_path / "s.yaml", "--json", "--runs", tmp_path / "runs").out)["budget"]
    assert budget["match"] == "params" and budget["tolerance"] == 0.05
    assert f"hidden={budget['arms']['concat']['width']['hidden']}" in concat
    assert budget["arms"]["product"]["width"] == {}
    assert budget["arms"]["product"]["unranked"] == "it has no width to match"


def test_cells_of_contexts_are_exported_too(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(f"{STUDY}contexts: {{mean: {{head.pool: mean}}}}\n")
    exported = tmp_path / "exported"
    result = cli("plan", tmp_path / "s.yaml", "--runs", tmp_path / "runs", "--export", exported)
    assert "24 cells written" in result.out
    configs = [json.loads(file.read_text()) for file in (exported / "cells").glob("*/config.json")]
    pools = [config["head"]["pool"] for config in configs]
    assert len(configs) == 24
    assert pools.count("mean") == 12


def test_the_plan_says_what_can_be_decided(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(f"{STUDY}contexts: {{mean: {{head.pool: mean}}}}\n")
    place = (tmp_path / "s.yaml", "--runs", tmp_path / "runs")
    few = cli("plan", *place).out
    assert few.count("3 seeds, fewer than the default of 5") == 1
    assert few.count("with 80 % probability, a comparison finds a true difference of") == 1, "not of contexts"
    assert few.count("assumed until two arms have two finished seeds") == 1
    shown = json.loads(cli("plan", *place, "--json").out)
    assert shown["few_seeds"] in few
    decides = shown["decidable"]
    assert f"difference of {100 * decides['difference']:.1f} points (3 seeds, 5 images)" in few
    assert (decides["comparisons"], decides["clusters"]) == (1, 5), (
        "an arm outside the budget gets no verdict"
    )
    assert set(decides["by_seeds"]) == {"5", "8", "12"}
    enough = json.loads(cli("plan", *place, "--json", "--set", "seeds=5").out)
    assert enough["few_seeds"] == ""
    assert enough["decidable"]["difference"] == decides["by_seeds"]["5"]
    alone = json.loads(cli("plan", *place, "--json", "--set", "arms={film: {module: film}}").out)
    assert alone["few_seeds"] == "" and alone["decidable"] is None


def test_the_plan_of_looks_shows_the_next_one_and_the_most_cells(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY.replace("seeds: 3", "seeds: {min: 3, max: 12}"))
    place = (tmp_path / "s.yaml", "--runs", tmp_path / "runs")
    shown = cli("plan", *place, "--export", tmp_path / "exported").out
    assert "12 cells in all so far" in shown and "12 cells written" in shown
    assert "these are the cells of the next look" in shown
    assert (
        "looks at 3, 5, 8 and 12 seeds, which spend 1.25 %, 0.83 %, 1.25 % and 1.67 % of the error" in shown
    )
    assert "0 looks taken; the next is at 3 seeds, with concat open; it waits for 12 cells" in shown
    # The reference and the one ranked arm may get 12 seeds; the unranked arm and the control have 3.
    assert "at most, if every open arm stays open: 30 cells to train" in shown
    assert "a comparison of the last look finds a true difference of" in shown
    plan = json.loads(cli("plan", *place, "--json").out)
    assert len(plan["cells"]) == 12 and plan["looks"]["most_cells"] == 30
    assert (plan["looks"]["next"], plan["looks"]["open"]) == (3, ["concat"])
    decides = plan["decidable"]
    assert decides["at_looks"] and decides["seeds"] == 12 and set(decides["by_seeds"]) == {"3", "5", "8"}
    fixed = json.loads(cli("plan", *place, "--json", "--set", "seeds=12").out)
    assert "looks" not in fixed and len(fixed["cells"]) == 48
    assert fixed["decidable"]["difference"] < decides["difference"], "a look spends a part of 5 %"
