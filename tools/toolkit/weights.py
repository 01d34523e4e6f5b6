"""Weights of the reference toolkit's models by the names that ours have.

Modules there are called by the first letters of text (language), audio and vision (video); what is
side by side there as audio, video, text lies as text, audio, vision here.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]
SHORT = {"text": "l", "audio": "a", "vision": "v"}


def renamed(state: State, rules: list[tuple[str, str]]) -> dict[str, Tensor]:
    """Each weight under the name that the first matching rule makes of its own."""
    made = {}
    for name, value in state.items():
        for pattern, new in rules:
            if re.fullmatch(pattern, name):
                made[re.sub(pattern, new, name)] = value
                break
    return made


SUBNETS = [
    (r"(audio)_subnet\.norm\.(\w+)", r"subnets.\1.norm.\2"),
    (r"video_subnet\.norm\.(\w+)", r"subnets.vision.norm.\1"),
    *[
        (rf"{one}_subnet\.linear_{k}\.(\w+)", rf"subnets.{m}.net.{3 * (k - 1)}.\1")
        for one, m in (("audio", "audio"), ("video", "vision"))
        for k in (1, 2, 3)
    ],
    (r"text_subnet\.rnn\.(\w+)", r"subnets.text.lstm.\1"),
    (r"text_subnet\.linear_1\.(\w+)", r"subnets.text.net.0.\1"),
    (r"post_fusion_layer_([12])\.(\w+)", r"post.\1.\2"),
    (r"post_fusion_layer_3\.(\w+)", r"head.\1"),
    (r"(\w+)_factor", r"factors.\1"),
    (r"fusion_(weights|bias)", r"fusion.\1"),
]


def ef_lstm(state: State) -> dict[str, Tensor]:
    """Of EF-LSTM."""
    rules = [
        (r"(norm|lstm)\.(\w+)", r"\1.\2"),
        (r"linear\.(\w+)", r"post.0.\1"),
        (r"out\.(\w+)", r"head.\1"),
    ]
    return renamed(state, rules)


def _posts(made: dict[str, Tensor]) -> dict[str, Tensor]:
    for k in (1, 2):
        for kind in ("weight", "bias"):
            made[f"post.{3 * (k - 1)}.x{kind}"] = made.pop(f"post.{k}.{kind}")
    return {name.replace(".x", "."): value for name, value in made.items()}


def lf_dnn(state: State) -> dict[str, Tensor]:
    """Of LF-DNN; its vectors stand as audio, video, text there."""
    made = _posts(renamed(state, SUBNETS))
    widths = [made[f"subnets.{m}.net.{k}.bias"].numel() for m, k in (("audio", 6), ("vision", 6))]
    first = made["post.0.weight"]
    audio, vision, text = first.split([*widths, first.shape[1] - sum(widths)], dim=1)
    made["post.0.weight"] = torch.cat([text, audio, vision], dim=1)
    return made


def tfn(state: State) -> dict[str, Tensor]:
    """Of TFN; its tensor's axes stand as audio, video, text there, a one in front."""
    made = _posts(renamed(state, SUBNETS))
    a, v = (made[f"subnets.{m}.net.6.bias"].numel() + 1 for m in ("audio", "vision"))
    first = made["post.0.weight"]
    cube = first.view(len(first), a, v, -1)  # a one stands in front of each vector there
    cube = torch.cat([cube[:, 1:], cube[:, :1]], dim=1)
    cube = torch.cat([cube[:, :, 1:], cube[:, :, :1]], dim=2)
    cube = torch.cat([cube[:, :, :, 1:], cube[:, :, :, :1]], dim=3)
    made["post.0.weight"] = cube.permute(0, 3, 1, 2).reshape(len(first), -1)
    return made


