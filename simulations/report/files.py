"""Report and plots as files: whether they can be written is known before a run begins."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocol.errors import ConfigError, StoreError
from simulations.report.frame import WIDE
from simulations.report.page import report_page, style
from simulations.report.panels import panels_of
from simulations.report.run import Run


def check_report(path: Path) -> None:
    """Return when a report can be written to ``path``; leaves nothing there.

    Raises:
        ConfigError: It cannot.
    """
    if path.is_dir():
        raise ConfigError(f"the report {path} is a folder", next_step="name a file, for example report.html")
    _check_folder(path.parent, what=f"the report {path}")
    if path.exists() and not os.access(path, os.W_OK):
        raise ConfigError(f"the report {path} exists and cannot be written", next_step="name another file")


def check_plots(folder: Path) -> None:
    """Return when plots can be written into ``folder``, which need not exist; leaves nothing there.

    Raises:
        ConfigError: They cannot.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    _check_folder(nearest, what=f"the folder of plots {folder}")


def write_report(run: Run, path: Path) -> None:
    """Write the page; what was there before stays until the new one is whole.

    Raises:
        StoreError: It cannot be written.
    """
    with _as_store_error(f"write the report {path}"):
        _write(path, report_page(run))


def write_plots(run: Run, folder: Path) -> list[Path]:
    """Write each picture as an SVG file that stands alone, and return their paths.

    Raises:
        StoreError: They cannot be written.
    """
    written = []
    with _as_store_error(f"write the plots to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for panel in panels_of(run):
            drawn = panel.draw(WIDE)
            opening = drawn.index(">") + 1
            path = folder / f"{panel.key}.svg"
            _write(path, f"{drawn[:opening]}<style>{style('plot.css')}</style>{drawn[opening:]}\n")
            written.append(path)
    return written


def _check_folder(folder: Path, *, what: str) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"{what} cannot be written: {folder}: {reason}", next_step="name a place in a folder that you may write"
        ) from error


def _write(path: Path, content: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(content, encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def _as_store_error(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"cannot {what}: {reason}", next_step="make room, or name another place") from error
