"""Pages for this machine's browser: the live report, and the page a video is dropped into."""

import http.client
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from simulated_runs import simulate

from sedimental.config import EvaluateConfig
from sedimental.evaluate.live import LiveReport
from sedimental.evaluate.loopback import HEADER, Loopback, Request
from sedimental.evaluate.output.timeline_files import to_csv, write_timeline
from sedimental.evaluate.output.write import write_report
from sedimental.evaluate.prediction import ClipPrediction, Prediction
from sedimental.evaluate.report import report_folder
from sedimental.evaluate.statistics import Spread
from sedimental.extract.new_clip import NewClip
from sedimental.predict_page import PredictPage

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def serving(loopback: Loopback) -> Iterator[None]:
    thread = threading.Thread(target=loopback.serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loopback.stop()
        thread.join(10)


def asked(
    loopback: Loopback, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes, Any]:
    port = loopback.server.server_port
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    link.request(method, path, body or None, {"Host": f"127.0.0.1:{port}", **named})
    try:
        reply = link.getresponse()
        return reply.status, reply.read(), reply.headers
    finally:
        link.close()


def predicted(clips: list[NewClip]) -> Prediction:
    """A made-up answer with every kind of number, one window without any."""
    found = [
        ClipPrediction(
            id=str(clip.id or "clip"), media=str(clip.media), start=clip.start, end=clip.end,
            text=clip.text or "", used=("text", "audio"), missing={"vision": "decode: <b>none</b>"},
            score=Spread((0.5, -1.5)), word="negative", level="-1", probabilities={},
            weights={"text": 0.25, "audio": 0.75}, alone={"text": -1.0},
        )
        for clip in clips
    ]  # fmt: skip
    if len(found) > 1:
        at = found[1].media, found[1].start, found[1].end
        found[1] = ClipPrediction("gap", *at, "", (), {}, None, None, None, {}, {}, {})
    seeds, reads = (1, 2), ("text", "audio", "vision")
    return Prediction("uegd TAV", "demo", reads, seeds, "mosi", (), tuple(found), ())  # type: ignore[arg-type]


def test_only_this_machine_s_own_pages_are_answered() -> None:
    loopback = Loopback({"/": lambda request: None, "/x": echo}, {"/x": echo})
    assert loopback.server.server_address[0] == "127.0.0.1"
    with serving(loopback):
        status, body, headers = asked(loopback, "GET", "/x?a=1")
        assert (status, json.loads(body)) == (200, {"a": "1"})
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert asked(loopback, "GET", "/")[0] == 404
        assert asked(loopback, "GET", "/../x")[0] == 404
        for foreign in ("evil.example", "127.0.0.1", "127.0.0.1:1", ""):  # rebound names
            assert asked(loopback, "GET", "/x", Host=foreign)[0] == 403
        own = {HEADER.replace("-", "_"): "1"}
        assert asked(loopback, "POST", "/x", b"12", **own)[0] == 200
        assert asked(loopback, "POST", "/x", b"12")[0] == 403  # a form of another page
        assert asked(loopback, "POST", "/x", b"12", Origin="http://evil.example", **own)[0] == 403


def echo(request: Request) -> Any:
    from sedimental.evaluate.loopback import Answer

    return Answer.json(dict(request.query))


def test_the_live_report_follows_the_runs(tmp_path: Path) -> None:
    def make() -> Path:
        return write_report(tmp_path, report_folder(tmp_path, EvaluateConfig(bootstrap=0)))

    live = LiveReport(tmp_path, make)
    (tmp_path / "secret.csv").write_text("no")
    with serving(live.loopback):
        live.update()
        assert b"No run is finished yet" in asked(live.loopback, "GET", "/")[1]
        simulate(tmp_path, ("T",), (1,), videos=6)
        live.update()
        page = asked(live.loopback, "GET", "/")[1]
        assert b"uegd" in page
        assert b'fetch("/state")' in page
        first = json.loads(asked(live.loopback, "GET", "/state")[1])
        live.update()
        assert json.loads(asked(live.loopback, "GET", "/state")[1]) == first  # nothing new
        simulate(tmp_path, ("T", "A"), (1, 2), videos=6)
        live.update()
        now = json.loads(asked(live.loopback, "GET", "/state")[1])
        assert now["finished"] == 4
        assert now["stamp"] > first["stamp"]
        assert asked(live.loopback, "GET", "/table.csv")[1] == (tmp_path / "table.csv").read_bytes()
        for path in (
            "/secret.csv",
            "/uegd-T/seed-1/run.json",
            "/figures/",
            "/figures/../secret.csv",
        ):
            assert asked(live.loopback, "GET", path)[0] == 404, path


def test_the_time_line_of_windows(tmp_path: Path) -> None:
    clips = [NewClip("a/b c.mp4", "=1", n, n + 2.0, f"w{n}") for n in range(4)]
    files = write_timeline(tmp_path, predicted(clips))
    assert [file.name for file in files] == ["windows.csv", "b_c.mp4.svg", "b_c.mp4.png"]
    rows = to_csv(predicted(clips)).splitlines()
    assert rows[1].startswith("w0,b c.mp4,0,2.0,-0.5,1.0,negative,-1,TA,0.25,0.75,,-1.0,,,'=1")
    assert rows[2].startswith("gap,b c.mp4,1,3.0,,,")
    svg = (tmp_path / "b_c.mp4.svg").read_text(encoding="utf-8")
    assert all(word in svg for word in ("score", "text alone", "weight", "minute:second"))


def head(**values: Any) -> bytes:
    text = json.dumps({"name": "", "text": "", "window": "", **values}).encode()
    return len(text).to_bytes(4, "big") + text


def test_what_the_page_sends_is_checked(tmp_path: Path) -> None:
    seen: list[NewClip] = []

    def ask(clips: Any) -> Prediction:
        seen.extend(clips)
        return predicted(list(clips))

    page = PredictPage(ask, "uegd <TAV>", ("text", "vision"))
    own = {HEADER.replace("-", "_"): "1"}
    with serving(page.loopback):
        assert b"uegd &lt;TAV&gt;" in asked(page.loopback, "GET", "/")[1]
        for body in (b"", b"\xff\xff\xff\xff{}", b"\0\0\0\x02[]", b"\0\0\0\x02{}"):
            status, said, _ = asked(page.loopback, "POST", "/predict", body, **own)
            assert (status, "fault" in json.loads(said)) == (400, True)
        body = head(name="../../x y.mp4", text="Well.") + b"video"
        assert asked(page.loopback, "POST", "/predict", body, **own)[0] == 200
        [clip] = seen
        assert Path(str(clip.media)).name == "x_y.mp4"
        assert not Path(str(clip.media)).exists()  # it was kept as long as it was looked at
        body = head(name="x.mp4", text="no times", window="2") + b"video"
        said = json.loads(asked(page.loopback, "POST", "/predict", body, **own)[1])
        assert "belong to no window" in said["fault"]


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_video_is_dropped_in_a_browser(tmp_path: Path) -> None:
    done, told = threading.Event(), list[Any]()

    def result(request: Request) -> None:
        told.append(json.loads(request.body.read(request.length)))
        done.set()

    def ask(clips: Any) -> Prediction:
        assert Path(clips[0].media).read_bytes() == b"a video"
        return predicted([*clips, *clips])

    page = PredictPage(ask, "uegd TAV", ("text", "audio", "vision"))
    page.loopback.posts["/result"] = result
    page.page = page.page.replace(
        "</body>",
        """<script>
        const all = new DataTransfer();
        all.items.add(new File(["a video"], "clip.mp4"));
        drop.dispatchEvent(new DragEvent("drop", {dataTransfer: all, bubbles: true}));
        form.querySelector("textarea").value = "So <b>so</b>.";
        form.requestSubmit();
        new MutationObserver(() => {
          const clips = [...found.querySelectorAll(".clip")];
          if (clips.length < 2) return;
          fetch("/result", {method: "POST", headers: {"X-Sedimental": "1"}, body: JSON.stringify({
            words: clips.map(clip => clip.innerText), bars: found.querySelectorAll(".bar").length,
            bold: found.querySelectorAll("b").length, chosen: file.files[0].name,
          })});
        }).observe(found, {childList: true});
        </script></body>""",
    )
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--remote-debugging-port=0"]
    with serving(page.loopback):
        browser = subprocess.Popen([*command, page.loopback.url], stderr=subprocess.DEVNULL)
        try:
            assert done.wait(60)
        finally:
            browser.terminate()
            browser.wait(20)
    [found] = told
    assert found["chosen"] == "clip.mp4"
    assert "\u22120.50 ± 1.00" in found["words"][0]
    assert "So <b>so</b>." in found["words"][0]  # words of others are words
    assert "no vision: decode: <b>none</b>" in found["words"][0]
    assert "no prediction" in found["words"][1]
    assert (found["bars"], found["bold"]) == (3, 0)
