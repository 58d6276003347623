"""The registries of everything that a study can name: modules, networks, text encoders, data sets, tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_bench.registry import Registry

if TYPE_CHECKING:  # the names are known without torch
    from fusion_bench.contract import FusionModule, TextEncoder, VisionLanguageNetwork
    from fusion_bench.samples.dataset import DataSet
    from fusion_bench.tasks.task import Task

MODULES: Registry[FusionModule] = Registry("module", group="fusion_bench.modules")
NETWORKS: Registry[VisionLanguageNetwork] = Registry("network", group="fusion_bench.networks")
TEXT_ENCODERS: Registry[TextEncoder] = Registry(
    "text encoder",
    group="fusion_bench.text_encoders",
    builtin={
        "gru": "fusion_bench.encoders.text:GruEncoder",
        "glove": "fusion_bench.encoders.glove:GloveEncoder",
        "transformer": "fusion_bench.encoders.transformer:TransformerEncoder",
        "huggingface": "fusion_bench.encoders.huggingface:HuggingFaceEncoder",
    },
)

DATASETS: Registry[DataSet] = Registry(
    "data set",
    group="fusion_bench.datasets",
    builtin={
        "miniclevr": "fusion_bench.data.miniclevr.dataset:MiniClevr",
        "miniclevr_refer": "fusion_bench.data.miniclevr.referring.dataset:MiniClevrRefer",
        "miniclevr_cogent": "fusion_bench.data.miniclevr.cogent:MiniClevrCogent",
        "miniclevr_cogent_b": "fusion_bench.data.miniclevr.cogent:MiniClevrCogentB",
        "clevr": "fusion_bench.data.clevr:Clevr",
        "clevr_cogent": "fusion_bench.data.cogent:ClevrCogent",
        "clevr_cogent_b": "fusion_bench.data.cogent:ClevrCogentB",
        "nlvr": "fusion_bench.data.nlvr:Nlvr",
        "easy_vqa": "fusion_bench.data.easy_vqa:EasyVqa",
        "vqa2": "fusion_bench.data.vqa2:Vqa2",
        "refcoco": "fusion_bench.data.refer.dataset:RefCoco",
        "refcoco+": "fusion_bench.data.refer.dataset:RefCocoPlus",
        "refcocog": "fusion_bench.data.refer.dataset:RefCocoG",
    },
)

TASKS: Registry[Task] = Registry(
    "task",
    group="fusion_bench.tasks",
    builtin={
        "answering": "fusion_bench.tasks.answering:Answering",
        "grounding": "fusion_bench.tasks.grounding:Grounding",
        "segmentation": "fusion_bench.tasks.segmentation:Segmentation",
        "vqa": "fusion_bench.tasks.vqa:Vqa",
    },
)
