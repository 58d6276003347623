"""The names of everything that encodes or fuses: modules, end-to-end networks, text encoders."""

from __future__ import annotations

from fusion_bench.contract import FusionModule, TextEncoder, VisionLanguageNetwork
from fusion_bench.registry import Registry

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
