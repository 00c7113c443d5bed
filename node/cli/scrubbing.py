"""Keeping secrets out of what leaves this machine: whatever is about to be written is searched for each of them.

Nothing that a support archive holds should name a secret in the first place. This is the second lock on that door: a
log or an answer that does so all the same is cleaned before anybody sees it.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bootstrap.home import NetworkFolder

SECRET_FILES: Final = ("*.key*", "tokens.json*", "invites.json*", "reader.json*")
"""Names of the files that hold secrets, also of copies that were set aside."""

REMOVED: Final = b"[a secret was here]"

_SIZE_MIN: Final = 16
"""Characters of a secret at least; what is shorter in those files is a name or a number."""

_FILE_SIZE_MAX_BYTES: Final = 2**20
_ID: Final = re.compile(r"[0-9a-f]{64}\Z")
"""Ids and public keys are told to everybody."""

_PUBLIC: Final = ("id", "name", "mode", "admin_public_key", "network", "issuer", "addresses", "api", "apis", "url")


class Scrubber:
    """Knows every secret of some networks, in each form in which it could be written."""

    def __init__(self, networks: Iterable[NetworkFolder]) -> None:
        """Read the secret files; one that cannot be read cannot get into an archive either."""
        forms = sorted({form for network in networks for form in _forms_in(network.path)}, key=lambda form: -len(form))
        self._secrets = re.compile(b"|".join(map(re.escape, forms))) if forms else None

    def clean(self, content: bytes) -> bytes:
        """Return ``content`` with every secret replaced."""
        return content if self._secrets is None else self._secrets.sub(REMOVED, content)


def is_secret_file(path: Path) -> bool:
    """Return whether a file holds secrets, by its name."""
    return any(path.match(pattern) for pattern in SECRET_FILES)


def _forms_in(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*")):
        try:
            if not is_secret_file(path) or not path.is_file() or path.stat().st_size > _FILE_SIZE_MAX_BYTES:
                continue
            document = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        for text in _texts(document):
            yield from _forms(text)


def _texts(document: Any) -> Iterator[str]:
    """Yield the texts of a document that may be secret."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [inner for name, inner in value.items() if name not in _PUBLIC]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and len(value) >= _SIZE_MIN and not _ID.match(value):
            yield value


def _forms(text: str) -> Iterator[bytes]:
    """Yield a text, and, where it is base64, what it stands for: raw, hexadecimal and in either base64."""
    secrets = [text.encode()]
    with suppress(ValueError):
        secrets.append(base64.b64decode(text, validate=True))
    for secret in secrets:
        if len(secret) >= _SIZE_MIN:
            yield from (secret, secret.hex().encode(), secret.hex().upper().encode())
            yield from (base64.b64encode(secret).rstrip(b"="), base64.urlsafe_b64encode(secret).rstrip(b"="))
