"""``run --smoke`` runs the studies of the project through all steps, at toy size, in this process."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import CommandLine, paths_of
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.data.miniclevr.cogent import MiniClevrCogent
from fusion_bench.data.miniclevr.dataset import MiniClevr
from fusion_bench.data.refer.dataset import Refer
from fusion_bench.registries import DATASETS
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.spec.document.files import read_study_tree
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.load import read_study
from fusion_bench.spec.smoke import PLANTED, smoke_study
from fusion_bench.study.plan import confirm_cells, write_configs
from published_easy_vqa import write_easy_vqa
from published_refer import write_published
from published_vqa2 import write_vqa2

STUDIES = Path(__file__).parents[3] / "studies"
SECTIONS = (
    "Answer",
    "What was compared",
    "Results",
    "Above the floors",
    "Other splits and metrics",
    "Differences from `",
    "Against the controls",
    "Learning curves and convergence",
    "Cost",
    "Slices",
    "Where the arms disagree",
    "Cells without a result",
    "How the numbers are made",
    "Environment and reproduction",
)
SMALLER = (
    "--set",
    "data.image_size=[64,64]",
    "--set",
    "fusion.width=64",
    "--set",
    "head.width=64",
)  # a study for a GPU, on a CPU
LIGHTER = (
    "--set",
    "backbone.name=test_resnet",
    "--set",
    "fusion.width=32",
    "--set",
    "arms.laconvnet_s={network: laconvnet_tiny}",
    "--set",
    "arms.laconvnet_b={network: laconvnet_tiny, dropout: 0.0}",
    *(word for arm in ("cross_attention", "garan", "concat") for word in ("--set", f"arms.{arm}=null")),
)  # the same: LaConvNet-B alone would take minutes
SHALLOWER = ("--set", "backbone.name=test_resnet", "--set", "backbone.layer=2", "--set", "fusion.depth=1")
WITH_OTHER_DATA = ("refcoco+", "refcocog")
LIKE_ANOTHER = {
    "relate_source": "quickstart",
    "relate": "cogent_b",  # starts from the weights of another study
    "tuned": "search",
    "text_encoders": "backbones",  # has contexts
    "res": "rec",  # with the other task of its data
}
WHOLE = sorted(
    set(STUDIES.glob("*.yaml"))
    - {
        *STUDIES.glob("line_up_*.yaml"),
        *(STUDIES / f"{name}.yaml" for name in (*WITH_OTHER_DATA, *LIKE_ANOTHER)),
    }
)
"""All but those that ask nothing new of the harness: the families that ``line_up.yaml`` extends, those that are
``refcoco.yaml`` with other data, and those that take the steps of another study."""
SEVERAL_ARMS = {"quickstart", "line_up", "ablation"}  # elsewhere two arms are enough
ALL_CONTROLS = {"quickstart", "rec", "search"}  # elsewhere one control is enough
FIGURES = {"arms", "differences", "curves", "costs", "slices", "samples"}

# MLflow calls what SQLAlchemy gives up.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(scope="module")
def shared_runs(fresh_runs: Callable[[], Path]) -> Path:
    """A runs folder in which studies share data, cached maps and many cells."""
    return fresh_runs()


@pytest.fixture(scope="module")
def made_clevr(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders in the layouts of CLEVR and CLEVR-CoGenT, by data set."""
    folder = tmp_path_factory.mktemp("clevr")
    sizes = {"images": {"train": 60, "select": 8, "evaluate": 8}, "size": (32, 48), "things": (2, 4)}
    MiniClevr(folder / "clevr", **sizes).prepare()
    MiniClevrCogent(folder / "clevr_cogent", **sizes).prepare()
    return {name: folder / name for name in ("clevr", "clevr_cogent")}


@pytest.fixture(scope="module")
def made_vqa2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files in VQA v2's layout; the published ones are not ours to carry."""
    return write_vqa2(tmp_path_factory.mktemp("vqa2"))


def published(name: str, folder: Path) -> Path:
    """Write a stand-in of a data set of REFER, and return its folder."""
    adapter = DATASETS.load(name)
    assert issubclass(adapter, Refer)
    return write_published(folder / "published", adapter)


def _needing(file: Path) -> object:
    marks = [] if file.stem == "quickstart" else [pytest.mark.slow]
    marks += [pytest.mark.pack] if file.stem == "nlvr" else []
    return pytest.param(file, id=file.stem, marks=marks)


