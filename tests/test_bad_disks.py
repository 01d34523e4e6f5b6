"""Full, read-only, forbidden, failing disks: one line, exit 1, nothing half-written (H9, H15)."""

import csv
import ctypes
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import sedimental
from sedimental.cli import app

RUNNER = CliRunner()
CLIP = Path(sedimental.__path__[0]) / "extract/corpora/demo/Raw/demo_01a/0001.mp4"
WHISPER = runpy.run_path(str(Path(__file__).parent / "extract/test_transcribe.py"))["whisper"]
"""Writes a tiny random Whisper to a folder."""
WORDS = ("it was good", "I did not like it at all", "the film is long", "what a wonderful day")
SIZE = 16
"""Megabytes of the disk."""


def call(*command: object) -> tuple[int, list[str]]:
    """Exit code, and the lines of stderr that are errors; never a traceback."""
    shown = RUNNER.invoke(app, [str(word) for word in command])
    if shown.exception is not None and not isinstance(shown.exception, SystemExit):
        raise shown.exception
    return shown.exit_code, [x for x in shown.stderr.splitlines() if x.startswith("error:")]


class Experiment:
    """A disk of its own with an experiment that is done, and the commands on it."""

    def __init__(self, disk: Path, outside: Path) -> None:
        self.disk, self.pipeline, self.more = disk, disk / "p.toml", disk / "more.toml"
        corpus = disk / "corpus"
        corpus.mkdir()
        with (corpus / "table.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["id", "split", "label", "text"])
            for k in range(16):
                split = ("train", "train", "valid", "test")[k % 4]
                table.writerow([f"v{k % 5}$_${k}", split, k % 7 - 3, f"{WORDS[k % 4]} {k}"])
        text = (
            f'[corpus]\nkind = "csv"\npath = "{corpus}/table.csv"\nname = "toy"\n'
            '[[features]]\nmodality = "text"\nencoder = "tiny-bert"\n'
            "[train]\nepochs = 2\nseeds = [1]\n"
            '[train.inputs]\ntext = { encoder = "tiny-bert" }\n[evaluate]\nbootstrap = 20\n'
        )
        self.pipeline.write_text(text)
        self.more.write_text(text.replace("[train]\n", f"{MORE}[train]\n"))
        for command in (["extract"], ["train"], ["sweep"], ["robustness"], ["report", "--mmsa"]):
            assert call(*command, "-c", self.pipeline)[0] == 0
        [self.store] = (disk / "features" / "toy").glob("text-*")
        [self.run] = (disk / "runs" / "toy").glob("uegd-T*/seed-1")
        self.name, self.outside = self.run.parent.name, outside
        self.export = outside / "export.pkl"
        assert call("cache", "export", self.export, "-c", self.pipeline)[0] == 0
        self._other_corpora(text)
        self._media()
        self.packed = disk / "packed.zip"
        assert call("runs", "pack", self.name, self.packed, "-c", self.pipeline)[0] == 0

    def _other_corpora(self, text: str) -> None:
        """Two corpora to test the run on, of which one was asked already."""
        self.asked, self.unasked = self.disk / "asked.toml", self.disk / "unasked.toml"
        for pipeline in (self.asked, self.unasked):
            pipeline.write_text(text.replace('"toy"', f'"{pipeline.stem}"'))
            assert call("extract", "-c", pipeline)[0] == 0
        assert call("cross", "--on", self.asked, "-c", self.pipeline)[0] == 0

    def _media(self) -> None:
        """A clip whose faces are known, and tables of it: one transcribed, one not."""
        self.faces, self.whisper = self.disk / "faces.toml", self.outside / "tiny.en"
        WHISPER(self.whisper)
        (self.whisper / "model.safetensors").chmod(0o644)  # nobody's failure is to be the table's
        shutil.copy(CLIP, self.disk / "clip.mp4")
        row = "id,split,label,text,media\nv$_$1,test,1,{},clip.mp4\n"
        self.heard, self.unheard = self.disk / "heard.csv", self.disk / "unheard.csv"
        for table, words in ((self.heard, ""), (self.unheard, ""), (self.disk / "seen.csv", "hm")):
            table.write_text(row.format(words))
        assert call("transcribe", "--table", self.heard, "--model", self.whisper)[0] == 0
        self.faces.write_text(
            f'[corpus]\nkind = "csv"\npath = "{self.disk}/seen.csv"\nname = "seen"\n'
            '[[features]]\nmodality = "vision"\nencoder = "tiny-clip"\nfps = 2.0\n'
        )
        for command in (["extract"], ["cache", "faces"]):
            assert call(*command, "-c", self.faces)[0] == 0

    def quiet(self) -> dict[str, list[object]]:
        """Commands that have nothing to write."""
        c = ["-c", self.pipeline]
        return {
            "extract": ["extract", *c],
            "train": ["train", *c],
            "sweep": ["sweep", *c],
            "robustness": ["robustness", *c],
            "report": ["report", *c],
            "mmsa": ["report", "--mmsa", *c],
            "run": ["run", *c],
            "doctor": ["doctor", "--no-probe", *c],
            "ls": ["cache", "ls", *c],
            "info": ["cache", "info", self.store],
            "verify": ["cache", "verify", "--repair", self.store],
            "convert": ["cache", "convert", self.store, "--to", "zarr"],
            "runs ls": ["runs", "ls", *c],
            "runs show": ["runs", "show", self.name, *c],
            "runs diff": ["runs", "diff", self.name, self.name, *c],
            "runs verify": ["runs", "verify", *c],
            "runs migrate": ["runs", "migrate", *c],
            "runs prune": ["runs", "prune", "--yes", *c],
            "compare": ["compare", self.name, self.name, *c],
            "folders": ["compare", self.run, self.run.parent, "-c", self.disk / "none.toml"],
            "export": ["cache", "export", self.outside / "again.pkl", *c],
            "explain": ["explain", "train.epochs"],
            "schema": ["schema"],
            "models": ["models", *c],
            "fetch": ["fetch", *c],
            "cross": ["cross", "--on", self.asked, *c],
            "faces": ["cache", "faces", "-c", self.faces],
            "transcribe": ["transcribe", "--table", self.heard, "--model", self.whisper],
        }

    def busy(self) -> dict[str, list[object]]:
        """Commands that have."""
        c = ["-c", self.pipeline]
        return {
            "extract": ["extract", "-c", self.more],
            "train": ["train", "--fresh", *c],
            "sweep": ["sweep", "--fresh", *c],
            "probe": ["sweep", "--probe", "--fresh", *c],
            "robustness": ["robustness", "--incomplete", *c],
            "convert": ["cache", "convert", self.store, "--to", "hdf5"],
            "into": ["cache", "convert", self.store, "--to", "hdf5", "--into", self.disk / "to"],
            "import": ["cache", "import", self.export, "--corpus", "other", *c],
            "export": ["cache", "export", self.disk / "e.pkl", *c],
            "fra": ["cache", "export", "--to", "fra", self.disk / "fra", *c],
            "init": ["init", "--preset", "mosi", self.disk / "deep" / "new.toml"],
            "predict": ["predict", self.run, "--text", "a word", *c],
            "csd": ["cache", "export", "--to", "csd", self.disk / "csd", *c],
            "figures": ["report", "--figures", *c],
            "pack": ["runs", "pack", self.name, self.disk / "run.zip", *c],
            "unpack": ["runs", "unpack", self.packed, "--into", self.disk / "unpacked"],
            "words": ["report", "--no-text", *c],
            "tune": ["tune", "--trials", "1", *c],
            "cross": ["cross", "--on", self.unasked, *c],
            "faces": ["cache", "faces", "--into", self.disk / "sheets", "-c", self.faces],
            "transcribe": ["transcribe", "--table", self.unheard, "--model", self.whisper],
        }

    def removing(self) -> dict[str, list[object]]:
        """Commands that take something away."""
        c = ["-c", self.pipeline]
        return {
            "rm": ["cache", "rm", self.store, "--yes"],
            "runs rm": ["runs", "rm", self.name, "--yes", *c],
        }


MORE = '[[features]]\nmodality = "text"\nencoder = "tiny-roberta"\n'


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Experiment]:
    tmp_path_factory.getbasetemp()  # of the whole session: not on a disk that goes away
    place = Path(tempfile.mkdtemp(prefix="sedimental-test-"))  # others cannot enter pytest's own
    place.chmod(0o755)
    disk, outside = place / "disk", place / "outside"
    disk.mkdir()
    outside.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE}m,mode=755", "sedimental-test", str(disk)]
    mounted = subprocess.run(["mount", *options], capture_output=True, check=False)
    if mounted.returncode:
        shutil.rmtree(place)
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    before, tempfile.tempdir = tempfile.tempdir, str(disk)  # predict's features lie on it too
    try:
        yield Experiment(disk, outside)
    finally:
        tempfile.tempdir = before
        subprocess.run(["umount", "-l", str(disk)], check=True)
        shutil.rmtree(place)


