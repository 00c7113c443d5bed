"""Scenarios as TOML files: read with errors that name the field and the line, and written by the shrinker.

The fields are those of ``simulations.scenario.Scenario``; each fault is one ``[[faults]]`` table whose ``do`` names it.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from protocol.errors import ConfigError
from simulations.faults import AnyFault
from simulations.scenario import Scenario

FAULT_NAMES: Final = tuple(str(kind.__struct_config__.tag) for kind in get_args(AnyFault))

_SIZE_MAX_BYTES: Final = 2**22
_WHERE: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`\Z")
_STEP: Final = re.compile(r"([a-z_0-9]+)|\[(\d+|\.\.\.)\]")
_PEER: Final = re.compile(r"peer-(\d+)\Z")
_NEXT_STEP: Final = "docs/scenarios/README.md lists all fields"


def load(path: Path) -> Scenario:
    """Read a scenario from a file.

    Raises:
        ConfigError: The file cannot be read, or something in it is wrong; names the field and the line.
    """
    try:
        text = path.read_bytes()[: _SIZE_MAX_BYTES + 1].decode()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path} cannot be read: {why}", next_step="give a TOML file") from error
    if len(text) > _SIZE_MAX_BYTES:
        raise ConfigError(f"{path} is larger than {_SIZE_MAX_BYTES} bytes", next_step="a scenario is a small file")
    return loads(text, source=str(path))


def loads(text: str, *, source: str) -> Scenario:
    """Read a scenario from the text of a file; ``source`` is what errors call it.

    Raises:
        ConfigError: See ``load``.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML: {error}", next_step="see toml.io") from error
    _check_fault_names(document, text, source)
    try:
        scenario = msgspec.convert(document, Scenario, strict=False)
    except msgspec.ValidationError as error:
        found = _WHERE.search(str(error))
        message = str(error)[: found.start()] if found else str(error)
        raise _wrong(source, text, found["path"] if found else "", message) from error
    for field, message in _contradictions(scenario):
        raise _wrong(source, text, field, message)
    return scenario


def dumps(scenario: Scenario) -> str:
    """Return the text of a file that ``load`` reads as the same scenario; fields at their default are left out."""
    fields = msgspec.to_builtins(scenario)
    lines = [f"{name} = {_toml(value)}" for name, value in _told(scenario, fields) if not _is_table(value)]
    for name in ("workload", "expect"):
        told = list(_told(getattr(scenario, name), fields[name]))
        if told:
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in told)]
    for fault, values in zip(scenario.faults, fields["faults"], strict=True):
        lines += ["", "[[faults]]", f"do = {_toml(values['do'])}"]
        lines += [f"{key} = {_toml(value)}" for key, value in _told(fault, values)]
    return "\n".join(lines) + "\n"


def save(scenario: Scenario, path: Path) -> None:
    """Write a scenario to a file.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        path.write_text(dumps(scenario), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}", next_step="choose another place") from error


# Reading


def _check_fault_names(document: Mapping[str, Any], text: str, source: str) -> None:
    faults = document.get("faults", [])
    for number, fault in enumerate(faults if isinstance(faults, list) else []):
        if not isinstance(fault, dict) or "do" not in fault:
            raise _wrong(source, text, f"faults[{number}]", "each fault says with `do` what it does")
        if fault["do"] not in FAULT_NAMES:
            known = ", ".join(FAULT_NAMES)
            raise _wrong(source, text, f"faults[{number}].do", f"there is no fault {fault['do']!r}; there are {known}")


def _contradictions(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Return fields that do not go together, and why."""
    if scenario.begin_with is not None and scenario.begin_with > scenario.nodes:
        yield "begin_with", f"there are only {scenario.nodes} nodes"
    for number, fault in enumerate(scenario.faults):
        if fault.at_s > scenario.duration_s:
            yield f"faults[{number}].at_s", f"the scenario ends after {scenario.duration_s:g} s"
        for field in ("target", "peers", "sources", "targets", "groups"):
            for name in _names_in(getattr(fault, field, ())):
                peer = _PEER.match(name)
                if peer is not None and int(peer[1]) > scenario.nodes:
                    yield f"faults[{number}].{field}", f"there is no {name}: the scenario has {scenario.nodes} nodes"


def _names_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    else:
        for item in value:
            yield from _names_in(item)


def _wrong(source: str, text: str, path: str, message: str) -> ConfigError:
    unknown = re.search(r"unknown field `([^`]*)`", message)
    if unknown:
        path, message = f"{path}.{unknown[1]}".lstrip("."), "there is no such field"
    steps = [name or int(number) for name, number in _STEP.findall(path) if number != "..."]
    where = f"line {_line_of(text, steps)}"
    return ConfigError(f"{source}, {where}: {path or 'the file'}: {message}", next_step=_NEXT_STEP)


def _line_of(text: str, steps: list[str | int]) -> int:
    """Return the line on which a field is set, or the nearest line that belongs to it; 1 is the first."""
    table, wanted = "", 0
    if steps and steps[0] == "faults" and len(steps) > 1:
        table, wanted = "faults", int(steps[1])
        field = steps[2] if len(steps) > 2 else None
    elif len(steps) > 1:
        table, field = str(steps[0]), steps[1]
    else:
        field = steps[0] if steps else None
    nearest, present, seen = 1, "", -1
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\[?\s*([a-z_]+)\s*\]\]?", line)
        if header:
            present, seen = header[1], seen + (header[1] == table)
        is_here = present == table and (not table or seen == wanted)
        if header and (is_here or header[1] == field):
            nearest = number
        if is_here and field is not None and re.match(rf"\s*\"?{re.escape(str(field))}\"?\s*=", line):
            return number
    return nearest


# Writing


def _told(struct: msgspec.Struct, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return the fields of a struct that are not at their default."""
    for field in msgspec.structs.fields(type(struct)):
        if getattr(struct, field.name) != field.default:
            yield field.name, values[field.name]


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list | tuple) and bool(value) and isinstance(value[0], dict))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return repr(value)
