"""The whole of pipeline.toml, and how the file is read: every fault at once."""

import copy
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, PrivateAttr, ValidationError

from ..errors import ConfigError
from .base import Section
from .corpus import CorpusConfig
from .cross_section import cross_faults, with_inputs
from .evaluate import EvaluateConfig, RunsConfig, SweepConfig
from .features import (
    AnyFeatures,
    AudioFeatures,
    CacheConfig,
    ExtractConfig,
    Features,
    TextFeatures,
    VisionFeatures,
    WordsConfig,
)
from .field_spellings import forgiven
from .overrides import Override, overridden, place, plain
from .train import LIVE_KEYS, InputConfig, TrainConfig
from .wording import worded


class Config(Section):
    """The whole of pipeline.toml."""

    corpus: CorpusConfig = CorpusConfig()
    cache: CacheConfig = CacheConfig()
    features: tuple[AnyFeatures, ...] = ()
    words: WordsConfig = WordsConfig()
    extract: ExtractConfig = ExtractConfig()
    train: TrainConfig = TrainConfig()
    sweep: SweepConfig | None = None
    """Unset: `sedimental run` sweeps nothing, `sedimental sweep` with these defaults."""
    evaluate: EvaluateConfig = EvaluateConfig()
    runs: RunsConfig = RunsConfig()

    _notes: tuple[str, ...] = PrivateAttr(default=())

    def __repr__(self) -> str:
        """The corpus, the encoders and the models: the whole is `model_dump()`."""
        made = ", ".join(f"{table.modality} {table.encoder}" for table in self.features)
        models = ", ".join(self.train.models)
        return f"Config(corpus {self.corpus.slug}; features {made}; models {models})"

    @property
    def notes(self) -> tuple[str, ...]:
        """How values of the file were understood that are not written as their key wants them."""
        return self._notes

    def with_notes(self, notes: Iterable[str]) -> "Config":
        """The same with these notes."""
        same = self.model_copy()
        same._notes = tuple(notes)
        return same

    @property
    def corpus_cache(self) -> Path:
        """Folder of this corpus's stores and manifest."""
        return self.cache.root / self.corpus.slug

    @property
    def experiment(self) -> Path:
        """Folder of this experiment's runs and report."""
        return self.runs.root / (self.runs.name or self.corpus.slug)

    @property
    def frozen(self) -> "Config":
        """The same pipeline on cached layers alone."""
        return self.model_copy(update={"train": self.train.frozen})

    def features_of(self, modality: str) -> "AnyFeatures | None":
        """The [[features]] table that [train.inputs] names for this modality, if it does."""
        wanted = getattr(self.train.inputs, modality)
        tables = (f for f in self.features if f.modality == modality)
        return next((f for f in tables if wanted is not None and f.encoder == wanted.encoder), None)

    def live_input(self, features: Features) -> "InputConfig | None":
        """The live input that trains the encoder of this [[features]] table, if one does."""
        modality = getattr(features, "modality", "")
        one = self.train.live.get(modality)
        return one if one is not None and one.encoder == features.encoder else None


TAGS: Mapping[str, type[BaseModel]] = {
    "vision": VisionFeatures,
    "audio": AudioFeatures,
    "text": TextFeatures,
}
"""The kinds of [[features]] tables, by their modality."""


DeepCheck = Callable[[Config], Iterable[str]]
"""Finds what of a pipeline does not fit what there is: layers, metrics, options."""
Check = Callable[[Mapping[str, Any]], Iterable[str]]
"""Finds faults in the raw table that need knowledge of a stage: ``key.path: what is wrong``."""


def load_config(
    path: str | Path = "pipeline.toml",
    checks: Sequence[Check] = (),
    overrides: Sequence[Override] = (),
) -> Config:
    """Read and check the file at `path`; its relative paths become absolute.

    Values that are written as the field writes them (`layers = "6-12"`, `modality = "video"`) are
    understood, and `Config.notes` says how. Raises ConfigError with every fault, each with its
    file, key path and nearest valid name.
    """
    config, faults = read_config(path, checks, overrides=overrides)
    if faults or config is None:
        raise ConfigError("\n".join(faults))
    return config


