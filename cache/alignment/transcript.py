"""The words of a transcript, and when they were said: times of a source laid over its letters."""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from .word import Word

_SINGLE = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Kana and Chinese characters, of which each is a word."""
_PIECE = re.compile(rf"[{_SINGLE}]|[^\s{_SINGLE}]+")
PAUSES = frozenset({"sp", "sil", "spn", "<eps>", "<sil>", "<unk>", "[sil]", "{sl}", "<s>", "</s>"})
"""What aligners write where nothing is said."""
LEAST = 0.5
"""Share of the transcript's words that a source must have, to be of this transcript at all."""


def words_of(text: str) -> list[tuple[int, int]]:
    """(first character, the one behind the last) of each word of `text`.

    Words are what spaces part, and single Chinese or Japanese characters; a sign without a letter
    or digit belongs to the word before it, or else behind it.

    >>> [("- Well , I do.")[a:b] for a, b in words_of("- Well , I do.")]
    ['- Well ,', 'I', 'do.']
    >>> words_of("\u6211 \u559c\u6b22\u3002")
    [(0, 1), (2, 3), (3, 5)]
    """
    found: list[tuple[int, int]] = []
    first: int | None = None
    for piece in _PIECE.finditer(text):
        begin, end = piece.span()
        if letters(piece[0]):
            found.append((begin if first is None else first, end))
            first = None
        elif found:
            found[-1] = found[-1][0], end
        elif first is None:
            first = begin
    return found


def is_single(character: str) -> bool:
    """Whether a character is a word by itself, as Chinese ones are counted here."""
    return re.fullmatch(f"[{_SINGLE}]", character) is not None


def letters(text: str) -> str:
    """What of `text` is spoken, in one case.

    >>> letters("Don't -- 7!")
    'dont7'
    """
    return "".join(c for c in text.casefold() if c.isalnum())


def timed(text: str, said: Sequence[Word]) -> tuple[Word, ...] | None:
    """The words of the transcript `text` with the times of those that were `said`.

    Both are compared letter by letter, so that words may be parted otherwise ("don't", "do n't"),
    signs may be missing and some words may differ. Where several words share one of the source,
    its time is dealt out by letters. A word that the source lacks has no times. Without a
    transcript the words are those of the source. None: the source is of another text.
    """
    said = [w for w in said if w.text.strip().casefold() not in PAUSES and letters(w.text)]
    spans = words_of(text)
    if not spans:
        return tuple(said)
    ours = [letters(text[begin:end]) for begin, end in spans]
    theirs = [letters(w.text) for w in said]
    place = dict(_matched("".join(ours), "".join(theirs)))
    owner = [k for k, word in enumerate(theirs) for _ in word]
    inside = [j for word in theirs for j in range(len(word))]
    found: list[list[int]] = []
    at = 0
    for word in ours:
        own = [place[j] for j in range(at, at + len(word)) if j in place]
        found.append(own if 2 * len(own) >= len(word) else [])
        at += len(word)
    if sum(bool(own) for own in found) < LEAST * len(spans):
        return None
    uses = Counter(k for own in found for k in {owner[j] for j in own})

    def moment(letter: int, end: bool) -> float | None:
        word = said[owner[letter]]
        if word.start is None or word.end is None:
            return None
        if uses[owner[letter]] == 1:
            return word.end if end else word.start
        share = (inside[letter] + end) / len(theirs[owner[letter]])
        return word.start + share * (word.end - word.start)

    return tuple(
        Word(
            text[begin:end],
            moment(own[0], False) if own else None,
            moment(own[-1], True) if own else None,
            begin,
            end,
        )
        for (begin, end), own in zip(spans, found, strict=True)
    )


def _matched(ours: str, theirs: str) -> Iterator[tuple[int, int]]:
    """Pairs of letters of both that belong to each other."""
    if ours == theirs:
        yield from ((k, k) for k in range(len(ours)))
        return
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    for block in matcher.get_matching_blocks():
        yield from ((block.a + k, block.b + k) for k in range(block.size))
