"""The control ``late_concat``: the block of ``image_only``, with the sentence at the head."""

from __future__ import annotations

from fusion_modules.controls.image_only import ImageOnly
from fusion_modules.controls.late_concat import LateConcat
from fusion_modules.controls.prior import Prior
from fusion_modules.controls.question_only import QuestionOnly


def test_is_the_only_control_with_the_sentence_at_the_head() -> None:
    assert LateConcat.sentence_at_head
    assert not any(module.sentence_at_head for module in (QuestionOnly, ImageOnly, Prior))
    assert LateConcat(8, 5).state_dict().keys() == ImageOnly(8, 5).state_dict().keys()
