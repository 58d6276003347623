"""The layout of the figure of one explained sentence: what it shows, and the sizes of its parts in inches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_bench.data.decoding import read_image
from fusion_bench.explain.explain import ExplainedCell
from fusion_bench.explain.kernel_selection import MapPosition, select_positions
from fusion_bench.reporting.figures.explanation_text import answer_lines, caption_lines, outside_texts
from fusion_bench.reporting.figures.lettering import Lettering
from fusion_bench.reporting.figures.style import WIDTH

POSITION_NAMES = "ABCD"
"""The names of the shown positions; their number is the largest number of positions."""
IMAGE_SHARE = 0.4
"""The share of the width of the figure that the image takes."""
LINE_HEIGHT, SENTENCE_HEIGHT, CAPTION_HEIGHT = 0.24, 0.26, 0.16
_SENTENCE_LETTERS, _SENTENCE_LINES = 42, 12
_TITLE, _SCALE, KERNEL_HEIGHT = 0.26, 0.56, 1.75
"""Heights in inches: a line of text of each kind, the title of a panel, the colour scale under panels, a kernel."""
_COLUMNS = 3, 6
"""The smallest and largest number of word panels side by side."""


@dataclass(frozen=True, eq=False)
class ExplanationLayout:
    """The content of the figure and the sizes of its parts in inches.

    Attributes:
        explained: the explanation of one fusion module.
        image: ``[H, W, 3]``, at the size of its file.
        shown: the positions whose kernels are drawn.
        caption: the lines of the caption.
        lettering: the fonts for the texts from outside.
    """

    explained: ExplainedCell
    image: npt.NDArray[np.uint8]
    shown: tuple[MapPosition, ...]
    caption: tuple[str, ...]
    lettering: Lettering

    @property
    def aspect(self) -> float:
        """The width of the image divided by its height."""
        return float(self.image.shape[1] / self.image.shape[0])

    @property
    def sentence(self) -> list[str]:
        """The lines of the sentence."""
        return self.lettering.wrap(self.explained.explained_input.text, _SENTENCE_LETTERS, _SENTENCE_LINES)

    @property
    def columns(self) -> int:
        """The number of word panels side by side: more for narrow images."""
        return int(np.clip(round(WIDTH / (1.25 * self.aspect)), *_COLUMNS))

    @property
    def rows(self) -> int:
        """The number of rows of word panels."""
        return math.ceil(len(self.explained.words) / self.columns)

    @property
    def heights(self) -> tuple[float, float, float, float]:
        """The heights of the head, the words, the kernels (0 without kernels) and the caption."""
        text = SENTENCE_HEIGHT * len(self.sentence) + LINE_HEIGHT * (
            len(answer_lines(self.explained, self.lettering)) + 1
        )
        kernels = 0.0 if self.explained.kernels is None else KERNEL_HEIGHT + _TITLE + _SCALE
        return (
            max(IMAGE_SHARE * WIDTH / self.aspect, text) + 0.1,
            self.rows * (WIDTH / self.columns / self.aspect + _TITLE) + _SCALE,
            kernels,
            CAPTION_HEIGHT * (len(self.caption) + 0.5),
        )


def explanation_layout(explained: ExplainedCell) -> ExplanationLayout:
    """Return the layout of the figure: read the image, select positions and write the caption."""
    kernels = explained.kernels
    shown = () if kernels is None else tuple(select_positions(kernels, len(POSITION_NAMES)))
    lettering = Lettering.of(outside_texts(explained))
    caption = caption_lines(explained, shown, lettering)
    image = read_image(explained.explained_input.image)
    return ExplanationLayout(explained, image, shown, caption, lettering)
