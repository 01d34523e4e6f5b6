"""Text before the encoder: made tokenizers, what is cut, what was said before."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from sedimental.cache.manifest import Clip, Manifest
from sedimental.config import TextFeatures
from sedimental.extract.decode.clip_error import ClipError
from sedimental.extract.decode.media import Media
from sedimental.extract.encoders.device import ComputeDevice
from sedimental.extract.encoders.loading import EncoderError, resolve
from sedimental.extract.encoders.made_tokenizers import made_tokenizer
from sedimental.extract.encoders.text import (
    TextEncoder,
    Words,
    about,
    load_tokenizer,
    longest,
)
from sedimental.extract.streams.context import PrecedingUtterances
from sedimental.extract.streams.streams import TextStream

CPU = ComputeDevice(torch.device("cpu"), torch.float32)
CHINESE = "\u8fd9\u90e8\u7535\u5f71\u771f\u7684\u5f88\u68d2\uff0c\u6211\u559c\u6b22 iPhone 15\u3002"


def table(encoder: str, **settings: Any) -> TextFeatures:
    return TextFeatures(modality="text", encoder=encoder, **settings)


def encoder_of(name: str, max_length: int = 512, context: int = 0) -> TextEncoder:
    checkpoint = resolve(table(name, weights="random:0"))
    names = tuple(str(n) for n in range(checkpoint.config.num_hidden_layers + 1))
    tokenizer = load_tokenizer(checkpoint)
    return TextEncoder(checkpoint, tokenizer, names, max_length, CPU, context)


def test_made_roberta_has_roberta_s_special_ids() -> None:
    tokenizer = made_tokenizer(True, "latin")
    names = ("<s>", "<pad>", "</s>", "<unk>")
    assert tokenizer.convert_tokens_to_ids(list(names)) == [0, 1, 2, 3]
    assert (tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id) == (1, 0, 2)
    ids = tokenizer("we liked it")["input_ids"]
    assert (ids[0], ids[-1]) == (0, 2)
    pair = tokenizer("we", "it")["input_ids"]
    assert pair[2:4] == [2, 2]  # <s> we </s></s> it </s>


def test_made_chinese_knows_every_character_and_fits_bert_s_vocabulary() -> None:
    tokenizer = made_tokenizer(False, "han")
    assert len(tokenizer) <= 21128
    tokens = tokenizer.tokenize(CHINESE)
    assert tokens[:3] == ["\u8fd9", "\u90e8", "\u7535"]
    assert tokenizer.unk_token not in tokens
    every = tokenizer("".join(map(chr, range(0x4E00, 0xA000))))["input_ids"]
    assert len(set(every)) == 0xA000 - 0x4E00 + 2
    assert tokenizer.unk_token_id not in every


@pytest.mark.parametrize(
    "name", ["bert-base-chinese", "chinese-roberta-wwm-ext", "chinese-macbert-base"]
)
def test_chinese_presets_with_random_weights_read_chinese(name: str) -> None:
    tokenizer = load_tokenizer(resolve(table(name, weights="random:0")))
    assert tokenizer.unk_token_id not in tokenizer(CHINESE)["input_ids"]


def test_a_vocabulary_too_small_for_random_weights_is_named(tmp_path: Path) -> None:
    transformers.BertConfig(vocab_size=100).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match=r"vocab_size = 100\. Make the folder's vocab_size"):
        load_tokenizer(resolve(table(str(tmp_path), weights="random:0")))


@pytest.mark.parametrize(("name", "places"), [("tiny-bert", 512), ("tiny-roberta", 512)])
def test_the_longest_text_has_a_position_for_each_token(name: str, places: int) -> None:
    """RoBERTa counts from two on, so two of its 514 positions are never a token's."""
    assert longest(resolve(table(name))) == places
    encoder = encoder_of(name, places)
    found = encoder.encode([Words("x", "", "we like it " * 400)])[0]
    assert found.values.shape[1] == places
    assert np.isfinite(found.values).all()
    assert encoder.cut == {"x"}


def test_cut_texts_are_counted_once() -> None:
    encoder = encoder_of("tiny-bert", 6)
    texts = {"a": "one two three four", "b": "one two three four five", "c": "fine"}
    clips = [Words(id_, "", text) for id_, text in texts.items()]
    for _ in range(2):
        found = encoder.encode(clips)
    assert encoder.cut == {"b"}
    assert [len(f.valid) for f in found] == [6, 6, 3]


def test_a_stream_tells_how_many_texts_were_cut(tmp_path: Path) -> None:
    stream = TextStream(table("tiny-bert", max_length=6), "float32")
    assert stream.truncated == 0
    stream.encoder = encoder_of("tiny-bert", stream.max_length)
    stream.encoder.encode([Words("x", "", "one two three four five six"), Words("y", "", "one")])
    assert stream.truncated == 1