@pytest.fixture
def read_only(experiment: Experiment) -> Iterator[Experiment]:
    mount = ["mount", "-o"]
    subprocess.run([*mount, "remount,ro", str(experiment.disk)], check=True)
    yield experiment
    subprocess.run([*mount, "remount,rw", str(experiment.disk)], check=True)


@pytest.fixture
def full(experiment: Experiment) -> Iterator[Experiment]:
    filler = experiment.disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    yield experiment
    filler.unlink()


@pytest.fixture
def forbidden(experiment: Experiment) -> Iterator[Experiment]:
    """Folders that nobody may write to, and a root that is bound by it."""
    folders = [experiment.disk, *(p for p in experiment.disk.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    before, after = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    assert libc.capget(header, before) == 0
    after[:] = before  # type: ignore[call-overload]
    after[0] &= ~0b110  # effective: neither CAP_DAC_OVERRIDE nor CAP_DAC_READ_SEARCH
    assert libc.capset(header, after) == 0
    yield experiment
    assert libc.capset(header, before) == 0
    for folder in folders:
        folder.chmod(0o755)


def snapshot(disk: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() if p.is_file() else b"/" for p in sorted(disk.rglob("*"))}


@pytest.mark.parametrize("state", ["read_only", "full", "forbidden"])
def test_what_has_nothing_to_write_needs_no_room(
    state: str, request: pytest.FixtureRequest
) -> None:
    experiment: Experiment = request.getfixturevalue(state)
    (experiment.outside / "again.pkl").unlink(missing_ok=True)  # of another state
    before = snapshot(experiment.disk)
    ended = {name: call(*command) for name, command in experiment.quiet().items()}
    assert ended == dict.fromkeys(ended, (0, []))
    assert snapshot(experiment.disk) == before


@pytest.mark.parametrize("state", ["read_only", "full", "forbidden"])
def test_what_has_is_one_line_and_leaves_nothing_half(
    state: str, request: pytest.FixtureRequest
) -> None:
    experiment: Experiment = request.getfixturevalue(state)
    before = snapshot(experiment.disk)
    for name, command in experiment.busy().items():
        code, errors = call(*command)
        if (name, state) in {("init", "full"), ("import", "full")}:
            continue  # a file of a few bytes may still have room
        assert (name, code, len(errors)) == (name, 1, 1), errors
        why = {"read_only": "Read-only", "full": "No space|are free", "forbidden": "denied|writ"}
        assert any(word in errors[0] for word in why[state].split("|")), (name, errors)
        assert ".tmp-" not in errors[0] or name == "predict"
    after = snapshot(experiment.disk)
    assert not [name for name in after if ".tmp-" in name]
    assert after.items() >= before.items()  # all that was there
    for name in set(after) - set(before):
        assert state == "full", name
        if "/other" in name:
            shutil.rmtree(experiment.disk / "features" / "other", ignore_errors=True)
        Path(name).unlink(missing_ok=True) if Path(name).is_file() else None
    shutil.rmtree(experiment.disk / "deep", ignore_errors=True)


def test_every_command_is_among_them(experiment: Experiment) -> None:
    """A command that is added is tried on bad disks as well."""

    def leaves(group: Any, before: tuple[str, ...] = ()) -> Iterator[str]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from leaves(command, (*before, name))
            else:
                yield " ".join((*before, name))

    tried = [*experiment.quiet().values(), *experiment.busy().values()]
    tried += experiment.removing().values()
    known = {" ".join(map(str, c[:2] if c[0] in ("runs", "cache") else c[:1])) for c in tried}
    assert set(leaves(typer.main.get_command(app))) <= known


@pytest.mark.parametrize("state", ["read_only", "forbidden"])
def test_what_cannot_be_taken_away_stays_whole(state: str, request: pytest.FixtureRequest) -> None:
    experiment: Experiment = request.getfixturevalue(state)
    before = snapshot(experiment.disk)
    for name, command in experiment.removing().items():
        code, errors = call(*command)
        assert (name, code, len(errors)) == (name, 1, 1), errors
    assert snapshot(experiment.disk) == before


def test_nobody_reads_what_all_may_read(experiment: Experiment) -> None:
    """Another user, without a home: commands that read work, others are one line."""
    before = snapshot(experiment.disk)
    for given, works in ((experiment.quiet(), True), (experiment.busy(), False)):
        for name, command in given.items():
            if "export" in command[:2] and works:
                continue  # into a folder of root's
            code, errors = as_nobody(*command)
            wanted = (0, 0) if works or name == "predict" else (1, 1)
            assert (name, code, len(errors)) == (name, *wanted), errors
    assert snapshot(experiment.disk) == before


def as_nobody(*command: object) -> tuple[int, list[str]]:
    """`call` in a child that is nobody."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            tempfile.tempdir = None
            os.environ["HOME"] = "/nonexistent"
            os.write(writer, json.dumps(call(*command)).encode())
        except BaseException as fault:
            os.write(writer, json.dumps([-1, [repr(fault)]]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        code, errors = json.loads(pipe.read())
    os.waitpid(child, 0)
    return code, errors


def test_a_disk_that_cannot_be_read_is_one_line(experiment: Experiment) -> None:
    """EIO: the first page of a process' own memory answers it, as a dying disk does."""
    c = ["-c", experiment.pipeline]
    commands: dict[str, list[list[object]]] = {
        "features/toy/manifest.jsonl": [
            ["train", *c],
            ["report", *c],
            ["cache", "export", "e", *c],
        ],
        "features/toy/text-*/store.json": [["train", "--fresh", *c], ["cache", "info"]],
        "features/toy/text-*/part-*/zarr.json": [["cache", "verify"]],
        "features/toy/text-*/part-*/hidden/c.0.0.0": [
            ["train", "--fresh", *c],
            ["cache", "verify"],
        ],
        "runs/toy/uegd-T*/seed-1/run.json": [["report", *c], ["predict", experiment.run, *c]],
        "runs/toy/uegd-T*/seed-1/predictions.csv": [["report", *c]],
        "runs/toy/sweep/sweep.json": [["report", *c]],
        "corpus/table.csv": [["extract", *c]],
        "p.toml": [["train", *c], ["report", *c]],
    }
    for pattern, given in commands.items():
        file = next(iter(experiment.disk.glob(pattern)))
        kept = file.read_bytes()
        file.unlink()
        file.symlink_to("/proc/self/mem")
        try:
            for command in given:
                if command[0] == "cache" and command[1] in ("info", "verify"):
                    command.append(experiment.store)
                if command[0] == "predict":
                    command += ["--text", "x"]
                code, errors = call(*command)
                expected = 0 if command[1] == "verify" else 1
                assert (pattern, code in (1, 2), len(errors)) == (pattern, True, expected), errors
        finally:
            file.unlink()
            file.write_bytes(kept)


def wait_for(there: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    while not there():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def test_predict_that_is_stopped_removes_its_features(
    experiment: Experiment, tmp_path: Path
) -> None:
    """H15."""
    command = ["predict", experiment.run, *(["--text", "a word"] * 40), "-c", experiment.pipeline]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sedimental", *map(str, command)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: any(tmp_path.iterdir()), process)
    process.send_signal(signal.SIGTERM)
    told = process.communicate()[1].decode()
    assert process.returncode == 128 + signal.SIGTERM
    assert "error: stopped by SIGTERM; nothing of it is kept." in told
    assert not list(tmp_path.iterdir())
