"""Tasks by name."""

from fusion_bench.registry import Registry
from fusion_bench.tasks.task import Task

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