def make_smaller(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the smoke run of a study have fewer arms and samples; the quickstart's is as users see it."""
    if name not in SEVERAL_ARMS:
        monkeypatch.setattr("fusion_bench.spec.smoke._ARMS", 1)
    if name != "quickstart":
        monkeypatch.setattr("fusion_bench.spec.smoke._SAMPLES", 24)


@pytest.mark.parametrize("file", [_needing(file) for file in WHOLE])
def test_a_study_works_from_end_to_end(
    file: Path,
    shared_runs: Path,
    cli: CommandLine,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_smaller(file.stem, monkeypatch)
    data = [] if file.stem in ALL_CONTROLS else ["--set", "controls=[image_only]"]
    if file.stem.startswith("clevr"):
        folder = request.getfixturevalue("made_clevr")["_".join(file.stem.split("_")[:2])]
        data += ["--data", f"{file.stem}={folder}", *SMALLER, *SHALLOWER]
    if file.stem == "clevr_cogent_b":
        # What it starts from is as large as it is written; a smoke run starts from scratch all the same.
        data += ["--set", "start=null"]
    if file.stem == "transfer":
        data += ["--data", f"clevr={request.getfixturevalue('made_clevr')['clevr']}"]
    if file.stem == "refcoco":
        data += ["--data", f"refcoco={published('refcoco', tmp_path)}", *LIGHTER]
    if file.stem == "nlvr":
        packs = request.getfixturevalue("packs")
        data += ["--data", f"nlvr={packs / 'nlvr'}"]
    if file.stem == "easy_vqa":
        data += ["--data", f"easy_vqa={write_easy_vqa(tmp_path / 'published')}"]
    if file.stem == "vqa2":
        data += ["--data", f"vqa2={request.getfixturevalue('made_vqa2')}", *SMALLER]
    result = cli("run", file, "--smoke", "--runs", shared_runs, "--device", "cpu", *data)
    assert result.code == 0, result.err
    study = shared_runs / "studies" / f"{file.stem}-smoke"

    cells = json.loads((study / "plan.json").read_text())["cells"]
    compared = [cell for cell in cells if cell["purpose"] == "confirm"]
    arms = {cell["arm"] for cell in compared if cell["role"] != "control"} - {PLANTED}
    seeds = {cell["seed"] for cell in compared}
    assert len(arms) >= 2
    assert len(seeds) == 2
    document = read_study_tree(file, (), Problems())  # loading it again would match every budget again
    assert document is not None
    assert any(cell["purpose"] == "search" for cell in cells) == ("search" in document.children)

    report = (study / "report" / "report.md").read_text()
    sections = dict(re.findall(r"^##+ (.+)\n([\s\S]*?)(?=^##|\Z)", report, re.MULTILINE))
    for heading in (*SECTIONS, *(["Does the ranking hold?"] if "contexts" in document.children else [])):
        (body,) = [body for name, body in sections.items() if name.startswith(heading)]
        assert body.strip(), heading
    assert set(re.findall(r"\(figures/(\w+)\.png\)", report)) == FIGURES
    for figure in FIGURES:
        assert (study / "report" / "figures" / f"{figure}.png").stat().st_size > 2000
    # Only the deliberate failure is reported as a failure: in the report and on the screen.
    failed = re.findall(
        r"^\| `(.+?)` +\| +\d+ +\| \*\*failed\*\*", sections["Cells without a result"], re.MULTILINE
    )
    assert failed == [PLANTED] * 2
    assert result.out.count(f"failed: {PLANTED}") == 2
    assert sections["Cells without a result"].count("the loss was not finite") == 2

    with TrackingStore.of(shared_runs).open() as client:
        experiment = client.get_experiment_by_name(f"{file.stem}-smoke")
        runs = client.search_runs([experiment.experiment_id], max_results=1000)
        report_run = next(run for run in runs if run.data.tags["kind"] == "report")
        assert list(
            (shared_runs / "artifacts").glob(f"*/{report_run.info.run_id}/artifacts/report/report.html")
        )
    shown = {
        (run.data.tags["arm"], run.data.params["seed"]) for run in runs if run.data.tags["kind"] == "cell"
    }
    assert shown >= {(cell["arm"], str(cell["seed"])) for cell in compared if cell["arm"] != PLANTED}


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_OTHER_DATA)
def test_a_cell_of_a_study_that_differs_in_its_data_is_trained_and_judged(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion_bench.spec.smoke._SAMPLES", 24)
    study = smoke_study(read_study(STUDIES / f"{name}.yaml", LIGHTER[1::2]))
    paths = paths_of(study, tmp_path / "runs", (f"{name}={published(name, tmp_path)}",))
    (film,) = (cell for cell in confirm_cells(study.arms, study.seeds[:1]) if cell.arm == "film")
    write_configs([film], paths.runs)
    list(InlineExecutor(WorkerSettings(paths, workers=1, threads=1)).run([film.id]))
    judged = cell_folder(paths.runs, film.id).outcome().samples
    assert set(judged["split"]) == {"val", *(("test",) if name == "refcocog" else ("testA", "testB"))}
