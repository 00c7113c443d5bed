"""Percent-encoding, decoded exactly once and strictly: what is no UTF-8 or no escape is an error, not a guess."""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


class QueryError(ValueError):
    """A query string cannot be read.

    Attributes:
        parameter: Name of the parameter whose encoding is broken; empty for other faults.
    """

    def __init__(self, text: str, *, parameter: str = "") -> None:
        super().__init__(text)
        self.parameter = parameter


def decode_component(text: str) -> str:
    """Return the text that a path segment or one half of a query parameter stands for.

    Args:
        text: As it stood on the request line; bytes beyond ASCII as UTF-8 text or surrogate escapes.

    Raises:
        ValueError: An escape is broken, or the bytes are not UTF-8.
    """
    if "%" not in text and text.isascii():
        return text
    if _BROKEN_ESCAPE.search(text):
        raise ValueError("a % is not followed by two hexadecimal digits; send %25 for the character itself")
    try:
        return unquote_to_bytes(text.encode(errors="surrogateescape")).decode()
    except UnicodeDecodeError as error:
        raise ValueError("the bytes are not UTF-8") from error


def parse_query(query: str, *, parameters_max: int) -> dict[str, str]:
    """Return the parameters of a query string; ``+`` means a space, as forms and all URL libraries encode it.

    Raises:
        QueryError: A parameter is malformed or repeated, or there are too many.
    """
    parameters: dict[str, str] = {}
    pairs = query.replace("+", " ").split("&")
    if len(pairs) > parameters_max:
        raise QueryError(f"more than {parameters_max} parameters")
    for pair in filter(None, pairs):
        raw_name, _, raw_value = pair.partition("=")
        name = raw_name
        try:
            name = decode_component(raw_name)
            value = decode_component(raw_value)
        except ValueError as error:
            raise QueryError(str(error), parameter=name) from error
        if name in parameters:
            raise QueryError(f"the parameter {name!r} is given twice")
        parameters[name] = value
    return parameters
