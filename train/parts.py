"""The parts of a cross-validation: each is tested once, by what is trained on the others."""

from ..cache.corpus.corpus_table import cached_manifest
from ..cache.manifest import Manifest
from ..config import Config, ConfigError


def fold_of(config: Config, manifest: Manifest) -> int | None:
    """The part of a cross-validation that is tested, where `per_fold` has not said it the first;
    None where the corpus has none. Raises ConfigError for a part that there is not."""
    if not manifest.folds:
        return None
    fold = config.corpus.fold or 0
    if fold >= manifest.folds:
        raise ConfigError(
            f"corpus.fold: there is no part {fold}; the last of {manifest.folds} is "
            f"{manifest.folds - 1}."
        )
    return fold


def divided(config: Config, manifest: Manifest) -> Manifest:
    """`manifest` with the splits of the part that is tested."""
    fold = fold_of(config, manifest)
    return manifest if fold is None else manifest.of_fold(fold)


def per_fold(config: Config, manifest: Manifest | None = None) -> list[Config]:
    """The pipeline once for each part of its cross-validation that is to be trained."""
    count = 0
    if config.corpus.folds is not None:
        count = (manifest or cached_manifest(config)).folds
    if not count or config.corpus.fold is not None:
        return [config]
    parts = [config.corpus.model_copy(update={"fold": fold}) for fold in range(count)]
    return [config.model_copy(update={"corpus": part}) for part in parts]