def read_config(
    path: str | Path,
    checks: Sequence[Check] = (),
    deeper: Sequence[DeepCheck] = (),
    overrides: Sequence[Override] = (),
) -> tuple[Config | None, list[str]]:
    """(the pipeline at `path` with `overrides`, every fault of it, a line each).

    With faults the pipeline is what is left without the keys that are wrong, or None; `deeper`
    checks see that much of it.
    """
    file = Path(path)
    try:
        raw, said, lost = overridden(_toml(file), overrides)
    except ConfigError as fault:
        return None, [str(fault)]
    raw, notes = forgiven(raw)
    raw = with_inputs(raw)
    faults = [*cross_faults(raw, LIVE_KEYS), *(fault for check in checks for fault in check(raw))]
    config, wrong = _validated(raw)
    faults = [*wrong, *faults]
    if config is not None:
        config = _rooted(config, file.resolve().parent)
        config = config.with_notes(
            place(note, said, file) for note in notes if not plain(note, said)
        )
        faults += [fault for check in deeper for fault in check(config)]
    return config, [*lost, *(place(fault, said, file) for fault in dict.fromkeys(faults))]


def _validated(raw: Mapping[str, Any]) -> tuple[Config | None, list[str]]:
    """(the config, faults of the types); with faults, of what is right of the file."""
    try:
        return Config.model_validate(raw), []
    except ValidationError as found:
        faults = [worded(fault, Config, TAGS) for fault in found.errors()]
        left = copy.deepcopy(dict(raw))
        for fault in found.errors():
            of_features = fault["loc"][:1] == ("features",)  # the union's tag is no key of the file
            _drop(left, [s for s in fault["loc"] if not (of_features and s in TAGS)])
    try:
        return Config.model_validate(left), faults
    except ValidationError:  # what is left does not stand alone
        return None, faults


def _drop(table: Any, path: Sequence[int | str]) -> None:
    """Take what lies at `path` out of the raw table; of a list, the whole list."""
    for step, after in zip(path, [*path[1:], None], strict=True):
        last = after is None or (isinstance(after, int) and step != "features")
        if not isinstance(table, dict) or step not in table:
            return
        if last or not isinstance(table[step], (dict, list)):
            table.pop(step)
            return
        table = table[step]
        if isinstance(table, list):  # [[features]]: its other tables stand
            table.clear()
            return


def _toml(file: Path) -> dict[str, Any]:
    """The raw table; raises ConfigError for what is no readable TOML file."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        return tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file. `sedimental init` writes one.") from None
    except IsADirectoryError:
        inner = file / "pipeline.toml"
        hint = f" Did you mean {inner}?" if inner.is_file() else " Name the file in it."
        raise ConfigError(f"{file}: is a folder, not a pipeline.{hint}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not UTF-8 text. Save it as UTF-8.") from None
    except RecursionError:
        raise ConfigError(f"{file}: not valid TOML: nested too deeply.") from None
    except OSError as fault:
        raise ConfigError(f"{file}: cannot be read: {fault.strerror or fault}.") from None
    except ValueError as fault:  # TOMLDecodeError is one; a NUL in the path and a giant number too
        raise ConfigError(f"{file}: not valid TOML: {fault}.") from None


def _rooted(config: Config, base: Path) -> Config:
    def at(section: Section, key: str) -> Section:
        value: Path | None = getattr(section, key)
        if value is None:
            return section
        return section.model_copy(update={key: Path(os.path.normpath(base / value))})

    return config.model_copy(
        update={
            "corpus": at(config.corpus, "path"),
            "cache": at(config.cache, "root"),
            "words": at(config.words, "path"),
            "runs": at(config.runs, "root"),
            "evaluate": config.evaluate.model_copy(
                update={"also": tuple(base / path for path in config.evaluate.also)}
            ),
        }
    )
