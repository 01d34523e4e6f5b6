"""Word error rate of `sedimental transcribe` on clips of known words; opt-in, with real weights.

``python -m real.word_errors WHISPER_FOLDER CLIPS OUT`` speaks the demo corpus's sentences anew with
espeak-ng, takes GRID's clips from CLIPS (their names code the sentences), transcribes both, and
prints the rate of each and what was heard.
"""

import csv
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NUMBERS = (
    *("zero", "one", "two", "three", "four"),
    *("five", "six", "seven", "eight", "nine"),
)
GRID: tuple[dict[str, str], ...] = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {},  # a letter
    dict(zip("z123456789", NUMBERS, strict=True)),
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
"""What each letter of a GRID file's name stands for."""
SPOKEN = 20
"""Sentences of the demo corpus that are spoken anew."""


def grid_sentence(name: str) -> str:
    """The six words that a GRID clip's name codes.

    >>> grid_sentence("bbaf2n")
    'bin blue at f two now'
    """
    return " ".join(known.get(c, c) for known, c in zip(GRID, name, strict=True))


def plain(text: str) -> list[str]:
    """Words as they are compared: no signs, digits and letters apart, digits as words.

    >>> plain("Bin blue, at F2 now.")
    ['bin', 'blue', 'at', 'f', 'two', 'now']
    """
    apart = re.findall(r"[a-z']+|\d", text.lower().replace("-", " "))
    return [NUMBERS[int(w)] if w.isdigit() else w for w in apart]


def errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Words put in, left out or taken for others, at least (Levenshtein).

    >>> errors("a b c".split(), "a x c d".split())
    2
    """
    row = list(range(len(heard) + 1))
    for i, ours in enumerate(said, start=1):
        before, row[0] = row[0], i
        for j, theirs in enumerate(heard, start=1):
            cost = before + (ours != theirs)
            before, row[j] = row[j], min(cost, row[j] + 1, row[j - 1] + 1)
    return row[-1]


def main(model: str, clips: Path, out: Path) -> None:
    """Make the clips, transcribe them, and print what came of it."""
    out.mkdir(parents=True, exist_ok=True)
    said = {}
    for path in sorted(clips.glob("grid_*.mpg")):
        said[f"grid/{path.stem}"] = grid_sentence(path.stem.removeprefix("grid_")), path.resolve()
    demo = Path(__file__).parents[2] / "extract/corpora/demo/label.csv"
    with demo.open(encoding="utf-8", newline="") as file:
        texts = list(dict.fromkeys(row["text"] for row in csv.DictReader(file)))[:SPOKEN]
    for number, text in enumerate(texts):
        wave = out / f"espeak_{number:02d}.wav"
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", "150", "-w", str(wave), text], check=True)
        said[f"espeak/{number:02d}"] = text, wave.resolve()
    table = out / "clips.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([("id", "media"), *((name, path) for name, (_, path) in said.items())])
    command = ["sedimental", "transcribe", "--model", model, "--table", str(table)]
    subprocess.run([*command, "--device", "cpu"], check=True)
    with table.open(encoding="utf-8", newline="") as file:
        heard = {row["id"]: row["text"] for row in csv.DictReader(file)}
    for kind in ("grid", "espeak"):
        names = [name for name in said if name.startswith(f"{kind}/")]
        wrong = sum(errors(plain(said[n][0]), plain(heard[n])) for n in names)
        words = sum(len(plain(said[n][0])) for n in names)
        print(f"{kind}: {len(names)} clips, {words} words, word error rate {wrong / words:.3f}")
        for name in names:
            print(f"  {said[name][0]!r} -> {heard[name]!r}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
