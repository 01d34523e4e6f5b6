"""`predict --web`: a page for this machine's browser, into which a video is dropped."""

import json
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ManifestError, SedimentalError
from .escape import for_terminal
from .evaluate.loopback import Answer, Loopback, Request

if TYPE_CHECKING:
    from .evaluate.prediction import ClipPrediction, Prediction
    from .extract.new_clip import NewClip

    Ask = Callable[[Sequence[NewClip]], Prediction]
    """A trained run: what it says of clips, with their faces."""

MOST_BYTES = 4 << 30
"""Of a video that is dropped."""
_HEAD_BYTES = 4 << 20
_BLOCK = 1 << 20


class PredictPage:
    """Takes one video at a time, which is kept as long as it is looked at and then removed."""

    def __init__(self, ask: "Ask", title: str, reads: Sequence[str], port: int = 0) -> None:
        """Listens at once; `serve` answers."""
        from jinja2 import Environment

        source = files(__package__) / "evaluate" / "output" / "predict.html.jinja"
        page = Environment(autoescape=True).from_string(source.read_text(encoding="utf-8"))
        self.page = page.render(title=title, reads=list(reads))
        self.ask, self.busy = ask, threading.Lock()
        gets = {"/": lambda request: Answer(self.page.encode())}
        self.loopback = Loopback(gets, {"/predict": self._predict}, port)

    def serve(self) -> None:
        """Serve until interrupted."""
        with suppress(KeyboardInterrupt):
            self.loopback.serve()

    def _predict(self, request: Request) -> Answer:
        """The body: four bytes, the length of a JSON head; the head; the video."""
        if not self.busy.acquire(blocking=False):
            return Answer.json({"fault": "Another video is being looked at; wait for it."}, 409)
        try:
            from .cache.store.atomic_write import scratch_folder

            with scratch_folder("sedimental-page") as folder:
                clips = _received(request, folder)
                return Answer.json(_shown(self.ask(clips)))
        except (SedimentalError, OSError) as fault:
            return Answer.json({"fault": str(fault)}, 400)
        finally:
            self.busy.release()


def _received(request: Request, folder: Path) -> "list[NewClip]":
    """The clips that a request asks about, its video written into `folder`."""
    from .extract.new_clip import NewClip
    from .extract.windows import by_subtitles, sliding

    body, rest = request.body, request.length - 4
    size = int.from_bytes(body.read(4), "big") if rest > 0 else 0
    if not 2 <= size <= min(rest, _HEAD_BYTES) or rest - size > MOST_BYTES:
        raise ManifestError("The page sent too much, or nothing. Reload it.")
    try:
        head = json.loads(body.read(size))
        name, words = str(head["name"]), str(head["text"])
        window = float(head["window"] or 0)
    except (ValueError, KeyError, TypeError):
        raise ManifestError("The page sent what cannot be read. Reload it.") from None
    safe = re.sub(r"[^\w.-]+", "_", name.replace("\\", "/").rpartition("/")[2])[-80:].lstrip(".")
    left = rest - size
    if not left:
        return [NewClip(text=words)]
    video = folder / (safe or "video")
    with video.open("wb") as file:
        while left and (block := body.read(min(left, _BLOCK))):
            left -= len(block)
            file.write(block)
    if left:
        raise ManifestError(f"{name}: did not arrive whole.")
    if "-->" in words:
        subtitles = folder / "words.vtt"
        subtitles.write_text(words, encoding="utf-8")
        return sliding(video, window, words=subtitles) if window else by_subtitles(video, subtitles)
    if window and words.strip():
        raise ManifestError(
            "Words without times belong to no window: paste subtitles (.srt, .vtt), or leave the "
            "words or the windows out."
        )
    return sliding(video, window) if window else [NewClip(video, words)]


def _shown(found: "Prediction") -> dict[str, Any]:
    """What the page needs, as JSON; every text is text there."""
    from .evaluate.figures.timeline import timelines

    return {
        "row": found.row,
        "seeds": len(found.seeds),
        "cautions": [caution.text for caution in found.cautions],
        "clips": [_clip(clip) for clip in found.clips],
        "faces": {
            name: f"data:image/jpeg;base64,{b64encode(data).decode()}"
            for name, data in found.faces.items()
        },
        "timelines": [
            {"title": one.title, "svg": one.svg, "caption": one.caption, "key": one.key}
            for one in timelines(found)
        ],
    }


def _clip(clip: "ClipPrediction") -> dict[str, Any]:
    shares = {name: one.mean for name, one in clip.probabilities.items()}
    return {
        "id": clip.id,
        "text": for_terminal(clip.text),
        "word": clip.word,
        "level": clip.level,
        "score": clip.score and [clip.score.mean, clip.score.std],
        "probabilities": shares,
        "weights": clip.weights,
        "alone": clip.alone,
        "missing": clip.missing,
    }
