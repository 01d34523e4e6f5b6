"""What there is to do, found out before anything is loaded."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sedimental.config import load_config
from sedimental.extract.decode.media import source_digest
from sedimental.extract.survey import survey


def test_a_media_file_is_opened_once_for_all_its_clips_and_stores(
    tmp_path: Path, make_corpus: Any, make_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sound and faces of every store have one source, and cuts of a file share its two ends."""
    raw = make_corpus(2) / "Raw/demo_01a"
    rows = [f"a,train,1,so,{raw}/0001.mp4,,", f"b,train,1,so,{raw}/0001.mp4,0.5,1.0"]
    rows += [f"c,test,1,so,{raw}/0002.mp4,,1.5", f"d,test,1,so,{raw}/gone.mp4,,"]
    (tmp_path / "t.csv").write_text("\n".join(["id,split,label,text,media,start,end", *rows]))
    more = '[[features]]\nmodality = "audio"\nencoder = "log-mel"\n'
    pipeline = make_pipeline(tmp_path / "t.csv", kind="csv", more=more)
    opened = Counter[str]()
    original = Path.open

    def counted(self: Path, *given: Any, **named: Any) -> Any:
        if self.suffix == ".mp4":
            opened[self.name] += 1
        return original(self, *given, **named)

    monkeypatch.setattr(Path, "open", counted)
    found = survey(load_config(pipeline))
    monkeypatch.undo()
    assert opened == {
        "0001.mp4": 1,
        "0002.mp4": 1,
    }
    media = [work for work in found.works if work.stream.reads_media]
    assert len(media) == 3
    for work in media:
        assert work.sources == {
            "a": source_digest(raw / "0001.mp4", None, None),
            "b": source_digest(raw / "0001.mp4", 0.5, 1.0),
            "c": source_digest(raw / "0002.mp4", None, 1.5),
        }
        assert {id_: fault.stage for id_, fault in work.failures.items()} == {"d": "read"}
