"""`extract --engine ray`: actors of a real Ray cluster, on this machine, make the stores of a plain
run, whatever happens to them."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedimental.cache.store.store import Store, list_stores, open_store
from sedimental.config import Config, ConfigError, load_config
from sedimental.extract.engine import EngineError
from sedimental.extract.ray.actor import Actor, Landmark
from sedimental.extract.ray.cluster import connected, reach
from sedimental.extract.ray.engine import RayEngine, share_count, unseen
from sedimental.extract.ray.placement import places
from sedimental.extract.ray.pool import Member
from sedimental.extract.result import ExtractResult
from sedimental.extract.run import extract
from sedimental.extract.shards import Shard

RAY = [sys.executable, "-P", "-m", "sedimental", "extract", "--engine", "ray", "--actors", "2"]


def stores(config: Config) -> dict[str, Store]:
    found = (open_store(path, allow_partial=True) for path in list_stores(config.cache.root))
    return {store.spec.modality: store for store in found}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: (row["clip"], row["modality"]))


def same(one: Config, other: Config) -> None:
    """Clips once each, values to the rounding of other batches, side arrays bit for bit."""
    ours, theirs = stores(one), stores(other)
    assert ours.keys() == theirs.keys()
    for modality, store in theirs.items():
        own = ours[modality]
        assert sorted(own.clips) == sorted(store.clips)
        assert len(set(own.clips)) == len(own.clips)
        assert (own.complete, own.failures) == (store.complete, store.failures)
        got, wanted = own.read(None, store.clips).values, store.layers(None).values
        np.testing.assert_allclose(got, wanted, atol=2e-3)
        for name in store.sides:
            np.testing.assert_array_equal(own.side(name, store.clips), store.side(name))


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two processors that the tests share; an engine takes what is there."""
    ray = pytest.importorskip("ray")
    with connected(ray, None, cpus=2):
        yield


def killing(engine: RayEngine, deadly: Callable[[Member], bool], times: int) -> threading.Thread:
    """Kills, as the kernel kills for memory, the process of whoever is `deadly`, so many times."""

    def watch() -> None:
        killed: set[int] = set()
        while len(killed) < times:
            for member in engine.crew:
                about = member.about
                if about and about.pid not in killed and deadly(member):
                    killed.add(about.pid)
                    os.kill(about.pid, signal.SIGKILL)
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


class Heard:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.notes: list[str] = []

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        assert task not in self.totals
        self.totals[task], self.done[task] = total, 0

    def advance(self, task: str, by: int = 1) -> None:
        self.done[task] += by

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_two_actors_make_the_stores_of_a_plain_run(make_corpus: Any, make_pipeline: Any) -> None:
    pytest.importorskip("ray")
    corpus = make_corpus(8)
    (corpus / "Raw/demo_01a/0002.mp4").write_bytes(b"nothing")
    file = make_pipeline(corpus)
    run = subprocess.run([*RAY, "--json", "-c", str(file)], capture_output=True, text=True)
    assert run.returncode == 3, run.stderr
    result, config = json.loads(run.stdout), load_config(file)
    plain = load_config(make_pipeline(corpus, cache='root = "one"'))
    alone = extract(plain)
    same(config, plain)
    assert result["device"] == "2 x cpu"
    assert [s["new"] for s in result["stores"]] == [s.new for s in alone.stores] == [7, 7, 8]
    stages = {s["stage"]: s for s in result["stages"]}
    assert stages.keys() == {s.stage for s in alone.stages}
    assert {name: s["items"] for name, s in stages.items() if name not in ("load", "write")} == {
        s.stage: s.items for s in alone.stages if s.stage not in ("load", "write")
    }
    assert stages["decode"]["threads"] == 2
    assert stages["load"]["items"] == 6  # three encoders, in either actor
    listed = Path(result["failures_file"])
    assert listed.name == "failures.csv"
    assert rows(listed) == rows(alone.failures_file)
    left = {path.name for path in config.corpus_cache.iterdir()}
    assert left == {path.name for path in plain.corpus_cache.iterdir()}  # no share's list, no token


@pytest.mark.usefixtures("cluster")
def test_an_actor_killed_halfway_is_replaced(make_corpus: Any, make_pipeline: Any) -> None:
    corpus, cache = make_corpus(12), "part_clips = 1"
    config = load_config(make_pipeline(corpus, ("vision",), cache=cache))

    def halfway(member: Member) -> bool:
        parts = config.corpus_cache.glob("vision-*/part-*")
        return member.shard == Shard(1, 2) and len(list(parts)) > 3

    heard = Heard()
    with RayEngine(config, actors=2) as engine:
        watch = killing(engine, halfway, 1)
        result = extract(config, heard, engine=engine)
    watch.join(1)
    assert not watch.is_alive()  # it was killed in the middle
    assert not result.failures
    assert [note for note in heard.notes if "lost, another takes its share: ActorDied" in note]
    survey = {"looking at media": 12, "media": 12}
    assert heard.done == heard.totals == {"vision tiny-clip": 12, **survey}
    plain = load_config(make_pipeline(corpus, ("vision",), cache=f'root = "one"\n{cache}'))
    extract(plain)
    same(config, plain)


