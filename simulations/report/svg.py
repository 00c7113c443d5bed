"""Writing SVG: elements as text, everything foreign in them escaped.

Colours are never written here: a shape carries a class, and ``report.css`` knows what the class looks like on a light
and on a dark ground.
"""

import html
from typing import Final

from node.cli.output import escape

_NAMES: Final = {"class_": "class", "href": "href"}


def element(tag: str, *children: str, **attributes: object) -> str:
    """Return one element. Children are SVG already; attributes are escaped, ``None`` leaves one out.

    Args:
        attributes: ``stroke_width`` stands for ``stroke-width``, ``class_`` for ``class``; numbers keep two decimals.
    """
    written = "".join(
        f' {_NAMES.get(name, name.replace("_", "-"))}="{_attribute(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{written}>{''.join(children)}</{tag}>" if children else f"<{tag}{written}/>"


def text(content: str, **attributes: object) -> str:
    """Return a text element."""
    return element("text", words(content), **attributes)


def words(content: str) -> str:
    """Return text as it may stand inside an element, of SVG and of HTML alike."""
    return html.escape(escape(content), quote=False)


def titled(tag: str, title: str, **attributes: object) -> str:
    """Return an element that says ``title`` when somebody points at it."""
    return element(tag, element("title", words(title)), **attributes)


def number(value: float) -> str:
    """Return a coordinate, short."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def _attribute(value: object) -> str:
    if isinstance(value, float):
        return number(value)
    return html.escape(escape(str(value)), quote=True)
