"""What of a text shows: letters and signs, not spaces and characters without a shape."""

import unicodedata

_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f")
"""Fillers and blanks that Unicode counts among letters, signs and marks."""


def is_wordless(text: str) -> bool:
    """Whether nothing of `text` shows: spaces, zero-width and control characters alone.

    >>> is_wordless(" \u200b\x07\u2060\ufe0f"), is_wordless("\u200b."), is_wordless("")
    (True, False, True)
    """
    return not any(_shows(c) for c in text)


def _shows(character: str) -> bool:
    kind = unicodedata.category(character)
    # Mn: a mark alone has nothing to stand on
    return kind[0] not in "CZ" and kind != "Mn" and character not in _BLANK_LETTERS


def same_id(name: str) -> str:
    """The form in which two ids are one though their code points differ.

    >>> same_id("cafe\u0301") == same_id("caf\u00e9"), same_id("a\u200bb") == "ab"
    (True, True)
    """
    folded = unicodedata.normalize("NFKC", name)
    return "".join(c for c in folded if unicodedata.category(c) != "Cf").strip()
