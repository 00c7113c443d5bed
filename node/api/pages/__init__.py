"""Static pages, read once at import: a few kilobytes that ship with the program."""

from pathlib import Path


def read_page(name: str) -> bytes:
    """Return a file of this folder."""
    return (Path(__file__).parent / name).read_bytes()