def lmf(state: State) -> dict[str, Tensor]:
    """Of LMF; a one stands in front of each vector there."""
    made = renamed(state, SUBNETS)
    for k, m in enumerate(("text", "audio", "video")):
        factor = made.pop(f"factors.{m}")
        made[f"fusion.factors.{k}"] = torch.cat([factor[:, 1:], factor[:, :1]], dim=1)
    made["fusion.rank_weights"] = made.pop("fusion.weights").flatten()
    made["fusion.bias"] = made["fusion.bias"].flatten()
    return made


def self_mm(state: State) -> dict[str, Tensor]:
    """Of Self-MM."""
    rules = []
    for one, m in (("audio", "audio"), ("video", "vision")):
        rules += [
            (rf"{one}_model\.rnn\.(\w+)", rf"encoders.{m}.lstm.\1"),
            (rf"{one}_model\.linear_1\.(\w+)", rf"encoders.{m}.project.\1"),
        ]
    pairs = (("fusion", "fusion"), ("text", "heads.text"), ("audio", "heads.audio"))
    for one, ours in (*pairs, ("video", "heads.vision")):
        rules += [
            (rf"post_{one}_layer_1\.(\w+)", rf"{ours}.space.1.\1"),
            (rf"post_{one}_layer_2\.(\w+)", rf"{ours}.further.0.\1"),
            (rf"post_{one}_layer_3\.(\w+)", rf"{ours}.score.\1"),
        ]
    return renamed(state, rules)


def misa(state: State) -> dict[str, Tensor]:
    """Of MISA."""
    rules = []
    for one, m in (("v", "vision"), ("a", "audio"), ("t", "text")):
        rules += [
            (rf"project_{one}\.project_{one}\.(\w+)", rf"utterances.{m}.0.\1"),
            (rf"project_{one}\.project_{one}_layer_norm\.(\w+)", rf"utterances.{m}.2.\1"),
            (rf"private_{one}\.private_{one}_\d\.(\w+)", rf"private.{m}.0.\1"),
            (rf"recon_{one}\.recon_{one}_1\.(\w+)", rf"decoders.{m}.\1"),
        ]
        for k, name in ((1, "first"), (2, "second")):
            rules += [
                (rf"{one}rnn{k}\.(\w+)_reverse", rf"encoders.{m}.{name}.1.\1"),
                (rf"{one}rnn{k}\.(\w+)", rf"encoders.{m}.{name}.0.\1"),
            ]
    rules += [
        (r"vlayer_norm\.(\w+)", r"encoders.vision.norm.\1"),
        (r"alayer_norm\.(\w+)", r"encoders.audio.norm.\1"),
        (r"tlayer_norm\.(\w+)", r"unread.0.\1"),
        (r"sp_discriminator\.\w+\.(\w+)", r"unread.1.\1"),
        (r"shared\.shared_1\.(\w+)", r"shared.0.\1"),
        (r"fusion\.fusion_layer_1\.(\w+)", r"head.0.\1"),
        (r"fusion\.fusion_layer_3\.(\w+)", r"head.3.\1"),
        (r"transformer_encoder\.layers\.0\.self_attn\.in_proj_(\w+)", r"three.\1"),
        (r"transformer_encoder\.layers\.0\.self_attn\.out_proj\.(\w+)", r"attention.out.\1"),
        (r"transformer_encoder\.layers\.0\.linear1\.(\w+)", r"feedforward.inner.\1"),
        (r"transformer_encoder\.layers\.0\.linear2\.(\w+)", r"feedforward.out.\1"),
        (r"transformer_encoder\.layers\.0\.norm1\.(\w+)", r"attention.norm.\1"),
        (r"transformer_encoder\.layers\.0\.norm2\.(\w+)", r"feedforward.norm.\1"),
    ]
    made = renamed(state, rules)
    for kind in ("weight", "bias"):
        parts = made.pop(f"three.{kind}").chunk(3)
        for name, part in zip(("query", "key", "value"), parts, strict=True):
            made[f"attention.{name}.{kind}"] = part
    for m in ("audio", "vision"):  # end states: by direction there, by LSTM here
        first = made[f"utterances.{m}.0.weight"]
        a, b, c, d = first.chunk(4, dim=1)
        made[f"utterances.{m}.0.weight"] = torch.cat([a, c, b, d], dim=1)
    # vectors there: private t, v, a, shared t, v, a; here shared t, a, v, private t, a, v
    t, v, a, st, sv, sa = made["head.0.weight"].chunk(6, dim=1)
    made["head.0.weight"] = torch.cat([st, sa, sv, t, a, v], dim=1)
    return made


