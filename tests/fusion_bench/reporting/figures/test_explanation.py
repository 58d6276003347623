"""The figure of an explained sentence: all texts are readable for every kind of input."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from fusion_bench.errors import DataError
from fusion_bench.explain.explain import Answer, ExplainedCell, ExplainedInput
from fusion_bench.reporting.figures.explanation import draw_explained, draw_layout
from fusion_bench.reporting.figures.explanation_layout import explanation_layout
from fusion_bench.reporting.figures.style import WIDTH, canvas

SHORT = "is the red cube left of the zebra"
LONG = (
    "are there an equal number of large things behind the tiny cyan metallic cylinder and small purple rubber "
    "spheres that are in front of the big yellow block on the left side of the other shiny ball"
)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return drawn_picture(tmp_path / "picture.png", 48, 72)


def drawn_picture(file: Path, height: int, width: int) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def explained(picture: Path, text: str = SHORT, **changed: Any) -> ExplainedCell:
    words = tuple(text.split())
    draw = np.random.default_rng(1)
    attention = draw.dirichlet(np.full(len(words), 0.3), (6, 9)).transpose(2, 0, 1).astype(np.float32)
    kernels = draw.normal(size=(4, 9, 6, 9)).astype(np.float32)
    found = ExplainedCell(
        study="toy",
        arm="laconv",
        component="laconv",
        seed=0,
        cell="0123456789abcdef",
        stale_reason="",
        copy=2,
        copies=2,
        explained_input=ExplainedInput(picture, text + "?", "yes", "val-0"),
        words=words,
        known=tuple(word != "zebra" for word in words),
        attention=attention,
        kernels=kernels,
        answer=Answer("yes", 0.87),
    )
    return dataclasses.replace(found, **changed)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """The content of a figure after its layout: each drawn text with its box, and each image."""

    texts: list[tuple[Text, Bbox]]
    images: list[AxesImage]
    edge: Bbox

    @property
    def shown_text(self) -> str:
        return " ".join(text.get_text() for text, _ in self.texts)

    def maps(self, *shape: int) -> list[AxesImage]:
        return [image for image in self.images if image.get_array().shape == shape]


def drawn(what: ExplainedCell) -> Drawn:
    texts: list[Text] = []
    draw = Text.draw

    def recording(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            texts.append(text)
        draw(text, renderer)

    sheet = explanation_layout(what)
    with (
        pytest.MonkeyPatch.context() as patched,
        canvas(WIDTH, sum(sheet.heights), sheet.lettering) as figure,
    ):
        patched.setattr(Text, "draw", recording)
        draw_layout(figure, sheet)
        FigureCanvasAgg(figure).draw()
        images = [image for image in figure.findobj(AxesImage) if isinstance(image, AxesImage)]
        return Drawn([(text, text.get_window_extent()) for text in texts], images, figure.bbox)


@pytest.mark.parametrize(
    ("height", "width", "text", "kernels"),
    [
        (48, 72, SHORT, True),
        (48, 72, LONG, True),
        (100, 400, SHORT, True),
        (96, 48, SHORT, False),
        (48, 72, "cube", True),
    ],
    ids=["short", "long", "wide", "tall without kernels", "one word"],
)
def test_no_text_lies_on_another_or_beyond_the_edge(
    tmp_path: Path, height: int, width: int, text: str, kernels: bool
) -> None:
    what = explained(drawn_picture(tmp_path / "own.png", height, width), text)
    if not kernels:
        what = dataclasses.replace(what, kernels=None)
    found = drawn(what)
    assert len(found.texts) > len(what.words)
    edge = found.edge.padded(1)
    for item, box in found.texts:
        assert edge.x0 <= box.x0 and box.x1 <= edge.x1, item
        assert edge.y0 <= box.y0 and box.y1 <= edge.y1, item
        assert item.get_fontsize() >= 8
    for (one, left), (other, right) in itertools.combinations(found.texts, 2):
        assert not left.overlaps(right), (one, other)


def test_it_says_who_answered_what_and_what_is_seen(picture: Path) -> None:
    shown_text = drawn(explained(picture)).shown_text
    assert "is the red cube left of the zebra?" in shown_text
    assert "answer: yes  (87 %)" in shown_text and "truth: yes" in shown_text
    assert "laconv, seed 0, copy 2 of 2" in shown_text
    assert "zebra*" in shown_text and "read as an unknown word" in shown_text
    assert "one of largest norm" in shown_text
    assert "stale" not in shown_text and "reads the first" not in shown_text
    cut = dataclasses.replace(
        explained(picture), explained_input=ExplainedInput(picture, SHORT + " and the sphere?")
    )
    assert "The study reads the first 8 words of a sentence." in drawn(cut).shown_text


def test_a_stale_cell_a_missing_truth_and_one_kernel_for_all_are_said(picture: Path) -> None:
    what = explained(
        picture,
        stale_reason="the module's source changed since it was trained",
        explained_input=ExplainedInput(picture, "is it $red$ or $blue$"),
        kernels=np.ones((1, 9, 6, 9), dtype=np.float32),
        copies=1,
    )
    shown_text = drawn(what).shown_text
    assert "The cell is stale: the module's source changed since it was trained." in shown_text
    assert "truth" not in shown_text and "copy" not in shown_text
    assert "no other position has kernels of its own" in shown_text
    assert "is it $red$ or $blue$" in shown_text


def test_heat_is_the_attention_itself_and_kernels_share_a_scale_centred_at_zero(picture: Path) -> None:
    what = explained(picture)
    found = drawn(what)
    heats = found.maps(6, 9)[: len(what.words)]
    assert np.array_equal(np.stack([image.get_array() for image in heats]), what.attention)
    assert {image.get_clim() for image in heats} == {(0.0, float(what.attention.max()))}
    assert {image.get_interpolation() for image in heats} == {"nearest"}
    taps = found.maps(3, 3)
    assert len(taps) == 4
    (limits,) = {image.get_clim() for image in taps}
    assert limits[0] == -limits[1]
    assert max(abs(image.get_array()).max() for image in taps) == limits[1]


def test_equal_explanations_are_equal_files_on_a_light_ground(picture: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_explained(explained(picture, "red cube"), tmp_path / "new" / name)
    first = tmp_path / "new" / "a.png"
    assert first.read_bytes() == (tmp_path / "new" / "b.png").read_bytes()
    with Image.open(first) as image:
        assert np.asarray(image.convert("L")).mean() > 180


def test_a_picture_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the image .*gone\.png"):
        draw_explained(explained(tmp_path / "gone.png"), tmp_path / "out.png")


def test_words_answers_and_labels_are_drawn_as_they_are(picture: Path) -> None:
    text = "is $it$ _the_ \U00020000 cat قط " + "averyverylongword" * 20
    what = explained(
        picture,
        text,
        answer=Answer("$x_1$" * 40, 0.5),
        arm="_$arm " + "long " * 60,
        component="a\tb\x1b" + "c " * 90,
    )
    found = drawn(what)
    shown_text = found.shown_text
    assert "is $it$ _the_ U+20000 cat قط" in shown_text
    assert "answer: $x_1$" in shown_text and r"(a b\x1bc c" in shown_text
    assert "Characters that no font of this machine has" in shown_text
    edge = found.edge.padded(1)
    beyond = [text.get_text() for text, box in found.texts if box.x0 < edge.x0 or box.x1 > edge.x1]
    assert not beyond
