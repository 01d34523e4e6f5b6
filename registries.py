"""What installed packages may add by entry points, and the kinds of corpus that there are.

A package names them in its pyproject.toml, under ``[project.entry-points."sedimental.corpora"]`` in
lines like ``mine = "my_package.mine:read"``. Names of ours stay ours; what is wrong with a
package's line is told when a pipeline is read.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

from .errors import SedimentalError

Kind = TypeVar("Kind")


class PluginError(SedimentalError):
    """A package does not give what its entry point says."""


@dataclass(frozen=True)
class Added:
    """The additions of installed packages to one group."""

    group: str
    places: Mapping[str, str]
    """Name -> ``module:object``."""
    faults: tuple[str, ...] = field(default=())
    """What is wrong with others, a line each."""

    def load(self, name: str) -> Any:
        """What package gives as `name`; raises PluginError, and KeyError for a name it has not."""
        module, _, attribute = self.places[name].partition(":")
        try:
            return getattr(import_module(module), attribute)
        except Exception as fault:  # it is a stranger's code: anything may come
            raise PluginError(
                f'{self.group}: "{name}" is {self.places[name]} of an installed package, which '
                f"cannot be imported ({type(fault).__name__}: {fault}). Mend that package, or "
                "uninstall it."
            ) from fault

    def objects(self, kind: type[Kind]) -> tuple[dict[str, Kind], dict[str, str]]:
        """What is of `kind` among the additions, by name; and what is wrong with each other."""
        good, broken = dict[str, Kind](), dict[str, str]()
        for name in self.places:
            try:
                found = self.load(name)
            except PluginError as fault:
                broken[name] = str(fault)
                continue
            if isinstance(found, kind):
                good[name] = found
            else:
                broken[name] = (
                    f'{self.group}: "{name}" is {type(found).__name__}, not {kind.__name__}. Mend '
                    "the package that adds it, or uninstall it."
                )
        return good, broken


def of_packages(group: str, ours: Container[str], word: str, signs: str = "_-") -> Added:
    """What installed packages add to `group`, whose own names are those of `ours`.

    `word` is what a fault calls one of them; names are small letters, digits and `signs`.
    """
    name = re.compile(rf"[a-z][a-z0-9{re.escape(signs)}]*")
    added, faults = dict[str, str](), list[str]()
    for point in sorted(entry_points(group=group)):
        package = point.dist.name if point.dist is not None else "a package"
        where = f'{group}: "{point.name}" of {package}'
        if not name.fullmatch(point.name):
            faults.append(f"{where}: a {word}'s name is small letters, digits and {signs}.")
        elif point.name in ours or added.get(point.name, point.value) != point.value:
            faults.append(f"{where}: there is a {word} of that name already.")
        elif not (point.module and point.attr):
            faults.append(f'{where}: should be "module:object", and is "{point.value}".')
        else:
            added[point.name] = point.value
    return Added(group, added, tuple(faults))


CORPORA = (
    *("demo", "csv", "mmsa", "mosei", "sims-v2", "meld", "mustard", "urfunny", "cherma"),
    *("iemocap", "crema-d", "ravdess", "msp-podcast", "mer2023", "emobox", "imported"),
)
"""Kinds of corpus of our own; `extract/corpora/` has a file each."""
ADDED_CORPORA = of_packages("sedimental.corpora", CORPORA, "corpus")
"""``read`` of a package is given [corpus] (`CorpusConfig`) and gives a `Manifest`."""
FORMATS = ("mmsa", "fra", "utt", "csd", "npz", "parquet", "webdataset")
"""Forms that `cache export --to` knows of its own."""
ADDED_FORMATS = of_packages("sedimental.formats", FORMATS, "format")
"""A `Format` (`cache/exchange/foreign.py`): reads features from a path, or writes them to it."""
