"""Which packages are installed, and whether torch and its companions belong together.

Metadata is read and nothing heavy imported, so that a wrong pair is told before it fails to load.
"""

import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import SedimentalError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

STACK = ("torch", "torchvision", "torchaudio")
"""Compiled against each other: of other versions, or of another build, they do not load."""
OPTIONAL = ("torchaudio",)
"""Needed by some encoders only."""


class InstallationError(SedimentalError):
    """Installed packages that do not belong together, or one that does not load."""


def require_stack(*modules: str) -> None:
    """Raise InstallationError if the STACK does not belong together or a module does not load."""
    if faults := stack_faults():
        lines = (f"{_stack()} do not belong together:", *faults, _line(STACK, "CPU" in faults[-1]))
        raise InstallationError("\n".join(lines))
    for name in modules:
        try:
            __import__(name)
        except (
            ImportError,
            OSError,
            RuntimeError,
        ) as fault:  # RuntimeError: its kernels are missing
            raise unloadable(name, fault) from fault


def do_without(module: str) -> None:
    """Let `module` count as not installed if it does not load.

    transformers imports torchaudio wherever it is installed, and with it would die for every model,
    those that hear nothing too.
    """
    try:
        __import__(module)
    except (ImportError, OSError, RuntimeError):
        sys.modules[module] = None  # type: ignore[assignment] # how Python marks it


def culprit(fault: ImportError) -> str:
    """The top-level package that did not load: what was asked for, or else where it was raised."""
    name, trace = fault.name, fault.__traceback__
    while not name and trace is not None:
        if trace.tb_next is None:
            name = str(trace.tb_frame.f_globals.get("__name__"))
        trace = trace.tb_next
    return str(name).partition(".")[0]


def unloadable(module: str, fault: Exception) -> InstallationError:
    """What to raise where `module` is installed and does not load, or is not installed."""
    from importlib.metadata import packages_distributions

    ours = _requirements()
    owners = [name for name in packages_distributions().get(module, []) if name in ours]
    if set(owners) & set(STACK):
        owners = list(STACK)
    named = ", ".join(f"{name} {_version(name)}" for name in owners) or "no package of ours has it"
    wanted = owners or [name for name, each in ours.items() if each.marker is None]
    return InstallationError(
        f"{module} does not load: {fault}\nInstalled: {named}.\n{_line(wanted, bool(owners))}"
    )


def parts() -> dict[str, str]:
    """The version of this package, of Python, and of each package that it builds on.

    Extras are there if they are installed; anything else that is missing is "not installed".
    """
    from . import __version__

    found = {"sedimental": __version__, "Python": platform.python_version()}
    for name, requirement in sorted(_requirements().items()):
        version = _version(name)
        if version is not None or requirement.marker is None:
            found[name] = version or "not installed"
    return found


def stack_faults() -> list[str]:
    """Why torch, torchvision and torchaudio do not belong together, a line each; empty: they do."""
    ours, torch = _requirements(), _version("torch")
    faults, builds = [], []
    for name in STACK:
        version = _version(name)
        if version is None:
            if name not in OPTIONAL:
                faults.append(f"{name} is not installed.")
            continue
        tried, needed = ours[name].specifier, _needed("torch", by=name)
        if not tried.contains(version, prereleases=True):
            faults.append(f"{name} {version} is none of the versions that were tried: {tried}.")
        if torch and needed and not needed.specifier.contains(torch, prereleases=True):
            faults.append(f"{name} {version} is made for torch{needed.specifier}.")
        if torch and _cpu_build(torch) != _cpu_build(version):
            builds.append(f"Of torch {torch} and {name} {version} only one is a CPU build.")
    return [*faults, *builds]


def _cpu_build(version: str) -> bool:
    """Whether a build knows no GPU. Elsewhere than on Linux the label tells nothing."""
    return sys.platform == "linux" and version.endswith("+cpu")


def _stack() -> str:
    return ", ".join(f"{name} {_version(name) or '(none)'}" for name in STACK)


def _line(names: Iterable[str], anew: bool) -> str:
    """The line to run: with the pip of this environment, or with uv, whose environments have none.

    `anew`: also what is there already in the right version.
    """
    import shlex
    from importlib.util import find_spec

    pip = find_spec("pip") is not None
    tool = [sys.executable, "-m", "pip", "install"]
    if not pip:
        tool = ["uv", "pip", "install", "--python", sys.executable]
    if anew:
        tool.append("--force-reinstall" if pip else "--reinstall")
    ours = _requirements()
    return f"Run: {shlex.join([*tool, *(f'{name}{ours[name].specifier}' for name in names)])}"


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _requirements() -> Mapping[str, "Requirement"]:
    """What this package asks for, by name: of a checkout its pyproject.toml, else the metadata."""
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    checkout = Path(__file__).parent / "pyproject.toml"
    if checkout.is_file():
        import tomllib

        project = tomllib.loads(checkout.read_text(encoding="utf-8"))["project"]
        lines = list(project["dependencies"])
        for extra, more in project["optional-dependencies"].items():
            lines += [f'{line}; extra == "{extra}"' for line in more]
    else:
        lines = requires("sedimental") or []
    return {each.name: each for each in map(Requirement, lines)}


def _needed(name: str, by: str) -> "Requirement | None":
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    asked = (Requirement(line) for line in requires(by) or [])
    return next((each for each in asked if each.name == name), None)
