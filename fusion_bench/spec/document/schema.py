"""The study file as a whole: its sections and the keys outside them, and their JSON schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic.json_schema import GenerateJsonSchema

from fusion_bench.spec.document.search_section import SearchSection
from fusion_bench.spec.document.sections import (
    DEFAULT_SEEDS,
    ArmSection,
    BackboneSection,
    BudgetSection,
    DataSection,
    ExpectedSection,
    FusionSection,
    HeadSection,
    LimitsSection,
    OneLine,
    ReportSection,
    ResourcesSection,
    Section,
    StartSection,
    TextSection,
    TrainSection,
    VarySection,
    list_or_other,
)
from fusion_bench.spec.document.seeds_section import SeedsValue

CONTROLS = ("question_only", "image_only", "prior", "late_concat")
"""The controls of ``controls: true``."""
KNOWN_CONTROLS = (*CONTROLS, "frozen_random")


_FOLDER_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"


def _folder_name(name: str) -> str:
    if not re.fullmatch(_FOLDER_NAME, name):
        raise ValueError(f"{name!r} names a folder: write letters, digits, '.', '_', '+' and '-', at most 64")
    return name


class StudyFile(Section):
    """A study: what to compare, on what data, with which seeds."""

    version: Literal[1] = Field(description="version of the study file format")
    official: bool = Field(
        False,
        description="true: LaConvNet's published recipe for images and training (fusion_bench.spec.recipes)",
    )
    extends: str | list[str] | None = Field(
        None,
        description="another study file whose keys this one inherits and overrides; or several, of which later ones "
        "override earlier ones",
    )
    name: Annotated[str, AfterValidator(_folder_name)] = Field(
        description="the name of the study and of its folder", json_schema_extra={"pattern": _FOLDER_NAME}
    )
    title: OneLine = Field("", description="the title of the report, one line")
    data: DataSection
    backbone: BackboneSection | None = None
    text: TextSection = TextSection.model_construct()
    fusion: FusionSection = FusionSection.model_construct()
    head: HeadSection = HeadSection.model_construct()
    train: TrainSection = TrainSection.model_construct()
    arms: Annotated[Mapping[str, ArmSection | None], Field(max_length=500)] | None = Field(
        None, description="the arms by label; null drops an arm of the extended file"
    )
    vary: VarySection | None = None
    controls: Annotated[
        Annotated[bool, Tag("other")] | Annotated[list[Literal[KNOWN_CONTROLS]], Tag("list")],  # type: ignore[valid-type]
        Discriminator(list_or_other),
    ] = Field(
        True,
        description=f"true: the controls {', '.join(CONTROLS)}; false: no control; or a list of controls",
    )
    seeds: SeedsValue = Field(
        DEFAULT_SEEDS,
        description="a list of seeds, or the number of seeds (3 means 0, 1 and 2); or {arms: 5, reference: 8}: "
        "the reference gets more, since it is in every comparison; or looks, {min: 3, max: 12, stop: decided}: "
        "every arm gets the minimum, and open comparisons get more",
    )
    threads: int = Field(1, ge=1, le=1024, description="torch's number of threads in every cell")
    limits: LimitsSection = LimitsSection.model_construct()
    resources: ResourcesSection = ResourcesSection.model_construct()
    reference: str | None = Field(
        None, description="label of the arm that all others are compared with; null: the first arm"
    )
    start: StartSection | None = None
    search: SearchSection | None = None
    budget: BudgetSection = BudgetSection.model_construct()
    contexts: Mapping[str, Mapping[str, Any]] = Field(
        {},
        max_length=100,
        description="study keys (head.pool, backbone.name) by label: the same arms are trained again with these "
        "keys, to show whether the ranking holds",
    )
    expected: list[ExpectedSection] = Field(
        [], description="published or earlier values that results are compared with"
    )
    report: ReportSection = ReportSection.model_construct()


def study_schema() -> dict[str, Any]:
    """Return the JSON schema of a study file that stands alone, without the names and settings of components."""
    return StudyFile.model_json_schema(mode="validation", schema_generator=SchemaWithoutTitles)


class SchemaWithoutTitles(GenerateJsonSchema):
    """Writes JSON schemas without titles, which would repeat the names of the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False."""
        return False
