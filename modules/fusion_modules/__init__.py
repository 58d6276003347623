"""The fusion modules of fusion-bench, one paper per file.

The catalogue holds names and import paths only, so importing this package does not import torch.
"""

from collections.abc import Mapping

CATALOGUE: Mapping[str, str] = {
    "laconv": "fusion_modules.laconv:LaConv",
    "film": "fusion_modules.film:FiLM",
    "conditional_batch_norm": "fusion_modules.conditional_batch_norm:ConditionalBatchNorm",
    "modulated_conv": "fusion_modules.modulated_conv:ModulatedConv",
    "concat": "fusion_modules.concat:Concat",
    "sum": "fusion_modules.elementwise:Sum",
    "hadamard": "fusion_modules.elementwise:Hadamard",
    "mlb": "fusion_modules.bilinear.mlb:MLB",
    "mcb": "fusion_modules.bilinear.mcb:MCB",
    "mutan": "fusion_modules.bilinear.mutan:MUTAN",
    "tucker": "fusion_modules.bilinear.mutan:Tucker",
    "mfb": "fusion_modules.bilinear.mfb:MFB",
    "mfh": "fusion_modules.bilinear.mfh:MFH",
    "block": "fusion_modules.bilinear.block:BLOCK",
    "low_rank": "fusion_modules.bilinear.low_rank:LowRank",
    "stacked_attention": "fusion_modules.stacked_attention:StackedAttention",
    "cross_attention": "fusion_modules.cross_attention:CrossAttention",
    "gated_cross_attention": "fusion_modules.gated_cross_attention:GatedCrossAttention",
    "mcan": "fusion_modules.mcan:MCAN",
    "single_stream": "fusion_modules.single_stream:SingleStream",
    "perceiver_resampler": "fusion_modules.perceiver_resampler:PerceiverResampler",
    "ban": "fusion_modules.ban:BAN",
    "garan": "fusion_modules.garan:GARAN",
    "relation_network": "fusion_modules.relation_network:RelationNetwork",
    "mac": "fusion_modules.mac:MAC",
    "lcgn": "fusion_modules.lcgn:LCGN",
    "dynamic_filter": "fusion_modules.dynamic_filter:DynamicFilter",
    "question_guided_conv": "fusion_modules.question_guided_conv:QuestionGuidedConv",
    "text_involution": "fusion_modules.text_involution:TextInvolution",
    "question_only": "fusion_modules.controls.question_only:QuestionOnly",
    "image_only": "fusion_modules.controls.image_only:ImageOnly",
    "prior": "fusion_modules.controls.prior:Prior",
    "late_concat": "fusion_modules.controls.late_concat:LateConcat",
    "frozen_random": "fusion_modules.controls.frozen_random:FrozenRandom",
}

NETWORK_CATALOGUE: Mapping[str, str] = {
    "laconvnet_tiny": "fusion_modules.laconvnet.network:LaConvNetTiny",
    "laconvnet_s": "fusion_modules.laconvnet.network:LaConvNetS",
    "laconvnet_b": "fusion_modules.laconvnet.network:LaConvNetB",
}

TEXT_ENCODER_CATALOGUE: Mapping[str, str] = {
    "laconvnet": "fusion_modules.laconvnet.language:LaConvNetText",
}
