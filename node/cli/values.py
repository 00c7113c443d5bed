"""``put get delete keys watch``: values of keys, byte for byte."""

import base64
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

import click

from node.api_client import Answer
from node.cli.failures import CommandFailed, refused, wrong_use
from node.cli.interrupts import interruptible
from node.cli.options import Options, PairCommand, Seconds, pass_options
from node.cli.output import counted, escape, is_terminal, print_bytes, print_json, print_line, print_note, print_table
from node.cli.session import Session
from node.cli.waiting import waiting
from protocol.limits import KEY_SIZE_MAX_BYTES, VALUE_SIZE_MAX_BYTES

_TTL_MAX_S: Final = 100 * 365 * 86_400.0
"""As the API's: a hundred years."""

_VERSION_SIZE_MAX: Final = 256
"""Characters of a version; those of today have 33."""

_SHOWN: Final = "\n\t"
"""Controls that stay in a text shown to a person: a value is the whole answer, so they cannot fake another line."""

_WATCH_VALUE_MAX: Final = 200
"""Characters of a value that one line of ``watch`` shows."""


@click.command(cls=PairCommand, context_settings={"ignore_unknown_options": True})
@click.argument("key")
@click.argument("value", metavar="VALUE|-|@FILE")
@click.option("--ttl", "ttl_s", type=Seconds(maximum_s=_TTL_MAX_S), metavar="S", help="Seconds after which it expires.")
@click.option("--if-version", metavar="V|none", help="Only if this version is stored; none: only if absent.")
@pass_options
def put(options: Options, /, key: str, value: str, ttl_s: float | None, if_version: str | None) -> None:
    """Store VALUE under KEY; - reads standard input, @FILE a file, and @@x means the text @x.

    A value may start with "-"; "--" ends the options. At most 1 MiB.
    """
    path = _path_of(key)
    headers = _conditions(if_version)
    if ttl_s is not None:
        headers["Pair-TTL"] = f"{ttl_s:.3f}"
    with _body_of(value) as (body, size), closing(Session(options, "member")) as session:
        headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with waiting("storing"):
            answer = session.request("PUT", path, headers=headers, body=body)
    _print_receipt(answer, options, done="stored")


@click.command(cls=PairCommand)
@click.argument("key")
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write to FILE instead.")
@click.option(
    "--consistency",
    type=click.Choice(["default", "quorum"]),
    default="default",
    help="quorum: ask a majority, for a fresh answer even during faults.",
)
@pass_options
def get(options: Options, /, key: str, output: str | None, consistency: str) -> None:
    """Print the value of KEY: the exact bytes to a pipe or file, escaped text to a terminal."""
    path = _path_of(key) + ("" if consistency == "default" else f"&consistency={consistency}")
    with closing(Session(options, "read")) as session, waiting("reading"):
        answer = session.request("GET", path)
    to_file = output not in (None, "-")
    if to_file:
        Path(str(output)).write_bytes(answer.body)
    if options.as_json:
        print_json(_with_explain(_value_document(key, answer), answer, options))
        return
    if not to_file:
        _print_value(answer.body)
    _print_explain(answer, options)


@click.command(cls=PairCommand)
@click.argument("key")
@pass_options
def delete(options: Options, /, key: str) -> None:
    """Delete KEY; an absent key is no error."""
    path = _path_of(key)
    with closing(Session(options, "member")) as session, waiting("deleting"):
        answer = session.request("DELETE", path)
    existed = answer.document().get("existed")
    _print_receipt(answer, options, done="deleted" if existed else "there was no")


@click.command(cls=PairCommand)
@click.argument("prefix", default="")
@pass_options
def keys(options: Options, /, prefix: str) -> None:
    """List the keys that start with PREFIX, or all. To a pipe: one key a line."""
    with closing(Session(options, "read")) as session, waiting("asking all members"):
        answer = session.request("GET", f"/v1/kv?prefix={_quoted_prefix(prefix)}")
    listing = answer.document()
    if options.as_json:
        print_json(listing)
    elif is_terminal(sys.stdout):
        rows = [[row["key"], row["size"], row["expires"], row["version"]] for row in listing]
        print_table(["key", "bytes", "expires", "version"], rows)
        print_note(counted(len(rows), "key"))
    else:
        for row in listing:
            print_line(escape(row["key"]))
    if answer.headers.get("pair-complete") != "true":
        print_note("not complete: some members did not answer, so keys may be missing")
    _print_explain(answer, options)


@click.command(cls=PairCommand)
@click.argument("prefix", metavar="KEY|PREFIX", default="")
@click.option("--exact", is_flag=True, help="This key only, not those that start with it.")
@pass_options
def watch(options: Options, /, prefix: str, exact: bool) -> None:
    """Print each change of KEY, or of the keys that start with PREFIX, until Ctrl-C.

    Goes on at another peer when the asked one ends; a change may then be printed twice.
    """
    path = f"/v1/kv-watch?{'key' if exact else 'prefix'}={_quoted_prefix(prefix)}"
    with closing(Session(options, "read")) as session, interruptible():
        if is_terminal(sys.stderr) and not options.as_json:
            print_note("watching; Ctrl-C ends")
        for event in session.events(path):
            change = event.document()
            if options.as_json:
                print_json(change)
            else:
                print_line(_change_line(change))
                sys.stdout.flush()


