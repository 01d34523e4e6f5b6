"""Word times and tables to be transcribed, fuzzed: good files, and how they are read."""

from contextlib import ExitStack
from pathlib import Path

GRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n2\n<exists>\n2\n'
    '"TextTier"\n"taps"\n0\n2\n1\n0.5\n"tap"\n"IntervalTier"\n"words"\n0\n2\n3\n0\n0.5\n'
    '"so"\n0.5\n1\n""\n1\n2\n"what"\n'
)
VTT = (
    "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nso<00:00:00.500><c> what</c>\n\n"
    "00:02.000 --> 00:02.010\nthen\n"
)
CTM = ";; by hand\nc A 0.5 0.5 so 0.9\nc A 1 0.5 what\n"
TABLE = (
    "id,media,text,word_times,start\n"
    '1,a.mp4,so what,"[[""so"", 0, 0.5], [""what"", null, null]]",\n'
    "2,b.mp4,,so:0:1 what::,0.5\n"
)


def words_seed(folder: Path) -> None:
    """Files of word times of three clips, and a table."""
    (folder / "a.TextGrid").write_text(GRID)
    (folder / "b.vtt").write_text(VTT)
    (folder / "c.ctm").write_text(CTM)
    (folder / "t.csv").write_text(TABLE)


def read_words(folder: Path) -> None:
    """All of them, and what is made of them."""
    from sedimental.cache.alignment.transcript import timed
    from sedimental.cache.manifest import Clip
    from sedimental.extract.new_clips import read_table
    from sedimental.extract.transcribe.run import pieces
    from sedimental.extract.transcribe.sheet import Sheet
    from sedimental.extract.word_times.files import WordFiles

    with ExitStack() as stack:
        files = WordFiles.below(folder, stack)
        for name in "abc":
            found = files.of(Clip(name, name, "", "train", "so what"))
            for word in timed("so, what?", found or []) or ():
                assert word.start is None or word.end is None or word.start <= word.end
    for clip in read_table(folder / "t.csv", {"text"}):
        timed(str(clip.text), [])
    sheet = Sheet.read(folder / "t.csv")
    pieces(sheet, "all")
    sheet.save()
