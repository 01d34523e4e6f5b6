"""Tokenizers for encoders with random weights, which no checkpoint brings one for."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

VOCABULARY = Path(__file__).with_name("vocabulary.txt")
Script = Literal["latin", "han"]
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
"""In the order of their ids: RoBERTa's padding is 1, and its positions are counted from there."""
HAN = range(0x4E00, 0xA000)
"""The unified ideographs: any Chinese character of everyday writing."""
HAN_MARKS = (
    "\u3002\uff0c\u3001\uff1f\uff01\uff1a\uff1b\u201c\u201d"
    "\u2018\u2019\uff08\uff09\u300a\u300b\u2026\u2014\u00b7"
)
"""Full stops, commas, quotes and brackets of Chinese print."""


@cache
def made_tokenizer(roberta: bool, script: Script) -> Any:
    """WordPiece with BERT's or RoBERTa's special tokens and ids.

    `latin`: whole common English words, any other word by its letters; `han`: every Chinese
    character by itself, other words by letters and digits, in no more than 21,128 pieces. Nothing
    but rare signs becomes the unknown token. Words are lower-cased.
    """
    names = ROBERTA if roberta else BERT
    vocabulary = {p: i for i, p in enumerate(dict.fromkeys([*names, *_pieces(script)]))}
    begin, padding, end, unknown = (
        ("<s>", "<pad>", "</s>", "<unk>") if roberta else ("[CLS]", "[PAD]", "[SEP]", "[UNK]")
    )
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    between = f"{end} {end}" if roberta else end
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {between} $B{'' if roberta else ':1'} {end}{'' if roberta else ':1'}",
        special_tokens=[(begin, vocabulary[begin]), (end, vocabulary[end])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=padding,
        unk_token=unknown,
        cls_token=begin,
        sep_token=end,
        mask_token=names[-1],
    )


def _pieces(script: Script) -> list[str]:
    if script == "latin":
        letters = [chr(c) for c in range(33, 127)]
        words = VOCABULARY.read_text(encoding="utf-8").split()
        return [*letters, *(f"##{x}" for x in letters), *words]
    signs = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    inner = [f"##{x}" for x in signs if x.isalnum()]  # other signs always stand alone
    return [*signs, *inner, *HAN_MARKS, *map(chr, HAN)]