@pytest.mark.usefixtures("cluster")
def test_a_share_that_kills_twice_has_failed_and_the_other_is_kept(
    make_corpus: Any, make_pipeline: Any
) -> None:
    config = load_config(make_pipeline(make_corpus(6), ("text",)))
    with RayEngine(config, actors=2) as engine:
        killing(engine, lambda member: member.shard == Shard(1, 2), 2)
        result: ExtractResult = extract(config, engine=engine)
    assert [(s.new, s.failed) for s in result.stores] == [(3, 3)]
    assert {f.stage for f in result.failures} == {"share"}
    assert {f.reason.split(":")[0] for f in result.failures} == {
        "lost with 2 processes that had its share"
    }
    assert not {f.clip for f in result.failures} & set(stores(config)["text"].clips)
    assert len(rows(result.failures_file)) == 3
    again = extract(config)
    assert (again.stores[0].new, again.failures) == (3, ())


@pytest.mark.usefixtures("cluster")
def test_what_the_next_actor_would_meet_as_well_ends_the_run(
    make_corpus: Any, make_pipeline: Any
) -> None:
    config = load_config(make_pipeline(make_corpus(4), ("text",)))
    with RayEngine(config, actors=1) as engine:

        def spoil(diagnosis: Any) -> None:  # between the survey and the shares
            for path in config.corpus_cache.glob("text-*/store.json"):
                path.write_text("{}", encoding="utf-8")

        with pytest.raises(Exception, match=r"store\.json") as raised:
            extract(config, announce=spoil, engine=engine)
    assert type(raised.value).__module__ == "sedimental.errors"


def test_ctrl_c_keeps_what_is_written(make_corpus: Any, make_pipeline: Any) -> None:
    pytest.importorskip("ray")
    file = make_pipeline(make_corpus(24), ("vision",), cache="part_clips = 1")
    config = load_config(file)
    run = subprocess.Popen(
        [*RAY, "-c", str(file)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not list(config.corpus_cache.glob("vision-*/part-*")):
        assert run.poll() is None
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal sends it: to Ray's processes too
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "stopped; every part that was written is kept" in said
    held = len(stores(config)["vision"].clips)
    assert 0 < held < 24
    assert not stores(config)["vision"].complete
    result = extract(config)
    assert (result.stores[0].held, result.stores[0].new) == (held, 24 - held)
    assert stores(config)["vision"].complete


def test_without_ray_its_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, make_corpus: Any, make_pipeline: Any
) -> None:
    config = load_config(make_pipeline(make_corpus(1), ("text",)))
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(EngineError, match=r"pip install 'sedimental\[ray\]'"):
        RayEngine(config)


def test_a_cluster_that_is_not_there_is_told_at_once() -> None:
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(EngineError, match=f"--address {address}: no Ray cluster"):
            reach(address)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "ray", "--shard", "1/2"], "deals out all the shares itself"),
        (["--actors", "2"], "about --engine ray"),
        (["--engine", "slurm"], "slurm"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], said: str, make_corpus: Any, make_pipeline: Any
) -> None:
    from typer.testing import CliRunner

    from sedimental.cli import app

    file = make_pipeline(make_corpus(1), ("text",))
    result = CliRunner().invoke(app, ["extract", "-c", str(file), *options])
    assert result.exit_code == 2
    assert said in result.output


def test_a_machine_that_does_not_see_the_storage_is_named(
    tmp_path: Path, make_corpus: Any, make_pipeline: Any
) -> None:
    config = load_config(make_pipeline(make_corpus(1), ("text",)))
    (tmp_path / "clip.mp4").write_bytes(b"longer here")
    marks = [Landmark.at(tmp_path, "corpus.path"), Landmark.at(tmp_path / "clip.mp4", "media")]
    hand = Actor(config, cpus=3, gpu=False)
    about = hand.about(marks)
    assert (about.missed, about.device, about.workers) == ((), "cpu", 3)
    (tmp_path / "clip.mp4").write_bytes(b"other")
    about = hand.about(marks)
    assert about.missed == (marks[1],)
    (finding,) = unseen([about])
    assert finding.level == "error"
    assert f"{about.host} does not see {tmp_path / 'clip.mp4'}" in finding.text


def node(name: str, cpus: float, gpus: float = 0, alive: bool = True) -> dict[str, Any]:
    resources = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
    return {
        "NodeID": name,
        "NodeManagerHostname": name,
        "Alive": alive,
        "Resources": resources,
    }


def test_actors_are_placed_one_a_gpu_or_one_for_some_processors() -> None:
    mixed = [node("head", 4), node("a", 16, 2), node("b", 9, 1), node("c", 64, 8, alive=False)]
    found = [(p.host, p.cpus, p.gpu) for p in places(mixed, "auto", None)]
    assert found == [("a", 8, True), ("b", 9, True), ("a", 8, True)]
    assert [p.host for p in places(mixed, "cuda", 2)] == ["a", "b"]
    bare = [node("a", 16), node("b", 4)]
    assert [(p.host, p.cpus, p.gpu) for p in places(bare, "auto", None)] == [
        ("a", 8, False),
        ("b", 4, False),
        ("a", 8, False),
    ]
    spread = [(p.host, p.cpus, p.gpu) for p in places(mixed, "cpu", 3)]
    assert spread == [("a", 8, False), ("b", 9, False), ("a", 8, False)]


@pytest.mark.parametrize(
    ("device", "actors", "said"),
    [("cuda:1", None, "every GPU"), ("cuda", None, "no GPU"), ("auto", 5, "sees 4 processors")],
)
def test_what_ray_does_not_have_is_said(device: str, actors: int | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        places([node("a", 4)], device, actors)


def test_small_corpora_load_their_encoders_once_and_large_ones_spread() -> None:
    assert share_count(240, 2) == 2
    assert share_count(100_000, 8) == 32
    assert all(clips // share_count(clips, 8) >= 512 for clips in range(4096, 40_000, 512))