def test_context_comes_before_the_own_words_and_is_marked() -> None:
    encoder = encoder_of("tiny-bert", 40, context=2)
    clip = Words("x", "", "we liked it", ("the film", "was it good"))
    found = encoder.encode([clip])[0]
    side = found.side
    said = "[CLS] the film [SEP] was it good [SEP] we liked it [SEP]"
    assert " ".join(encoder.tokenizer.convert_ids_to_tokens(side["token_ids"])) == said
    own = encoder.tokenizer.decode(side["token_ids"][side["own"]])
    assert own == "we liked it"
    assert side["special"].sum() == 4
    first = encoder.encode([Words("y", "", "we liked it")])[0]
    assert first.side["own"].tolist() == [False, True, True, True, False]
    # what was said before changes what the own words mean
    alone, together = first.values[-1, first.side["own"]], found.values[-1, side["own"]]
    assert np.abs(alone - together).max() > 1e-3
    assert not encoder.cut


def test_context_gives_way_to_the_own_words_oldest_first() -> None:
    encoder = encoder_of("tiny-bert", 9, context=2)
    clip = Words("x", "", "we liked it", ("the film", "was it good"))
    found = encoder.encode([clip])[0]
    said = "[CLS] was it good [SEP] we liked it [SEP]"
    assert " ".join(encoder.tokenizer.convert_ids_to_tokens(found.side["token_ids"])) == said
    assert encoder.cut == {"x"}
    full = encoder_of("tiny-bert", 5, context=2).encode([clip])[0]
    assert full.side["own"].tolist() == [False, True, True, True, False]


def test_roberta_joins_context_by_its_end_token() -> None:
    encoder = encoder_of("tiny-roberta", 40, context=1)
    found = encoder.encode([Words("x", "", "we liked it", ("the film",))])[0]
    assert encoder.tokenizer.decode(found.side["token_ids"]) == (
        "<s> the film </s> we liked it </s>"
    )


def test_context_does_not_depend_on_the_batch() -> None:
    encoder = encoder_of("tiny-bert", 40, context=2)
    clips = [
        Words("a", "", "fine", ("it was a good film, we liked it", "so")),
        Words("b", "", "no"),
        Words("c", "", "what a day it was", ("oh",)),
    ]
    for clip, found in zip(clips, encoder.encode(clips), strict=True):
        alone = encoder.encode([clip])[0]
        scale = np.abs(alone.values).max(axis=(1, 2), keepdims=True)
        assert (np.abs(found.values - alone.values) / scale).max() <= 1e-5


def manifest() -> Manifest:
    def clip(number: int, split: Any, text: str, **more: Any) -> Clip:
        before = tuple(f"v{n}" for n in range(number))
        return Clip(f"v{number}", "v", str(number), split, text, context=before, **more)

    clips = (
        clip(0, "train", "first"),
        clip(1, "test", "second"),
        clip(2, "train", " "),
        clip(3, "train", "fourth"),
        clip(4, "train", "fifth", context_text=("aside",)),
    )
    return Manifest("m", Path(), clips)


def test_what_was_said_before_is_of_the_same_video_and_split() -> None:
    corpus = manifest()
    before = PrecedingUtterances(2, corpus)
    assert [before(c) for c in corpus.clips] == [
        (),
        (),
        ("first",),
        ("first",),
        ("fourth", "aside"),
    ]
    assert PrecedingUtterances(0, corpus)(corpus.clips[4]) == ()
    assert PrecedingUtterances(3, None)(corpus.clips[4]) == ("aside",)


def test_context_is_part_of_the_fingerprint_and_of_a_clip_s_source() -> None:
    corpus = manifest()
    plain = TextStream(table("tiny-bert"), "float32", corpus)
    assert plain.spec.fingerprint == TextStream(table("tiny-bert"), "float32").spec.fingerprint
    two = TextStream(table("tiny-bert", context=2), "float32", corpus)
    three = TextStream(table("tiny-bert", context=3), "float32", corpus)
    assert len({s.spec.fingerprint for s in (plain, two, three)}) == 3
    clip = corpus.clips[3]
    changed = Manifest(
        "m",
        Path(),
        (Clip("v0", "v", "0", "train", "other words"), *corpus.clips[1:]),
    )
    other = TextStream(table("tiny-bert", context=2), "float32", changed)
    assert two.source(clip, Path()) != plain.source(clip, Path())
    assert two.source(clip, Path()) != other.source(clip, Path())
    assert two.source(corpus.clips[0], Path()) == plain.source(corpus.clips[0], Path())
    assert two.frames(clip, 0.0) > plain.frames(clip, 0.0)


def test_chinese_is_counted_by_characters() -> None:
    assert about(CHINESE) > 12
    assert abs(about("we like it") - 4.2) < 1e-9


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n",
        "\u200b\u200d\u2060",
        "\ufeff",
        "\x07\x1b",
        "\u00ad",
        "\ufe0f",
        "\u3164",
        "\u0301",
        "\U000e0041",
        "\u2028\u0085",
    ],
    ids=ascii,
)
def test_what_shows_nothing_is_empty_text_to_the_stream(text: str) -> None:
    """R17: features of [CLS] and [SEP] were stored of it."""
    stream = TextStream(table("tiny-bert"), "float32")
    clip = Clip("a", "v", "0", "train", text)
    with pytest.raises(ClipError, match="empty text"):
        stream.source(clip, Path())
    with pytest.raises(ClipError, match="empty text"):
        stream.prepare(clip, Media())
    seen = Clip("a", "v", "0", "train", f"{text}?")
    assert stream.prepare(seen, Media()) == f"{text}?"
    assert stream.source(seen, Path())
