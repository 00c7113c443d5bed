"""A stand-in for ``python:3.11-slim``, made from this machine's own Python: no image registry is needed.

It holds the interpreter, its standard library and pip, a shell, the shared libraries that these need, and the wheels
of what Pair depends on, which pip is told to use instead of an index. The Dockerfile is built on it unchanged.
"""

import io
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from tests.containers.engine import Engine

ROOT: Final = Path(__file__).resolve().parent.parent.parent
NAME: Final = "python:3.11-slim"
_VERSION: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
_LEFT_OUT: Final = {"__pycache__", "test", "tests", "idlelib", "tkinter", "site-packages", "dist-packages"}
_TOOLS: Final = ("sh", "mkdir")
_LOADED_BY_NAME: Final = ("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libnss_files.so.2",
                          "libnss_dns.so.2", "libresolv.so.2", "libgcc_s.so.1", "libstdc++.so.6")  # fmt: skip
"""What wheels and the name service need of the C library, without any of the copied programs saying so."""

_FILES: Final = {
    "etc/passwd": b"root:x:0:0::/root:/bin/sh\n",
    "etc/group": b"root:x:0:\n",
    "etc/nsswitch.conf": b"hosts: files dns\n",
}


def make_base_image(engine: Engine) -> None:
    """Import the stand-in; skips the test when the wheels are not to be had."""
    wheels = engine.folder / "wheels"
    _download_wheels(wheels)
    archive = engine.folder / "base.tar"
    with tarfile.open(archive, "w", dereference=True) as tar:
        for source, target in _contents(wheels):
            tar.add(source, target, filter=_without_ballast)
        for target, content in _FILES.items():
            entry = tarfile.TarInfo(target)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        temporary = tarfile.TarInfo("tmp")
        temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(temporary)
    changes = ("ENV PATH=/usr/local/bin:/bin", "ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels")
    options = [part for change in changes for part in ("--change", change)]
    engine.ok("docker", "import", *options, str(archive), NAME)
    archive.unlink()
    shutil.rmtree(wheels)


def _download_wheels(folder: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
               "--only-binary=:all:", "--dest", str(folder), *wanted]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        pytest.skip(f"no image: the wheels are not to be had: {done.stderr[-300:]}")


def _contents(wheels: Path) -> Iterator[tuple[Path, str]]:
    """Yield what is copied, and where to."""
    interpreter = Path(sys.executable).resolve()
    standard_library = Path(sysconfig.get_path("stdlib"))
    pip = find_spec("pip")
    assert pip is not None and pip.origin is not None
    tools = [Path(found).resolve() for tool in _TOOLS if (found := shutil.which(tool))]
    yield interpreter, "usr/local/bin/python"
    yield interpreter, f"usr/local/bin/{_VERSION}"
    yield standard_library, f"usr/local/lib/{_VERSION}"
    yield Path(pip.origin).parent, f"usr/local/lib/{_VERSION}/site-packages/pip"
    yield wheels, "wheels"
    for name, tool in zip(_TOOLS, tools, strict=True):
        yield tool, f"bin/{name}"
    modules = [module for module in standard_library.glob("lib-dynload/*.so") if not module.name.startswith("_tkinter")]
    for library in _libraries([interpreter, *tools, *modules]):
        yield library, str(library).lstrip("/") if library.name.startswith("ld-") else f"lib/{library.name}"


def _libraries(programs: Sequence[Path]) -> list[Path]:
    """Return the shared libraries that the programs are linked with, the loader, and those that are found by name."""
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    found = {Path(word) for word in said.split() if word.startswith("/") and ".so" in word}
    places = {library.parent for library in found if library.name.startswith("libc.so")}
    found |= {place / name for place in places for name in _LOADED_BY_NAME if (place / name).exists()}
    by_name = {library.name: library for library in sorted(found) if not library.name.endswith(":")}
    return [library for name, library in by_name.items() if library not in programs]


def _without_ballast(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    is_ballast = not _LEFT_OUT.isdisjoint(Path(entry.name).parts) and "site-packages/pip" not in entry.name
    return None if is_ballast or entry.name.endswith(".a") else entry
