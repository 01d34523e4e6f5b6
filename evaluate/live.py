"""The report of runs that are still being trained: made anew when a run has finished."""

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from html import escape
from pathlib import Path

from ..cache.runs import list_runs
from ..errors import SedimentalError
from .loopback import Answer, Loopback, Request

FILES = {
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".pdf": "application/pdf",
}
_SHOWN = re.compile(r"/(table\.(csv|md|tex)|report\.json|figures/[A-Za-z0-9_-]+\.(png|pdf))")
"""What beside the page is handed out: what it links to, and nothing else of any folder."""
_SCRIPT = """<script>
const mark = document.body.appendChild(document.createElement("p"));
mark.id = "live";
mark.setAttribute("role", "status");
mark.style.cssText = "position:fixed;right:1rem;bottom:1rem;margin:0;padding:.35rem .75rem;"
  + "border-radius:4px;background:var(--ink, #1b1f24);color:var(--paper, #fff);z-index:9";
const look = async () => {
  try {
    const now = await (await fetch("/state")).json();
    if (now.stamp !== STAMP) return location.reload();
    mark.textContent = `live: ${now.finished} runs finished, ${now.started} under way`
      + (now.working ? "; a new report is being made" : "");
  } catch { mark.textContent = "the server has ended; this is its last report"; }
  setTimeout(look, 2000);
};
look();
</script></body>"""


class LiveReport:
    """What `sedimental report --live` serves: the page of `make`, made anew as runs finish."""

    def __init__(self, experiment: Path, make: Callable[[], Path], port: int = 0) -> None:
        """`make` writes the report of the folder `experiment` and returns its page."""
        self.experiment, self.make = experiment, make
        self.seen: tuple[tuple[str, int], ...] | None = None
        self.stamp, self.working = 0, False
        self.page = _message("No run is finished yet. This page becomes the report with the first.")
        self.loopback = Loopback(
            {"/": self._page, "/state": self._state, "*": self._file}, {}, port
        )
        self.ended = threading.Event()

    def serve(self, seconds: float = 2.0) -> None:
        """Serve until interrupted, looking for finished runs every `seconds`."""
        looking = threading.Thread(target=self._look, args=(seconds,), daemon=True)
        looking.start()
        with suppress(KeyboardInterrupt):
            self.loopback.serve()
        self.ended.set()

    def update(self) -> None:
        """Make the report if a run has come, gone or changed since the last one."""
        found = self._runs()
        if found == self.seen or not found:
            return
        self.working = True
        try:
            page = self.make().read_text(encoding="utf-8")
        except (SedimentalError, OSError) as fault:  # the next finished run may mend it
            page = _message(f"The report cannot be made: {fault}")
        self.page, self.seen, self.working = page, found, False
        self.stamp += 1

    def _look(self, seconds: float) -> None:
        while not self.ended.is_set():
            self.update()
            self.ended.wait(seconds)

    def _runs(self) -> tuple[tuple[str, int], ...]:
        found = []
        for folder in list_runs(self.experiment):
            for name in ("run.json", "robustness.npz"):
                try:
                    found.append((f"{folder}/{name}", (folder / name).stat().st_mtime_ns))
                except OSError:
                    continue
        for name in ("sweep", "probe"):
            for file in sorted((self.experiment / name).glob("*.json")):
                found.append((str(file), file.stat().st_mtime_ns))
        return tuple(found)

    def _page(self, request: Request) -> Answer:
        script = _SCRIPT.replace("STAMP", str(self.stamp))
        head, _, tail = self.page.rpartition("</body>")
        return Answer(f"{head}{script}{tail}".encode())

    def _state(self, request: Request) -> Answer:
        finished = sum(1 for _ in list_runs(self.experiment))
        started = sum(1 for _ in self.experiment.glob("*/.resume-*.safetensors"))
        state = {"stamp": self.stamp, "finished": finished, "started": started}
        return Answer.json(state | {"working": self.working})

    def _file(self, request: Request) -> Answer | None:
        if not _SHOWN.fullmatch(request.path):
            return None
        file = self.experiment / request.path[1:]
        try:
            return Answer(file.read_bytes(), FILES[file.suffix])
        except OSError:
            return None


def _message(text: str) -> str:
    head = '<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    style = (
        "<style>body{font:16px/1.5 system-ui,sans-serif;margin:3rem auto;max-width:40rem}</style>"
    )
    return f"{head}<title>sedimental</title>{style}<body><p>{escape(text)}</p></body>"
