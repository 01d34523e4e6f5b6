"""The long trial of a real extraction: `kill -9` at random moments, then what lies on disk.

Run as ``python -P tests/bench/trial_extract.py [--kills N] [--clips N] [--folder DIR]``. It prints
a line a setting and ends with an AssertionError at the first fault. After every kill: no clip that
was acknowledged is lost, every store passes its verification, and what is held equals, bit for bit,
the store of an extraction that nobody stopped.
"""

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from sedimental.cache.store.store import Store, list_stores, open_store
from sedimental.cache.store.verify import verify
from sedimental.cache.store.writer import StoreWriter
from sedimental.config import Config, load_config
from sedimental.extract.corpora.demo import FOLDER
from sedimental.extract.run import extract
from sedimental.extract.shards import Shard

Format = Literal["zarr", "hdf5"]
PIPELINE = """
[corpus]
kind = "csv"
path = "{table}"
[cache]
root = "{root}"
format = "{format}"
part_clips = 2
[extract]
workers = 1
[[features]]
modality = "vision"
encoder = "tiny-clip"
[[features]]
modality = "audio"
encoder = "tiny-wavlm"
[[features]]
modality = "text"
encoder = "tiny-bert"
"""


def table_of(folder: Path, clips: int) -> Path:
    """A table of the first `clips` clips of the demo corpus."""
    rows = (FOLDER / "label.csv").read_text(encoding="utf-8").splitlines()[1 : clips + 1]
    lines = ["id,split,text,media,label"]
    for row in rows:
        video, clip, text, label = row.split(",")[:4]
        lines.append(f"{video}-{clip},train,{text},{FOLDER}/Raw/{video}/{clip}.mp4,{label}")
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def pipeline(folder: Path, table: Path, name: str, format: Format) -> Config:
    """A pipeline that extracts `table` into the cache `name`."""
    path = folder / f"{name}.toml"
    text = PIPELINE.format(table=table, root=folder / name, format=format)
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def start(config: Config, shard: Shard | None, said: Path) -> int:
    """Extract in a child process, which notes in `said` each clip once it is acknowledged."""
    child = os.fork()
    if child:
        return child
    add = StoreWriter.add

    def noted(self: StoreWriter, clips: object) -> Path:
        path = add(self, clips)  # type: ignore[arg-type]
        with said.open("a") as file:
            file.writelines(f"{self.spec.modality} {clip.id}\n" for clip in clips)  # type: ignore[attr-defined]
        return path

    StoreWriter.add = noted  # type: ignore[method-assign]
    status = 1
    try:
        extract(config, shard=shard)
        status = 0
    finally:
        os._exit(status)


def shards(writers: int) -> list[Shard | None]:
    """The share of each of `writers`."""
    return [None] if writers == 1 else [Shard(k + 1, writers) for k in range(writers)]


def stores(config: Config) -> dict[str, Store]:
    """Stores by modality."""
    found = (open_store(path, allow_partial=True) for path in list_stores(config.cache.root))
    return {store.spec.modality: store for store in found}


def check(config: Config, whole: dict[str, Store], said: Path) -> int:
    """Nothing acknowledged is lost, nothing torn is seen; the number of clips held."""
    held = stores(config)
    for line in said.read_text().splitlines() if said.exists() else ():
        modality, clip = line.split(" ", 1)
        assert clip in held[modality].sources, f"lost: {line}"
    for modality, store in held.items():
        verdict = verify(store.path)
        assert not verdict.damage, verdict.damage
        values = store.layers(None).values
        expected = whole[modality].read(None, store.clips).values
        assert np.array_equal(values.view(np.uint16), expected.view(np.uint16)), store.path
    return sum(len(store.clips) for store in held.values())


def trial(folder: Path, table: Path, format: Format, writers: int, kills: int) -> str:
    """Kill an extraction `kills` times, beginning anew whenever it came to its end."""
    reference = pipeline(folder, table, f"whole-{format}-{writers}", format)
    began = time.perf_counter()
    for shard in shards(writers):
        assert os.waitpid(start(reference, shard, folder / "ignored"), 0)[1] == 0
    long = time.perf_counter() - began
    whole = stores(reference)
    assert all(store.complete for store in whole.values())
    random = np.random.default_rng(writers)
    done = rounds = 0
    while done < kills:
        rounds += 1
        config = pipeline(folder, table, f"killed-{format}-{writers}-{rounds}", format)
        said = folder / f"said-{format}-{writers}-{rounds}"
        while done < kills:
            children = [start(config, shard, said) for shard in shards(writers)]
            time.sleep(float(random.uniform(0.1, 1.0)) * long)
            ended = [os.waitpid(child, os.WNOHANG)[0] != 0 for child in children]
            for child, over in zip(children, ended, strict=True):
                if not over:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
            if all(ended):
                break
            done += 1
            check(config, whole, said)
        for shard in shards(writers):
            assert os.waitpid(start(config, shard, said), 0)[1] == 0
        check(config, whole, said)
        for modality, store in stores(config).items():
            assert store.complete
            assert sorted(store.clips) == sorted(whole[modality].clips)
    return (
        f"{format}, {writers} writer{'s' if writers > 1 else ''}: {done} kills in {rounds} "
        f"extractions of {long:.1f} s; nothing lost, nothing torn, each resumed to the same bits"
    )


def main() -> None:
    """Both formats, one writer and two."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="kills a setting")
    parser.add_argument("--clips", type=int, default=16, help="clips of the corpus")
    parser.add_argument("--folder", type=Path, help="where to write (default: temporary)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        table = table_of(folder, asked.clips)
        for format in get_args(Format):
            for writers in (1, 2):
                print(trial(folder, table, format, writers, asked.kills), flush=True)


if __name__ == "__main__":
    main()
