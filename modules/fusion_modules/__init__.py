"""Fusion modules for fusion-bench: one paper a file, importable without torch until a class is asked for."""

from collections.abc import Mapping

CATALOGUE: Mapping[str, str] = {
    "laconv": "fusion_modules.laconv:LaConv",
    "film": "fusion_modules.film:FiLM",
    "concat": "fusion_modules.concat:Concat",
    "cross_attention": "fusion_modules.cross_attention:CrossAttention",
    "question_only": "fusion_modules.controls:QuestionOnly",
    "image_only": "fusion_modules.controls:ImageOnly",
    "prior": "fusion_modules.controls:Prior",
    "late_concat": "fusion_modules.controls:LateConcat",
}