def mmim(state: State) -> dict[str, Tensor]:
    """Of MMIM."""
    rules = []
    for one, m in (("visual", "vision"), ("acoustic", "audio")):
        rules += [
            (rf"{one}_enc\.rnn\.(\w+)_reverse", rf"encoders.{m}.lstm.1.\1"),
            (rf"{one}_enc\.rnn\.(\w+)", rf"encoders.{m}.lstm.0.\1"),
            (rf"{one}_enc\.linear_1\.(\w+)", rf"encoders.{m}.project.\1"),
            (rf"mi_t{one[0]}\.mlp_mu\.(\d)\.(\w+)", rf"likelihoods.{m}.mean.\1.\2"),
            (rf"mi_t{one[0]}\.mlp_logvar\.(\d)\.(\w+)", rf"likelihoods.{m}.spread.\1.\2"),
            (rf"mi_t{one[0]}\.entropy_prj\.0\.(\w+)", rf"spaces.{m}.0.\1"),
            (rf"cpc_z{one[0]}\.net\.(\w+)", rf"predictors.{m}.\1"),
        ]
    rules += [
        (r"cpc_zt\.net\.(\w+)", r"predictors.text.\1"),
        (r"fusion_prj\.linear_1\.(\w+)", r"fusion.1.\1"),
        (r"fusion_prj\.linear_2\.(\w+)", r"fusion.3.\1"),
        (r"fusion_prj\.linear_3\.(\w+)", r"head.1.\1"),
    ]
    return renamed(state, rules)


def mult(state: State) -> dict[str, Tensor]:
    """Of MulT."""
    made = {}
    for m, one in SHORT.items():
        conv = state[f"proj_{one}.weight"]  # (out, in, kernel)
        made[f"convolutions.{m}.weight"] = conv.permute(2, 0, 1).flatten(0, 1)
        for n, other in SHORT.items():
            there = f"trans_{one}_mem" if m == n else f"trans_{one}_with_{other}"
            here = f"memories.{m}" if m == n else f"readers.{m}_reads_{n}"
            made |= renamed(state, _layers(there, here))
    made |= renamed(
        state,
        [
            (r"proj1\.(\w+)", r"residual.0.\1"),
            (r"proj2\.(\w+)", r"residual.3.\1"),
            (r"out_layer\.(\w+)", r"head.\1"),
        ],
    )
    # the vectors of each modality, and in each what it reads: l, a, v there as here
    return made


def _layers(there: str, here: str) -> list[tuple[str, str]]:
    layer = rf"{there}\.layers\.(\d)\."
    return [
        (layer + r"self_attn\.in_proj_(\w+)", rf"{here}.layers.\1.projections.\2"),
        (layer + r"self_attn\.out_proj\.(\w+)", rf"{here}.layers.\1.attended.\2"),
        (layer + r"fc1\.(\w+)", rf"{here}.layers.\1.feedforward.0.\2"),
        (layer + r"fc2\.(\w+)", rf"{here}.layers.\1.feedforward.3.\2"),
        (layer + r"layer_norms\.(\d)\.(\w+)", rf"{here}.layers.\1.norms.\2.\3"),
        (rf"{there}\.layer_norm\.(\w+)", rf"{here}.norm.\1"),
    ]


WEIGHTS: Mapping[str, Callable[[State], dict[str, Tensor]]] = {
    f.__name__: f for f in (ef_lstm, lf_dnn, tfn, lmf, self_mm, misa, mmim, mult)
}