@contextmanager
def _body_of(value: str) -> Iterator[tuple[bytes | IO[bytes], int]]:
    """Yield what to send and its size in bytes; a file stays open meanwhile and is sent piece by piece.

    Standard input has no size beforehand, and a person may type it: it is read to its end before a peer, which
    waits for nobody, is asked. One byte too many ends the reading.
    """
    if value == "-":
        content = _read_bounded(sys.stdin.buffer, "standard input")
        yield content, len(content)
    elif value.startswith("@") and not value.startswith("@@"):
        with _opened(value[1:]) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                _refuse_too_large(status.st_size, value[1:])
                yield file, status.st_size
            else:
                content = _read_bounded(file, value[1:])
                yield content, len(content)
    else:
        content = os.fsencode(value[1:] if value.startswith("@@") else value)
        _refuse_too_large(len(content), "the value")
        yield content, len(content)


def _opened(path: str) -> IO[bytes]:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise wrong_use(
            f"cannot read {path!r}: {error.strerror}", next_step="a value that starts with @ is written @@…"
        ) from error


def _read_bounded(file: IO[bytes], name: str) -> bytes:
    content = file.read(VALUE_SIZE_MAX_BYTES + 1)
    _refuse_too_large(len(content), name)
    return content


def _refuse_too_large(size: int, name: str) -> None:
    if size > VALUE_SIZE_MAX_BYTES:
        raise refused(
            f"{name} is larger than {VALUE_SIZE_MAX_BYTES} bytes",
            type="value-too-large",
            status=413,
            next_step="a value has at most 1 MiB; store it in parts",
        )


def _path_of(key: str) -> str:
    """Return the route of a key. In the query any key can stand, ``..`` and ``/`` included."""
    size = len(_utf8(key))
    if not 1 <= size <= KEY_SIZE_MAX_BYTES:
        raise wrong_use(f"the key has {size} bytes", next_step=f"use 1 to {KEY_SIZE_MAX_BYTES} bytes of UTF-8")
    return f"/v1/kv?key={quote(_utf8(key), safe='')}"


def _quoted_prefix(prefix: str) -> str:
    size = len(_utf8(prefix))
    if size > KEY_SIZE_MAX_BYTES:
        raise wrong_use(
            f"the prefix has {size} bytes", next_step=f"no key is longer than {KEY_SIZE_MAX_BYTES} bytes of UTF-8"
        )
    return quote(_utf8(prefix), safe="")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise wrong_use("the key is not UTF-8", next_step=f"use 1 to {KEY_SIZE_MAX_BYTES} bytes of UTF-8") from error


def _conditions(if_version: str | None) -> dict[str, str]:
    if if_version is None:
        return {}
    if if_version == "none":
        return {"If-None-Match": "*"}
    is_token = if_version.isascii() and if_version.isprintable() and '"' not in if_version
    if not is_token or not 1 <= len(if_version) <= _VERSION_SIZE_MAX:
        raise wrong_use(f"{if_version!r} is no version", next_step="pair get --json KEY shows the version")
    return {"If-Match": f'"{if_version}"'}


def _value_document(key: str, answer: Answer) -> dict[str, Any]:
    try:
        value, encoding = answer.body.decode(), "utf-8"
    except UnicodeDecodeError:
        value, encoding = base64.b64encode(answer.body).decode(), "base64"
    return {
        "key": key,
        "value": value,
        "encoding": encoding,
        "version": answer.headers.get("etag", "").removeprefix("W/").strip('"'),
        "writer": answer.headers.get("pair-writer"),
        "expires": answer.headers.get("pair-expires"),
    }


def _print_value(value: bytes) -> None:
    if not is_terminal(sys.stdout):
        print_bytes(value)
        return
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise _binary(len(value)) from error
    print_line(escape(text.removesuffix("\n"), keep=_SHOWN))


def _binary(size: int) -> CommandFailed:
    return wrong_use(f"the value is binary ({size} bytes)", next_step="use -o FILE, or a pipe")


def _print_receipt(answer: Answer, options: Options, *, done: str) -> None:
    receipt = answer.document()
    if options.as_json:
        print_json(_with_explain(receipt, answer, options))
        return
    holders, wanted = len(receipt["holders"]), receipt["wanted"]
    key, version = escape(receipt["key"]), escape(receipt["version"])
    print_line(f"{done} {key}  version {version}  on {holders} of {wanted} holders")
    _print_explain(answer, options)


def _explain_of(answer: Answer, options: Options) -> dict[str, Any] | None:
    from node.cli.explain import explain_in

    return explain_in(answer) if options.explain else None


def _with_explain(document: dict[str, Any], answer: Answer, options: Options) -> dict[str, Any]:
    explain = _explain_of(answer, options)
    return document if explain is None else {**document, "explain": explain}


def _print_explain(answer: Answer, options: Options) -> None:
    from node.cli.explain import print_explain

    explain = _explain_of(answer, options)
    if explain is not None:
        print_explain(explain)


def _change_line(change: dict[str, Any]) -> str:
    if change["event"] == "delete":
        return f"delete  {escape(change['key'])}"
    value = change["value"]
    if change["encoding"] == "base64":
        shown = f"({len(base64.b64decode(value))} bytes)"
    else:
        shown = escape(value[:_WATCH_VALUE_MAX]) + ("…" if len(value) > _WATCH_VALUE_MAX else "")
    return f"put  {escape(change['key'])}  {shown}"
