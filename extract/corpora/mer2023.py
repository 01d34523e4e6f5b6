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

from pathlib import Path

from ...cache.manifest import Clip, Manifest
from .reading.files import first_file, first_there, is_there
from .reading.table import Table, finished, named

CLASSES = ("neutral", "angry", "happy", "sad", "worried", "surprise")
SUFFIXES = (".avi", ".mp4", ".mkv", ".wav")
WORDS = ("transcription-engchi-polish.csv", "transcription.csv")
PLACES = ("", "mer2023train", "test-labels", "test-label", "labels")


def load(name: str, folder: Path, tests: str = "test1", unlabelled: bool = False) -> Manifest:
    """The corpus in `folder`, each clip its own video; raises ManifestError with every fault."""
    words, tables = _words(folder), []
    for which in ("train", tests):
        table = Table(first_file(folder, f"{which}-label.csv", PLACES))
        for row in table.rows(("name", "discrete", "valence")):
            clip_name = row.required("name")
            files = [f"{place}/{clip_name}{end}" for place in _folders(which) for end in SUFFIXES]
            clip = Clip(
                *named(clip_name),
                split="train" if which == "train" else "test",
                text=words.get(clip_name, ""),
                media=first_there(folder, files),
                label=row.number("valence"),
                category=row.choice("discrete", CLASSES),
            )
            table.add(row.line, clip)
        if which == "train":
            table.validate_on_a_tenth()
        tables.append(table)
    if unlabelled:
        table = Table(folder / "test3")
        for path in (
            p for place in _folders("test3")[:-1] for p in sorted((folder / place).glob("*"))
        ):
            if path.suffix.lower() in SUFFIXES:
                media, text = path.relative_to(folder).as_posix(), words.get(path.stem, "")
                table.add(media, Clip(*named(path.stem), "train", text, media))
        tables.append(table)
    return finished(name, folder, *tables)


def _folders(which: str) -> tuple[str, ...]:
    return (f"mer2023{which}/{which}", f"mer2023{which}", which, f"video/{which}", "video")


def _words(folder: Path) -> dict[str, str]:
    """The Chinese transcripts by name; none where there is no file of them."""
    for file in WORDS:
        if is_there(path := folder / file):
            table = Table(path)
            rows = list(table.rows(("name", ("chinese", "sentence"))))
            table.stop()
            return {
                r.text("name") or "": r.text("chinese") or r.text("sentence") or "" for r in rows
            }
    return {}
