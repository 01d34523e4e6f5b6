"""Published split sizes of known corpora, and where a corpus at hand differs from them."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..manifest import Manifest
from ..spec import SPLITS

NEAR = 0.01
"""A corpus of another name is taken for a known one if each split is this near to its size."""


@dataclass(frozen=True)
class Known:
    """A corpus as published: clips of train, valid and test, by where they were counted."""

    title: str
    names: tuple[str, ...]
    """Words of a corpus name that give it away, lower case and without signs."""
    sizes: Mapping[str, tuple[int, int, int]]
    """Several sources count differently; the first is what the label file holds."""
    total: int | None = None
    """Clips in all, where only that is published."""


KNOWN = (
    Known(
        "CMU-MOSEI",
        ("mosei",),
        {"label.csv": (16326, 1871, 4659), "the GLoMo paper": (16265, 1869, 4643)},
    ),
    Known(
        "CMU-MOSI",
        ("mosi",),
        {"label.csv": (1284, 229, 686), "the GLoMo paper": (1281, 229, 685)},
    ),
    Known("CH-SIMS v2", ("simsv2", "sims2"), {"label.csv": (2722, 647, 1034)}),
    Known("CH-SIMS", ("sims",), {"label.csv": (1368, 456, 457)}),
    Known("MELD", ("meld",), {"its label files": (9989, 1109, 2610)}),
    Known(
        "MUStARD",
        ("mustard",),
        {"this package's split of all 690": (550, 70, 70), "the GLoMo paper": (539, 68, 68)},
    ),
    Known("UR-FUNNY v2", ("urfunny",), {"its data_folds": (7614, 980, 994)}),
    Known("CHERMA", ("cherma",), {}, total=28717),
)
"""The longer name first where one holds another."""


def known_sizes(manifest: Manifest) -> tuple[str, ...]:
    """Notes on every split whose size is not the published one; none if all agree.

    Never a fault: releases differ, and a clip may be missing for a good reason. But two results on
    different test clips do not compare, so it is said. A corpus is known by its name, or where that
    says nothing by sizes within a hundredth of the published ones.
    """
    found = tuple(manifest.sizes[split] for split in SPLITS)
    known = _named(manifest.corpus) or _of_size(found)
    if known is None:
        return ()
    if known.total is not None and sum(found) != known.total:
        return (f"{known.title} has {sum(found)} clips here, {known.total} as published.",)
    if not known.sizes or found in known.sizes.values():
        return ()
    source, sizes = next(iter(known.sizes.items()))
    others = "".join(
        f"; {' / '.join(map(str, other))} in {name}"
        for name, other in known.sizes.items()
        if name != source
    )
    return tuple(
        f"{known.title}: {split} has {have} clips here, {want} in {source}{others}."
        for split, have, want in zip(SPLITS, found, sizes, strict=True)
        if have != want
    )


def title_of(corpus: str) -> str | None:
    """The published corpus that a name means.

    >>> title_of("my-mosi"), title_of("sims_v2"), title_of("mine")
    ('CMU-MOSI', 'CH-SIMS v2', None)
    """
    known = _named(corpus)
    return known.title if known else None


def _named(corpus: str) -> Known | None:
    plain = "".join(c for c in corpus.lower() if c.isalnum())
    return next((k for k in KNOWN if any(name in plain for name in k.names)), None)


def _of_size(found: tuple[int, ...]) -> Known | None:
    for known in KNOWN:
        for sizes in known.sizes.values():
            if all(abs(h - w) <= NEAR * w for h, w in zip(found, sizes, strict=True)):
                return known
    return None
