"""Every data set by name: the built-in adapters and those that packages offer."""

from __future__ import annotations

from fusion_bench.registry import Registry
from fusion_bench.samples import DataSet

DATASETS: Registry[DataSet] = Registry(
    "data set",
    group="fusion_bench.datasets",
    builtin={
        "miniclevr": "fusion_bench.data.miniclevr.dataset:MiniClevr",
        "miniclevr_refer": "fusion_bench.data.miniclevr.refer:MiniClevrRefer",
        "miniclevr_cogent": "fusion_bench.data.miniclevr.cogent:MiniClevrCogent",
        "miniclevr_cogent_b": "fusion_bench.data.miniclevr.cogent:MiniClevrCogentB",
        "clevr": "fusion_bench.data.clevr:Clevr",
        "clevr_cogent": "fusion_bench.data.cogent:ClevrCogent",
        "clevr_cogent_b": "fusion_bench.data.cogent:ClevrCogentB",
        "nlvr": "fusion_bench.data.nlvr:Nlvr",
        "vqa2": "fusion_bench.data.vqa2:Vqa2",
        "refcoco": "fusion_bench.data.refer.dataset:RefCoco",
        "refcoco+": "fusion_bench.data.refer.dataset:RefCocoPlus",
        "refcocog": "fusion_bench.data.refer.dataset:RefCocoG",
    },
)
