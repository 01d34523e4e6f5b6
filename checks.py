"""One check of a whole pipeline for every command: all faults in one answer, before anything runs.

It stands on the roof, as it asks every stage what there is: encoders and their layers, models and
their options, metrics, the corpus's table and whose cache it is. It needs no network and loads no
encoder; what only the Hub could tell is left for later, on every machine alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import Check, Config, ConfigError, DeepCheck, Override, read_config

if TYPE_CHECKING:
    from .cache.manifest import Manifest
    from .progress import Progress
    from .train.plan import RowKey


def load_config(
    path: str | Path = "pipeline.toml", table: bool = False, overrides: Sequence[Override] = ()
) -> Config:
    """The pipeline at `path` with `overrides`, checked as a whole; with `table`, the corpus's too.

    Raises ConfigError with every fault, each with its file, key or line, and nearest valid name.
    """
    from .extract.encoders.presets.table import encoder_faults

    checks: list[Check] = [partial(encoder_faults, folder=Path(path).parent)]
    deeper: list[DeepCheck] = []
    if _is_there("torch"):  # reports are written without it as well
        from .extract.encoders.layer_faults import layer_faults
        from .train.checks import train_faults
        from .train.models import option_faults

        checks, deeper = [*checks, option_faults], [layer_faults, train_faults]
    config, faults = read_config(path, checks, deeper, overrides)
    if config is not None and table:
        faults += _table_faults(config)
    if faults or config is None:
        raise ConfigError("\n".join(faults))
    return config


def planned(
    config: Config, manifest: "Manifest", rows: "Sequence[RowKey]"
) -> "Mapping[RowKey, Mapping[str, Any] | str]":
    """What `config` asks for of each of `rows`; see `train.plan`."""
    if not _is_there("torch"):
        return dict.fromkeys(rows, "torch is not installed")
    from .train.plan import planned

    if not any(finetuned for _, _, finetuned in rows):
        return planned(config, manifest, rows)
    from .extract.finetune.find import live_input

    return planned(config, manifest, rows, live_input)


def news(config: Config, update: bool) -> Iterator[str]:
    """What changed in the corpus since its features were made: no result is of it unsaid."""
    if told := table_news(config, update):
        yield told
    if told := media_news(config):
        yield told
    if config.train.aligned and (told := words_news(config)):
        yield told


def take_in_news(config: Config, progress: "Progress | None") -> None:
    """Note what is new in the corpus, and take in what can be, before anything is made of it."""
    for text in news(config, update=True):
        if progress is not None:
            progress.note(f"warning: {text}")


def table_news(config: Config, update: bool) -> str:
    """What the corpus's table says by now that its cache does not; empty if nothing.

    Where no feature is stale by it, the cache takes it over if it is to `update`. Raises as
    `cached_manifest` does where the cache is another table's.
    """
    from .cache.corpus.corpus_table import cached_manifest
    from .cache.corpus.table_changes import table_changes
    from .cache.manifest import MANIFEST, write_manifest
    from .errors import CachedManifestError, ManifestError
    from .extract.corpora import load_manifest

    try:
        before = cached_manifest(config)
    except CachedManifestError:
        return ""  # said where it is needed
    if config.corpus.kind == "imported":
        return ""
    try:
        now = load_manifest(config.corpus)
    except ManifestError as fault:
        if config.corpus.path is None or not config.corpus.path.exists():
            return ""  # features can be used where the corpus is not
        first = str(fault).split("\n")[0]
        return f"the table cannot be read any more, what was extracted of it counts: {first}"
    changes = table_changes(before, now)
    if not changes.any:
        return ""
    told = f"the table has changed since its features were extracted: {changes.words}."
    if changes.stale:
        return f"{told} Until `sedimental extract` takes it in, what was extracted counts."
    if not update:
        return f"{told} `sedimental train` takes it in."
    write_manifest(config.corpus_cache / MANIFEST, now)
    return f"{told} It counts as it is now."


def media_news(config: Config) -> str:
    """Media files that are others now than those that features were made of; empty if none is."""
    from .cache.corpus.corpus_table import cached_manifest
    from .cache.corpus.media_index import changed_since, read_media
    from .errors import CachedManifestError

    try:
        root = cached_manifest(config).root
    except CachedManifestError:
        return ""
    changed, perhaps = changed_since(root, read_media(config.corpus_cache))
    if not changed and not perhaps:
        return ""
    shown = [*changed, *perhaps]
    names = ", ".join(shown[:3]) + (", …" if len(shown) > 3 else "")
    one, sure = len(shown) == 1, bool(changed)
    told = ("has" if one else "have") if sure else "may have"
    return (
        f"{len(shown)} media file{'' if one else 's'} {told} changed since their features were "
        f"extracted ({names}). `sedimental extract` makes those anew."
    )


def words_news(config: Config) -> str:
    """Word times that are others now than those that inputs are aligned by; empty if none is."""
    from .errors import CachedManifestError, ManifestError
    from .extract.corpora import load_manifest
    from .extract.word_times.gather import changed

    try:
        names = changed(config, load_manifest(config.corpus))
    except (CachedManifestError, ManifestError):
        return ""  # said where it is needed, or not there any more
    if not names:
        return ""
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return (
        f"the word times of {len(names)} clips ({shown}) have changed since they were taken in; "
        "until `sedimental extract`, those that were count."
    )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # it was taken away
        return False


def _table_faults(config: Config) -> Iterator[str]:
    """What is wrong with the corpus's table, and whether its cache is its own."""
    from .cache.corpus.corpus_table import refuse_foreign
    from .errors import ManifestError
    from .extract.corpora import load_manifest
    from .extract.survey import check_media

    try:
        manifest = load_manifest(config.corpus)
        refuse_foreign(config, manifest)
        check_media(manifest, config)
    except (ManifestError, ConfigError) as fault:
        yield from str(fault).split("\n")
