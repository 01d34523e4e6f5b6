"""Short English sentences of known sentiment, put together from small word tables.

A sentence's score lies in [-3, 3] and is a plain function of its words, so that a reader of bags
of words can learn it: the sentiment words are few and come back in all splits.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

QUALITIES: dict[str, float] = {
    "wonderful": 3.0, "fantastic": 2.6, "great": 2.0, "good": 1.4, "nice": 1.0, "fine": 0.6,
    "ordinary": 0.0, "dull": -1.0, "poor": -1.6, "bad": -1.8, "horrible": -2.6, "terrible": -3.0,
}  # fmt: skip
FEELINGS: dict[str, float] = {
    "delighted": 2.8, "happy": 2.0, "glad": 1.4, "calm": 0.6,
    "tired": -0.8, "sad": -2.0, "angry": -2.4, "miserable": -3.0,
}  # fmt: skip
VERBS: dict[str, float] = {
    "loved": 2.8, "enjoyed": 2.0, "liked": 1.2, "disliked": -1.4, "hated": -2.8,
}  # fmt: skip
NEGATABLE_VERBS: dict[str, float] = {"enjoy": 2.0, "like": 1.2}
NEGATABLE = ("great", "good", "nice", "bad", "dull")
MODIFIERS: dict[str, float] = {"": 1.0, "really ": 1.2, "so ": 1.2, "quite ": 0.8}
THINGS = (
    "film", "story", "music", "food", "room", "hotel", "service", "view", "book", "song", "garden",
    "weather",
)  # fmt: skip
EVENTS = ("concert", "lesson", "show", "party", "game", "trip", "dinner", "talk")
# What stands beside a thing or an event in sentences about two of them.
SIDES = ("room", "service", "view", "weather", "garden", "hotel")
PEOPLE = ("sister", "brother", "friend", "teacher", "mother", "neighbour")
TIMES = ("today", "yesterday", "last night", "this morning", "last week", "on Friday")
HOURS = ("six", "seven", "eight", "nine")
# A negation turns a word round and takes some of its strength away.
NEGATION = -0.7
LIMIT = 3.0


@dataclass(frozen=True)
class Sentence:
    """A sentence, its score in [-3, 3] and the pattern it was made with."""

    text: str
    score: float
    pattern: str


class _Words:
    """Draws words from the tables."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def pick(self, words: Sequence[str]) -> str:
        """Return one of the words."""
        return words[int(self._rng.integers(len(words)))]

    def graded(self, table: dict[str, float]) -> tuple[str, float]:
        """Return a word of the table and its score."""
        word = self.pick(tuple(table))
        return word, table[word]

    def modified(self, table: dict[str, float]) -> tuple[str, float]:
        """Return a word of the table, in half of the cases with a modifier, and the score."""
        word, score = self.graded(table)
        if self._rng.random() < 0.5 or abs(score) < 0.7:
            return word, score
        if score < 0 and self._rng.random() < 0.25:
            return f"a bit {word}", 0.5 * score
        # "Quite" goes with words of middle strength only.
        modifier = self.pick(tuple(MODIFIERS)[1 : 4 if abs(score) < 2.5 else 3])
        return modifier + word, score * MODIFIERS[modifier]

    def alike(self, table: dict[str, float]) -> tuple[str, str, float]:
        """Return two different words of the table of one sign and their mean score."""
        first, score = self.graded(table)
        others = tuple(word for word, other in table.items() if other * score > 0 and word != first)
        second = self.pick(others or (first,))
        return first, second, (score + table[second]) / 2

    def opposed(self, table: dict[str, float]) -> tuple[str, str, float]:
        """Return two words of opposite sign and a score to which the second gives more."""
        first, score = self.graded(table)
        others = tuple(word for word, other in table.items() if other * score < 0)
        second = self.pick(others or (first,))
        return first, second, 0.35 * score + 0.65 * table[second]


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _sentence(pattern: str, words: _Words) -> tuple[str, float]:
    thing, event = words.pick(THINGS + EVENTS), words.pick(EVENTS)
    other = words.pick(tuple(word for word in SIDES if word != thing))
    person, time = words.pick(PEOPLE), words.pick(TIMES)
    match pattern:
        case "was":
            quality, score = words.modified(QUALITIES)
            return f"The {thing} was {quality} {time}", score
        case "think":
            quality, score = words.modified(QUALITIES)
            return f"I think the {thing} was {quality}", score
        case "had":
            quality, score = words.graded(QUALITIES)
            return f"We had {_a(quality)} {event} {time}", score
        case "what":
            quality, score = words.graded(QUALITIES)
            named = f"{_a(quality)} {event}"
            return (f"What {named} that was" if abs(score) > 0.7 else f"It was {named}"), score
        case "verb":
            verb, score = words.graded(VERBS)
            return f"I {verb} the {thing} {time}", score
        case "person":
            verb, score = words.graded(VERBS)
            return f"My {person} really {verb} the {thing}", 1.2 * score
        case "felt":
            feeling, score = words.modified(FEELINGS)
            return f"I felt {feeling} after the {event}", score
        case "made":
            feeling, score = words.modified(FEELINGS)
            return f"The {thing} made me {feeling}", score
        case "feelings":
            first, second, score = words.alike(FEELINGS)
            return f"My {person} felt {first} and {second} {time}", score
        case "and":
            first, second, score = words.alike(QUALITIES)
            return f"The {thing} was {first} and the {other} {second}", score
        case "but":
            first, second, score = words.opposed(QUALITIES)
            return f"{first.capitalize()} {event} but {second} {other}", score
        case "verbs":
            first, second, score = words.opposed(VERBS)
            return f"I {first} the {event} but {second} the {other}", score
        case "not":
            quality = words.pick(NEGATABLE)
            return f"The {thing} was not {quality} at all", NEGATION * QUALITIES[quality]
        case "never":
            verb, score = words.graded(NEGATABLE_VERBS)
            return f"We did not {verb} the {thing}", NEGATION * score
        case "fact":
            return f"The {event} starts at {words.pick(HOURS)} today", 0.0
        case _:
            return f"My {person} told me about the {event}", 0.0


PATTERNS = (
    "was", "think", "had", "what", "verb", "person", "felt", "made", "feelings", "and", "but",
    "verbs", "not", "never", "fact", "told",
)  # fmt: skip


def choose_sentences(
    targets: NDArray[np.float64], rng: np.random.Generator, pool: int = 6000
) -> list[Sentence]:
    """Choose one sentence per target score; no sentence is chosen twice.

    Args:
        targets: wished scores in [-3, 3], shape (clips,).
        rng: source of chance.
        pool: how many sentences to draw the choice from.

    Returns:
        The sentences in the order of the targets; their scores are near the targets.
    """
    words = _Words(rng)
    made: dict[str, Sentence] = {}
    for _ in range(pool):
        pattern = words.pick(PATTERNS)
        text, score = _sentence(pattern, words)
        made[text] = Sentence(f"{text}.", float(np.clip(score, -LIMIT, LIMIT)), pattern)
    left = list(made.values())
    used: Counter[str] = Counter()
    chosen: list[Sentence] = []
    for target in targets:
        # Nearness counts first; among near ones the rarer pattern and fresher words win.
        costs = [
            abs(one.score - target)
            + 0.03 * used[one.pattern]
            + 0.004 * sum(used[word] for word in one.text.split())
            for one in left
        ]
        best = left.pop(int(np.argmin(costs)))
        used.update([best.pattern, *best.text.split()])
        chosen.append(best)
    return chosen
