"""Packages that do not belong together are told before they fail to load (friction 1)."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import sedimental
from sedimental.installation import parts, stack_faults

SOURCE = Path(sedimental.__path__[0])


def claim(folder: Path, name: str, number: str, requires: str = "") -> None:
    """The metadata of an installation, which is found before that of the real one."""
    about = folder / f"{name}-{number}.dist-info/METADATA"
    about.parent.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n"
    about.write_text(text + (f"Requires-Dist: {requires}\n" if requires else ""))


def module(folder: Path, name: str, source: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(source)


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`sedimental ...` in `folder`, with what lies there before every installed package."""
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-m", "sedimental", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "NO_COLOR": "1"},
    )


def faults_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.syspath_prepend(str(folder))
    return stack_faults()


def test_what_is_installed_here_belongs_together() -> None:
    assert stack_faults() == []


def test_the_pair_of_the_first_report(tmp_path: Path) -> None:
    """torch 2.11 with torchaudio 2.11.1: "undefined symbol", though its metadata says >= 2.11."""
    claim(tmp_path, "torch", "2.11.0")
    claim(tmp_path, "torchvision", "0.26.0", "torch (==2.11.0)")
    claim(tmp_path, "torchaudio", "2.11.1", "torch>=2.11")
    done = command(tmp_path, "run")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for told in (
        "torch 2.11.0",
        "torchvision 0.26.0",
        "torchaudio 2.11.1",
        "pip install",
        " 'torch<",
    ):
        assert told in done.stderr


@pytest.mark.parametrize("name", ["extract", "doctor", "train", "predict"])
def test_every_command_that_loads_torch_refuses(name: str, tmp_path: Path) -> None:
    claim(tmp_path, "torch", "2.12.0")
    done = command(tmp_path, name, *(["x"] if name == "predict" else []))
    assert (done.returncode, "do not belong together" in done.stderr) == (1, True)


def test_help_and_what_needs_no_torch_still_answer(tmp_path: Path) -> None:
    claim(tmp_path, "torch", "2.12.0")
    assert command(tmp_path, "run", "--help").returncode == 0
    assert command(tmp_path, "init").returncode == 0


def test_companion_made_for_another_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(tmp_path, "torch", "2.13.0")
    claim(tmp_path, "torchvision", "0.29.1", "torch (>=2.14.0)")
    assert "torchvision 0.29.1 is made for torch>=2.14.0." in faults_with(tmp_path, monkeypatch)


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere every build of the index is for CPUs"
)
@pytest.mark.parametrize("labels", [("+cpu", ""), ("", "+cpu"), ("+cpu", "+cu130")])
def test_builds_for_cpu_and_gpu_are_not_mixed(
    labels: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(tmp_path, "torch", "2.14.1" + labels[0])
    claim(tmp_path, "torchvision", "0.29.1" + labels[1], "torch>=2.14.0")
    told = f"Of torch 2.14.1{labels[0]} and torchvision 0.29.1{labels[1]} only one is a CPU build."
    assert told in faults_with(tmp_path, monkeypatch)


def test_builds_of_one_kind_belong_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, number in {
        "torch": "2.14.1",
        "torchvision": "0.29.1",
        "torchaudio": "2.11.1",
    }.items():
        claim(tmp_path, name, f"{number}+cpu")
    assert faults_with(tmp_path, monkeypatch) == []


@pytest.mark.parametrize(
    "fault", ["ImportError('libcudart.so.13: no')", "OSError('undefined symbol')"]
)
def test_extension_that_does_not_load(fault: str, tmp_path: Path) -> None:
    """The versions fit, and the library is damaged or lacks a part."""
    module(tmp_path, "torchvision", f"raise {fault}")
    done = command(tmp_path, "run")
    assert done.returncode == 1
    assert "torchvision does not load" in done.stderr
    assert "--force-reinstall" in done.stderr or "--reinstall" in done.stderr
    assert "Traceback" not in done.stderr


def test_torchaudio_is_not_needed_on_the_default_path(tmp_path: Path) -> None:
    """Its extension is compiled against one torch; a demo must not die of it."""
    module(tmp_path, "torchaudio", "raise OSError('undefined symbol')")
    assert command(tmp_path, "init").returncode == 0
    done = command(tmp_path, "doctor")  # reads, resamples and encodes a clip with every encoder
    assert done.returncode == 0, done.stderr
    assert "about" in done.stdout


@pytest.mark.parametrize("name", ["", ", name='av'"], ids=["unnamed", "named"])
def test_any_other_package_that_does_not_load(name: str, tmp_path: Path) -> None:
    module(tmp_path, "av", f"raise ImportError('libavcodec.so.62: no such file'{name})")
    assert command(tmp_path, "init").returncode == 0
    done = command(tmp_path, "doctor", "--no-probe")
    assert done.returncode == 1
    assert "av does not load: libavcodec.so.62" in done.stderr
    assert "Traceback" not in done.stderr


def test_parts_name_every_package_and_its_version() -> None:
    found = parts()
    assert found["sedimental"] == sedimental.__version__
    for name in ("torch", "torchvision", "torchaudio", "transformers", "zarr", "av"):
        assert found[name] == version(name)
