"""MER2023: Chinese clips with one of six emotions and a valence.

Lian et al., ACM Multimedia 2023, arXiv:2304.08981. The folder is the unpacked release::

    mer2023train/train-label.csv         name,discrete,valence
    mer2023train/train/<name>.avi
    test-labels/test1-label.csv          the same of test1 (MER-MULTI) and test2 (MER-NOISE)
    test1/<name>.avi
    transcription-engchi-polish.csv      name,chinese,english: where it was fetched as well

Files may also lie elsewhere in the folder: a table is looked for by its name, a clip's file in the
folders of its set. `tests` names the set that is tested; a tenth of the training clips, in order of
the hash of their name, is validated on, as the release has no validation split. With `unlabelled`
the clips of test3, which have no label, are among the training clips. A clip has a class and a
score (its valence); ``train.task`` chooses.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ...cache.manifest import Clip, Manifest
from .reading.files import first_file, is_there, tenth
from .reading.table import Faults, Line, combined, read_rows

CLASSES = ("neutral", "angry", "happy", "sad", "worried", "surprise")
SUFFIXES = (".avi", ".mp4", ".mkv", ".wav")
WORDS = ("transcription-engchi-polish.csv", "transcription.csv")
PLACES = ("", "mer2023train", "test-labels", "test-label", "labels")


def load(name: str, folder: Path, tests: str = "test1", unlabelled: bool = False) -> Manifest:
    """The corpus in `folder`, each clip its own video; raises ManifestError with every fault."""
    words, tables = _words(folder), []
    for which in ("train", tests):
        path = first_file(folder, f"{which}-label.csv", PLACES)
        faults, rows = Faults(path), list[tuple[Line, Clip]]()
        for row in read_rows(path, faults, ("name", "discrete", "valence")):
            own = row.required("name")
            clip = Clip(
                id=f"{own}$_$0",
                video_id=own,
                clip_id="0",
                split="train" if which == "train" else "test",
                text=words.get(own, ""),
                media=_media(folder, which, own),
                label=row.number("valence"),
                category=row.choice("discrete", CLASSES),
            )
            rows.append((row.line, clip))
        if which == "train":
            held = tenth(clip.id for _, clip in rows)
            rows = [(n, replace(c, split="valid") if c.id in held else c) for n, c in rows]
        tables.append((rows, faults))
    if unlabelled:
        tables.append((list(_unlabelled(folder, words)), Faults(folder / "test3")))
    return combined(name, folder, tables)


def _folders(which: str) -> tuple[str, ...]:
    return (f"mer2023{which}/{which}", f"mer2023{which}", which, f"video/{which}", "video")


def _media(folder: Path, which: str, name: str) -> str:
    paths = [Path(place, f"{name}{end}") for place in _folders(which) for end in SUFFIXES]
    return str(next((path for path in paths if is_there(folder / path)), paths[0]))


def _unlabelled(folder: Path, words: Mapping[str, str]) -> Iterator[tuple[Line, Clip]]:
    for place in _folders("test3")[:-1]:
        for path in sorted((folder / place).glob("*")):
            if path.suffix.lower() in SUFFIXES:
                own, media = path.stem, path.relative_to(folder).as_posix()
                clip = Clip(f"{own}$_$0", own, "0", "train", words.get(own, ""), media)
                yield media, clip


def _words(folder: Path) -> dict[str, str]:
    """The Chinese transcripts by name; none where there is no file of them."""
    for file in WORDS:
        if is_there(path := folder / file):
            faults = Faults(path)
            rows = list(read_rows(path, faults, ("name", ("chinese", "sentence"))))
            faults.stop()
            return {
                r.text("name") or "": r.text("chinese") or r.text("sentence") or "" for r in rows
            }
    return {}
