"""Encoders of words known by name."""

from collections.abc import Mapping

from .preset import BASE, LARGE, TINY, Preset

_ROBERTA = {
    "vocab_size": 50265,
    "max_position_embeddings": 514,  # two of them stand before the first token's
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}
_CHINESE = BASE | {"vocab_size": 21128}
_HAN = {"script": "han"}

TEXT: Mapping[str, Preset] = {
    "tiny-bert": Preset("bert", None, TINY),
    "bert-base-uncased": Preset("bert", "google-bert/bert-base-uncased", BASE),
    "bert-large-uncased": Preset("bert", "google-bert/bert-large-uncased", LARGE),
    "bert-base-chinese": Preset("bert", "google-bert/bert-base-chinese", _CHINESE, _HAN),
    "tiny-roberta": Preset("roberta", None, TINY | _ROBERTA | {"vocab_size": 2048}),
    "roberta-base": Preset("roberta", "FacebookAI/roberta-base", BASE | _ROBERTA),
    "roberta-large": Preset("roberta", "FacebookAI/roberta-large", LARGE | _ROBERTA),
    # both are BERT by their architecture and load as such
    "chinese-roberta-wwm-ext": Preset("bert", "hfl/chinese-roberta-wwm-ext", _CHINESE, _HAN),
    "chinese-macbert-base": Preset("bert", "hfl/chinese-macbert-base", _CHINESE, _HAN),
}
