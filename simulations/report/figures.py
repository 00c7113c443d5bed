"""The figures of a verdict as a person reads them; the names of JSON stay what they are."""

from typing import Final

_UNITS: Final = {"_s": "s", "_ms": "ms", "_bytes": "bytes", "_mib": "MiB", "_percent": "%"}


def figure_name(key: str, *, is_live: bool = False) -> str:
    """Return ``operations ok`` for ``operations_ok``, and nothing of the unit."""
    if is_live and key == "simulated_s":
        return "played live"
    return _without_unit(key)[0].replace("_", " ")


def figure_text(key: str, value: float) -> str:
    """Return the value with its unit, thousands apart."""
    unit = _without_unit(key)[1]
    shown = f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:,.3g}"
    if value != int(value) and abs(value) >= 100:
        shown = f"{value:,.0f}"
    return f"{shown} {unit}".rstrip()


def _without_unit(key: str) -> tuple[str, str]:
    for ending, unit in _UNITS.items():
        if key.endswith(ending):
            return key.removesuffix(ending), unit
    return key, ""
