"""Sweeps: the same runs as one by one, nothing twice, nothing lost, the best layer found."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from sedimental.cache.manifest import Clip, Manifest, write_manifest
from sedimental.cache.runs import Run, list_runs, read_run
from sedimental.cache.runs.names import find_folders
from sedimental.cache.spec import MODALITIES, FeatureSpec
from sedimental.cache.store.store import Store
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.cache.sweeps import Point, Sweep, read_sweep, settled, tied
from sedimental.config import Config, ConfigError, load_config
from sedimental.errors import RunError, SedimentalError
from sedimental.evaluate.layer_comparison import recommendation_words
from sedimental.evaluate.output.sweep_terminal import to_terminal
from sedimental.progress import Progress, Silent
from sedimental.train.distributed.sigterm import Preempted
from sedimental.train.processes.jobs import Job, Share, balanced
from sedimental.train.processes.pool import Pool
from sedimental.train.run import train
from sedimental.train.sweep.recommend import recommend
from sedimental.train.sweep.sweep import sweep

LAYERS = ("0", "1", "2", "3")
BEST = {"text": 2, "audio": 1, "vision": 3}
SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"max_length": 512},
    "audio": {"rate": 5.0, "pool": "stride"},
    "vision": {"fps": 3.0, "face_size": 256, "margin": 0, "no_face": "zero", "detect_size": 640},
}
PIPELINE = """
[corpus]
kind = "csv"
path = "toy.csv"
[[features]]
modality = "text"
encoder = "tiny-text"
[[features]]
modality = "audio"
encoder = "tiny-audio"
[[features]]
modality = "vision"
encoder = "tiny-vision"
[train]
seeds = [1, 2]
epochs = 3
learning_rate = 1e-2
device = "cpu"
[train.inputs]
text = { encoder = "tiny-text" }
audio = { encoder = "tiny-audio" }
vision = { encoder = "tiny-vision" }
[train.uegd]
hidden = 8
embedding = 4
heads = 2
"""


def prepare(root: Path, more: str = "", modalities: Sequence[str] = MODALITIES) -> Path:
    """A pipeline.toml, a manifest and a store of each modality that says the label in one layer."""
    random = np.random.default_rng(0)
    clips = [
        Clip(
            id=f"v$_${k}",
            video_id="v",
            clip_id=str(k),
            split="train" if k < 24 else "valid" if k < 36 else "test",
            label=float(random.uniform(-3, 3)),
        )
        for k in range(48)
    ]
    folder = root / "features" / "toy"
    write_manifest(folder / "manifest.jsonl", Manifest("toy", root, tuple(clips)))
    for m in MODALITIES:
        spec = FeatureSpec(
            m, f"tiny-{m}", f"x/tiny-{m}", None, "random:0", "00", LAYERS, 6,
            preprocessing=SETTINGS[m],
        )  # fmt: skip
        made = []
        for clip in clips:
            n = int(random.integers(2, 5))
            values = random.normal(0, 1, (len(LAYERS), n, 6)).astype(np.float32)
            values[BEST[m]] += clip.label or 0
            times = np.arange(n, dtype=np.float32)
            made.append(ClipFeatures(clip.id, "s", values, times, times + 1, times < 9, {}))
        writer = StoreWriter.create(folder, spec, "zarr")
        writer.add(made)
        writer.finish({c.id: "s" for c in clips}, {})
    lines = PIPELINE.splitlines()
    kept = [x for x in lines if not any(f"{m} = {{" in x for m in set(MODALITIES) - {*modalities})]
    path = root / "pipeline.toml"
    path.write_text("\n".join(kept) + "\n" + more, encoding="utf-8")
    return path


def config_of(root: Path, more: str = "", modalities: Sequence[str] = MODALITIES) -> Config:
    return load_config(prepare(root, more, modalities))


def values(config: Config) -> dict[str, list[float]]:
    folder = config.experiment / "sweep"
    return {
        str(path.relative_to(folder)): read_run(path).predictions.values.tolist()
        for cell in sorted(folder.glob("*/"))
        for path in list_runs(cell)
    }


def read_cell(config: Config, name: str) -> Run:
    """A run of one cell of the sweep: ``uegd.A.1/uegd-A/seed-1``."""
    cell, _, run = name.partition("/")
    return read_run(*find_folders(run, config.experiment / "sweep" / cell))


class Heard:
    def __init__(self) -> None:
        self.done = self.total = 0

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        self.total = total

    def advance(self, task: str, by: int = 1) -> None:
        self.done += by

    def note(self, message: str) -> None: ...


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Sweep, Heard]:
    config = config_of(tmp_path_factory.mktemp("sweep"), "[sweep]\nprocesses = 1\n")
    heard = Heard()
    return config, sweep(config, heard), heard


Swept = tuple[Config, Sweep, Heard]


def test_the_grid_is_whole(swept: Swept) -> None:
    config, found, heard = swept
    names = {(p.letters, p.choice) for p in found.points}
    alone = {(x, layer) for x in "TAV" for layer in (*LAYERS, "weighted")}
    assert names == alone | {("TAV", "picked"), ("TAV", "last"), ("TAV", "weighted")}
    assert all(p.seeds == (1, 2) for p in found.points)
    assert heard.done == heard.total == len(found.points) * 2 * 3
    assert read_sweep(config.experiment / "sweep") == found
    assert not list(list_runs(config.experiment))  # none of it is a row of the results table


def test_the_layer_that_knows_is_picked_on_validation(swept: Swept) -> None:
    config, found, _ = swept
    assert dict(found.picks["uegd"]) == {m: str(BEST[m]) for m in MODALITIES}
    for modality in MODALITIES:
        curve = found.curve("uegd", modality)
        assert [p.choice for p in curve] == list(LAYERS)
        best = max(curve, key=lambda p: np.mean(p.scores["valid"]["Corr"]))
        assert best.choice == found.picks["uegd"][modality]
    run = read_cell(config, "uegd.TAV.picked/uegd-TAV/seed-1")
    assert [(i.modality, i.layers) for i in run.inputs] == [(m, (str(BEST[m]),)) for m in BEST]
    last = read_cell(config, "uegd.TAV.last/uegd-TAV/seed-1")
    assert {i.layers for i in last.inputs} == {("3",)}


def test_a_cell_is_what_training_alone_gives(swept: Swept, tmp_path: Path) -> None:
    config, found, _ = swept
    inputs = {"audio": {"encoder": "tiny-audio", "layers": 1}}
    section = {**config.train.model_dump(), "inputs": inputs}
    alone = Config.model_validate(
        {**config.model_dump(), "train": section, "runs": {"root": tmp_path}, "sweep": None}
    )
    for run in train(alone):
        cell = read_cell(config, f"uegd.A.1/uegd-A/seed-{run.seed}")
        assert cell.key == run.key
        assert cell.predictions.values.tolist() == run.predictions.values.tolist()
    point = found.find("uegd", "A", "1")
    assert point is not None
    assert point.scores["test"]["MAE"][0] == cell_mae(config, 1)


def cell_mae(config: Config, seed: int) -> float:
    return read_cell(config, f"uegd.A.1/uegd-A/seed-{seed}").metrics["test"]["MAE"]


def test_processes_change_nothing(swept: Swept, tmp_path: Path) -> None:
    config, found, _ = swept
    heard = Heard()
    other = config_of(tmp_path, "[sweep]\nprocesses = 2\n", ["audio"])
    again = sweep(other, heard)
    assert again.picks["uegd"]["audio"] == found.picks["uegd"]["audio"]
    assert values(other) == {k: v for k, v in values(config).items() if ".A." in k}
    assert heard.done == heard.total


def test_a_layer_is_read_once_for_all_seeds_and_variants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = (
        "[sweep]\nprocesses = 1\nepochs = 1\nweighted = false\noptions = { dropout = [0.1, 0.3] }\n"
    )
    config = config_of(tmp_path, more, ["text"])
    asked: list[Any] = []
    whole = Store.layers
    monkeypatch.setattr(
        Store,
        "layers",
        lambda self, layers=None: asked.append(layers) or whole(self, layers),  # type: ignore[func-returns-value]
    )
    found = sweep(config)
    assert sorted(asked) == [[name] for name in LAYERS]
    assert found.arms == ("uegd dropout=0.1", "uegd dropout=0.3")
    assert len(found.points) == 2 * len(LAYERS)
    assert found.points[0].settings == {"dropout": 0.1}
    run = read_cell(config, "uegd-dropout-0.3.T.2/uegd-T/seed-2")
    assert run.options["dropout"] == 0.3
    asked.clear()
    assert sweep(config).points == found.points
    assert asked == []  # a finished sweep reads no features


def test_what_is_tried_can_be_chosen(tmp_path: Path) -> None:
    more = (
        '[sweep]\nprocesses = 1\nepochs = 1\nlayers = [1, 2]\nmodalities = ["A", "V"]\n'
        'seeds = [7]\nfusions = ["AV"]\nweighted = false\ncriterion = "MAE"\n'
    )
    found = sweep(config_of(tmp_path, more))
    assert found.criterion == "MAE"
    assert {(p.letters, p.choice) for p in found.points} == {
        *((x, layer) for x in "AV" for layer in ("1", "2", "3")),  # the last, to compare with
        ("AV", "picked"),
        ("AV", "last"),
    }
    assert [p.choice for p in found.curve("uegd", "vision")] == ["1", "2"]
    assert found.picks["uegd"]["vision"] in ("1", "2")  # the last was not asked for
    maes = {p.choice: p.scores["valid"]["MAE"][0] for p in found.curve("uegd", "audio")}
    assert found.picks["uegd"]["audio"] == min(maes, key=maes.__getitem__)


@pytest.mark.parametrize(
    ("more", "fault", "says"),
    [
        ("options = { dropoutt = [1] }", ConfigError, "dropoutt is no option of uegd"),
        ("options = { dropout = [0.1, 7] }", ConfigError, "train.uegd.dropout"),
        ('criterion = "corr"', ConfigError, 'Did you mean "Corr"'),
        ('modalities = ["T"]\nfusions = ["TA"]', RunError, "needs layers of A"),
        ("layers = [9]", Exception, "layer 9 is not stored"),
    ],
)
def test_faults_are_said_before_anything_is_trained(
    tmp_path: Path, more: str, fault: type[Exception], says: str
) -> None:
    config = config_of(tmp_path, f"[sweep]\n{more}\n")
    with pytest.raises(fault, match=says):
        sweep(config)
    assert not (config.experiment / "sweep").exists()


def cut_short(root: Path) -> None:
    """Damage the audio store."""
    for part in (root / "features/toy").glob("audio-*/part-*"):
        for file in [part, *part.rglob("*")]:
            if file.is_file() and file.stat().st_size > 2000:
                os.truncate(file, 1000)


def test_a_fault_is_told_in_its_words(tmp_path: Path) -> None:
    config = config_of(tmp_path, "[sweep]\nprocesses = 2\nepochs = 1\n")
    cut_short(tmp_path)
    with pytest.raises(SedimentalError, match=r"audio-tiny-audio"):
        sweep(config)


def test_a_fault_in_another_process_ends_the_work_of_this_one(tmp_path: Path) -> None:
    config = config_of(tmp_path, "", ["audio"])
    cut_short(tmp_path)
    job, heard = Job((Share(config, ("uegd A seed 1",)),)), Heard()

    def own(take: Any, told: Progress) -> None:
        for _ in range(3000):  # leaves all jobs to the other process, and trains for a minute
            time.sleep(0.02)
            told.advance("sweep")

    with Pool("sweep", heard, threads=1) as pool, pytest.raises(RunError, match="audio-tiny-audio"):
        pool.run([job], 2, own)
    assert heard.done < 3000


def test_a_fault_while_a_process_waits_for_its_next_job_is_told(tmp_path: Path) -> None:
    config = config_of(tmp_path, "", ["audio"])
    high = config.train.model_copy(update={"learning_rate": 1e30})
    job = Job((Share(config.model_copy(update={"train": high}), ("uegd A seed 1",)),))
    with Pool("sweep", Silent(), threads=1) as pool:
        [failure] = pool.run([job], 2, lambda take, told: None)
    assert failure.startswith("uegd A seed 1: Epoch")


@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_ends_a_sweep_which_goes_on_from_there(
    swept: Swept, tmp_path: Path, processes: int
) -> None:
    reference, _, _ = swept
    config = config_of(tmp_path, f"[sweep]\nprocesses = {processes}\n", ["text"])

    class Ends(Silent):
        left = 8

        def advance(self, task: str, by: int = 1) -> None:
            self.left -= by
            if -by < self.left <= 0:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Preempted, match="The same command goes on from there"):
        sweep(config, Ends())
    assert 0 < len(values(config)) < 10
    sweep(config)
    assert values(config) == {k: v for k, v in values(reference).items() if ".T." in k}
    assert not list(config.experiment.rglob(".resume-*"))


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_the_last_jobs_are_split_so_that_no_process_waits(count: int, processes: int) -> None:
    jobs = [
        Job((Share(Config(), (f"{k} a", f"{k} b", f"{k} c")), Share(Config(), (f"{k} d",))))
        for k in range(count)
    ]
    found = balanced(jobs, processes)
    titles = [title for job in found for share in job.shares for title in share.titles]
    assert sorted(titles) == sorted(t for j in jobs for share in j.shares for t in share.titles)
    whole = [job for job in found if job in jobs]
    assert found[: len(whole)] == whole  # the small ones come last, the smallest last of all
    sizes = [job.runs for job in found]
    assert sizes == sorted(sizes, reverse=True)
    if processes > 1:
        assert len(found) - len(whole) >= processes or sizes[-1] == 1


def test_a_killed_sweep_loses_only_cells_in_flight(swept: Swept, tmp_path: Path) -> None:
    reference, _, _ = swept
    path = prepare(tmp_path, "[sweep]\nprocesses = 2\n", ["text"])
    # the command, but for its check, which knows of no encoder that is called as in this corpus
    code = (
        "import sys; from sedimental import checks, config; from sedimental.cli import app;"
        "checks.load_config = lambda path, table, changed: config.load_config(path, (), changed);"
        "app(['sweep', '--json', '-c', sys.argv[1]])"
    )
    command = [sys.executable, "-P", "-c", code, str(path)]
    config = load_config(path)
    folder = config.experiment / "sweep"

    def done() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in folder.glob("*/*/seed-*/run.json")}

    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while len(done()) < 3:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    kept, settled = done(), -1
    while settled != len(kept):  # its processes end by themselves
        settled = len(kept)
        time.sleep(0.7)
        kept = done()
    assert 3 <= len(kept) < 10  # the kill itself cost at most what two processes had in hand
    whole = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {p: t for p, t in done().items() if p in kept} == kept  # not trained again
    assert values(config) == {k: v for k, v in values(reference).items() if ".T." in k}
    probe, grid = json.loads(whole.stdout)
    assert (probe["kind"], grid["kind"]) == ("probe", "sweep")
    assert "layers = 2" in grid["inputs"]
    assert (folder / "layers-corr.svg").is_file()


def candidates(values: dict[str, tuple[float, ...]]) -> list[Point]:
    return [
        Point(
            "uegd", "uegd", "TAV", choice, {"text": choice}, tuple(range(len(own))),
            {"valid": {"Corr": own}, "test": {"Corr": own}}, {}, "", 1.0,
        )
        for choice, own in values.items()
    ]  # fmt: skip


def test_what_validation_supports_is_recommended(swept: Swept) -> None:
    """R11: the picked layers came third on validation, and were printed to paste."""
    points = candidates({"picked": (0.6, 0.66), "last": (0.7, 0.72), "weighted": (0.76, 0.78)})
    random = np.random.default_rng(0)
    noise = {p.choice: random.normal(p.mean("valid", "Corr"), 0.001, 200) for p in points}
    best = recommend(points, lambda p: noise[p.choice], "Corr", 40)
    assert (best.choice, best.runner_up, best.clips) == ("weighted", "last", 40)
    assert best.margin == pytest.approx(0.06)
    assert best.clear
    wide = {p.choice: random.normal(p.mean("valid", "Corr"), 0.1, 200) for p in points}
    assert not recommend(points, lambda p: wide[p.choice], "Corr", 40).clear
    _, found, _ = swept
    chosen = found.recommended["uegd"]
    tried = {p.choice: p.mean("valid", "Corr") for p in found.points if p.letters == "TAV"}
    assert tried[chosen.choice] == max(tried.values())
    assert chosen.value == pytest.approx(max(tried.values()))
    if chosen.choice == "weighted":
        assert found.lines().count('"weighted"') == 3
    words = recommendation_words(found, "uegd")
    assert "standard error" in words
    assert words.startswith(f"TAV: the {chosen.choice}")


def test_of_layers_within_one_error_the_middle_one_is_picked() -> None:
    def curve(values: list[float], error: float) -> list[Point]:
        made = candidates({str(k): (v,) for k, v in enumerate(values)})
        return [replace(p, error=error) for p in made]

    assert settled(curve([0.1, 0.5, 0.52, 0.53, 0.51, 0.2], 0.03), "Corr").choice == "2"
    assert settled(curve([0.1, 0.5, 0.52, 0.53, 0.51, 0.2], 0.001), "Corr").choice == "3"
    # a lone layer elsewhere that is as good does not move the middle
    assert settled(curve([0.53, 0.1, 0.1, 0.52, 0.53, 0.52], 0.02), "Corr").choice == "0"
    far = curve([0.525, 0.1, 0.1, 0.52, 0.53, 0.52], 0.02)
    assert settled(far, "Corr").choice == "4"
    assert [p.choice for p in tied(far, "Corr")] == ["0", "3", "4", "5"]


def test_every_trained_layer_has_a_standard_error(swept: Swept) -> None:
    _, found, _ = swept
    errors = [p.error for p in found.points]
    assert all(error is not None and 0 < error < 1 for error in errors)
    shown = Console(width=200, record=True, file=io.StringIO())
    shown.print(to_terminal([found]))
    text = shown.export_text()
    best = found.recommended["uegd"]
    assert f"{best.clips} clips" in text
    [row] = [line for line in text.splitlines() if line.strip().startswith("0 ")]
    assert len(row.split()) == 1 + 3 * 3  # of layer 0: each modality on validation, and no test
