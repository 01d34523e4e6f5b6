"""Weights taken beforehand, and a node without a network: noticed at once, all else is said."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import huggingface_hub.constants as hub_constants
import pytest
from typer.testing import CliRunner

from sedimental.cli import app
from sedimental.config import TextFeatures
from sedimental.extract.encoders import hub
from sedimental.extract.encoders.loading import EncoderError, resolve

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOBODY = "http://127.0.0.1:9"
"""The port that discards: nobody listens."""


class Hub(SimpleHTTPRequestHandler):
    """Serves a folder's files at the addresses of the Hub's files of me/little-bert."""

    def translate_path(self, path: str) -> str:
        return str(Path(self.directory) / path.split("?")[0].rpartition("/")[2])

    def send_head(self) -> Any:
        if self.path.startswith("/api/models/me/little-bert/revision"):
            answer = json.dumps({"id": "me/little-bert", "sha": COMMIT, "siblings": []}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            return BytesIO(answer)
        file = Path(self.translate_path(self.path))
        if "/resolve/" not in self.path or not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return super().send_head()

    def end_headers(self) -> None:
        if "/resolve/" in self.path and Path(self.translate_path(self.path)).is_file():
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{Path(self.path).name}"')
        super().end_headers()

    def log_message(self, format: str, *values: Any) -> None:
        pass


@pytest.fixture
def address(folders: Mapping[str, Path]) -> Iterator[str]:
    """A Hub on this machine with one model."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, directory=str(folders["bert"])))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_constants, "ENDPOINT", NOBODY)


def test_what_was_fetched_is_used_without_a_network(address: str, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text('[[features]]\nmodality = "text"\nencoder = "me/little-bert"\n')

    def told(endpoint: str, *command: str) -> Any:
        env = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hub")}
        whole = [sys.executable, "-P", "-m", "sedimental", *command, "--json", "-c", str(file)]
        done = subprocess.run(whole, capture_output=True, env=env, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    (one,) = told(address, "fetch")
    assert (one["weights"], one["revision"], one["fault"]) == ("in the Hub cache", COMMIT, "")
    assert one["parameters"] > 1000
    assert told(NOBODY, "fetch") == [one]


def test_without_a_network_nobody_waits(offline: None) -> None:
    """Friction 6: it took 43 s."""
    assert not hub.hub_answers()
    began = time.monotonic()
    with pytest.raises(EncoderError, match=r"the Hub does not answer.*sedimental fetch"):
        resolve(TextFeatures(modality="text", encoder="me/never-seen"))
    assert time.monotonic() - began < 2


def test_doctor_still_speaks_without_a_network(
    offline: None, make_corpus: Any, make_pipeline: Any
) -> None:
    path = make_pipeline(make_corpus(4), modalities=("audio",))
    table = '[[features]]\nmodality = "text"\nencoder = "me/never-seen"\n'
    path.write_text(path.read_text() + table)
    shown = CliRunner().invoke(app, ["doctor", "--no-probe", "-c", str(path)])
    assert shown.exit_code == 1
    assert "4: 2 train, 1 valid, 1 test" in shown.stdout
    assert "audio-tiny-wavlm" in shown.stdout
    assert "error: encoder me/never-seen: the Hub does not answer" in shown.stderr
    assert "at least" in shown.stdout  # of disk, by the encoder that is there
    table = '[[features]]\nmodality = "vision"\nencoder = "me/seen-neither"\n'
    path.write_text(path.read_text() + table)
    for command in ("doctor", "fetch", "extract"):
        offered = CliRunner().invoke(app, [command, "-c", str(path)])
        assert offered.exit_code == 1, command
        assert offered.stderr.count("the Hub does not answer") == 1, command
        assert "encoders me/never-seen and me/seen-neither: " in offered.stderr
        assert 'encoder = "tiny-clip", "tiny-wavlm" and "tiny-bert"' in offered.stderr
    fetched = CliRunner().invoke(app, ["fetch", "-c", str(path)])
    assert "me/never-seen" in fetched.stderr
    assert "cannot be had" in fetched.stdout


def test_doctor_says_nothing_of_stores_that_nobody_knows(
    offline: None, make_corpus: Any, make_pipeline: Any
) -> None:
    path = make_pipeline(make_corpus(4), modalities=())
    path.write_text(
        path.read_text() + '[[features]]\nmodality = "text"\nencoder = "me/never-seen"\n'
    )
    shown = CliRunner().invoke(app, ["doctor", "-c", str(path)])
    assert shown.exit_code == 1
    assert "needed" not in shown.stdout
    assert "stores" not in shown.stdout
    assert " free " in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80  # piped as well
