"""The rules of the house: functions from the source of one module to the complaints about it.

Only the text is looked at; nothing is imported. What a name holds is guessed from what the module says of it
(annotations, assignments of set expressions), which is enough to catch what a careful person overlooks.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LAYERS: Final = ("protocol", "bootstrap", "node", "simulations", "benchmarks", "tests")
"""Each may import itself and those before it."""

SHIPPED: Final = ("protocol", "bootstrap", "node", "simulations")

FILE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60

PURE_MODULES: Final = (
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "cryptography", "dataclasses", "enum",
    "functools", "hashlib", "heapq", "hmac", "ipaddress", "itertools", "math", "msgspec", "operator", "protocol",
    "random", "re", "statistics", "string", "struct", "types", "typing", "unicodedata",
)  # fmt: skip
"""What ``protocol/`` may import: nothing here can wait, speak, look at a clock or, but for ``random``, draw entropy."""

IMPURE_BUILTINS: Final = ("breakpoint", "eval", "exec", "hash", "id", "input", "open", "print", "__import__")
"""``hash`` and ``id`` differ between runs."""

ORDERLESS: Final = ("all", "any", "frozenset", "len", "set", "sorted")
"""Consumers of a set whose result cannot depend on its order; so are ``min`` and ``max`` without a key."""

ENTRANCES: Final = (
    "node/main.py", "node/cli/", "bootstrap/fork_server.py", "bootstrap/processes.py", "node/peer_disk.py",
)  # fmt: skip
"""Where processes begin and end, and the disk with its own thread: the simulator has other ones in their place.

Event loops, signals, threads and draws without a seed belong there and nowhere else.
"""

_TAKE_OVER_ORDER: Final = (
    "chain", "choice", "deque", "dict", "enumerate", "extend", "filter", "fromkeys", "islice", "iter", "join", "list",
    "map", "max", "min", "next", "reduce", "reversed", "sample", "sum", "tuple", "zip",
)  # fmt: skip
_SET_METHODS: Final = ("union", "intersection", "difference", "symmetric_difference")
_SET_OPERATORS: Final = (ast.BitOr, ast.BitAnd, ast.BitXor, ast.Sub)
_SET_TYPES: Final = ("set", "frozenset", "Set", "AbstractSet", "FrozenSet", "MutableSet")
_LOOPS: Final = ("asyncio.run", "asyncio.Runner", "asyncio.to_thread", "uvloop.install", "uvloop.run")
_HOME_OF_SOMEBODY: Final = re.compile(r"(?<![\w.~$}/])/(?:home|Users)/[\w.-]+/")


# Imports


def imported_modules(tree: ast.AST, module: str) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of every import, also inside functions and under ``TYPE_CHECKING``.

    Args:
        tree: The parsed source.
        module: Dotted name of the module, against which relative imports are resolved.
    """
    for found in ast.walk(tree):
        if isinstance(found, ast.Import):
            yield from ((found.lineno, alias.name) for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            above = module.split(".")[: -found.level] if found.level else []
            yield found.lineno, ".".join([*above, *([found.module] if found.module else [])])
        elif isinstance(found, ast.Call) and _last(found.func) in ("import_module", "__import__"):
            yield from ((found.lineno, str(name.value)) for name in found.args[:1] if isinstance(name, ast.Constant))


def wrong_imports(source: str, *, module: str) -> list[str]:
    """Return the imports against the direction of the layers."""
    rank = LAYERS.index(module.split(".")[0])
    return [
        f"{line}: {module.split('.')[0]}/ may not import {name}"
        for line, name in imported_modules(ast.parse(source), module)
        if name.split(".")[0] in LAYERS[rank + 1 :]
    ]


# protocol/


def impurities(
    source: str, *, module: str = "protocol.module", set_attributes: frozenset[str] = frozenset()
) -> list[str]:
    """Return what a module of ``protocol/`` may not do.

    Args:
        source: Its text.
        module: Its dotted name.
        set_attributes: Attributes and functions that other modules declare as sets.
    """
    tree = ast.parse(source)
    complaints = [
        f"{line}: imports {name}"
        for line, name in imported_modules(tree, module)
        if name.split(".")[0] not in PURE_MODULES
    ]
    for found in ast.walk(tree):
        if isinstance(found, (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith)):
            complaints.append(f"{found.lineno}: waits (async, await)")
        elif isinstance(found, ast.Global):
            complaints.append(f"{found.lineno}: changes state of the module")
        elif isinstance(found, ast.ImportFrom) and found.module == "random":
            complaints.append(f"{found.lineno}: takes names out of random")
        elif isinstance(found, ast.Call):
            name = _dotted(found.func)
            if name in IMPURE_BUILTINS:
                complaints.append(f"{found.lineno}: calls {name}()")
            elif name.startswith("random.") or _last(found.func) in ("generate", "generate_key"):
                complaints.append(f"{found.lineno}: draws entropy of its own: {name}()")
    return complaints + set_iterations(source, attributes=set_attributes)


def attributes_of_sets(source: str) -> frozenset[str]:
    """Return the attributes, properties and functions that a module declares as sets."""
    names: set[str] = set()
    for found in ast.walk(ast.parse(source)):
        if isinstance(found, ast.ClassDef):
            fields = (field for field in found.body if isinstance(field, ast.AnnAssign))
            names.update(_last(field.target) for field in fields if _is_set_type(field.annotation))
        elif isinstance(found, ast.AnnAssign) and isinstance(found.target, ast.Attribute):
            if _is_set_type(found.annotation):
                names.add(found.target.attr)
        elif isinstance(found, ast.FunctionDef) and found.returns is not None and _is_set_type(found.returns):
            names.add(found.name)
    return frozenset(names)


def set_iterations(source: str, *, attributes: frozenset[str] = frozenset()) -> list[str]:
    """Return where the order of a set could matter: it differs from run to run."""
    tree = ast.parse(source)
    return _look_for_sets(tree, names=frozenset(), attributes=attributes_of_sets(source) | attributes)


def _look_for_sets(scope: ast.AST, *, names: frozenset[str], attributes: frozenset[str]) -> list[str]:
    """Look at one module or function, then at the functions in it, which see its names."""
    inside, functions = _own_nodes(scope)
    known = _Sets(names=_local_sets(scope, inside, _Sets(names, attributes)), attributes=attributes)
    harmless = {
        id(argument)
        for found in inside
        if isinstance(found, ast.Call) and _is_orderless(found)
        for argument in found.args
    }
    complaints = [
        f"{found.lineno}: goes through a set: {ast.unparse(source)}"
        for found in inside
        if id(found) not in harmless
        for source in _gone_through(found, known)
        if known.holds(source)
    ]
    for function in functions:
        complaints += _look_for_sets(function, names=known.names, attributes=attributes)
    return complaints


def _own_nodes(scope: ast.AST) -> tuple[list[ast.AST], list[ast.AST]]:
    """Return the nodes of ``scope`` but for those of functions in it, and these functions."""
    inside: list[ast.AST] = []
    functions: list[ast.AST] = []
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        found = waiting.pop()
        if isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            functions.append(found)
        else:
            inside.append(found)
            waiting += ast.iter_child_nodes(found)
    return inside, functions


def _local_sets(scope: ast.AST, inside: list[ast.AST], outer: "_Sets") -> frozenset[str]:
    """Return the plain names that hold sets in ``scope``; arguments hide outer names."""
    names = set(outer.names)
    if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        given = scope.args
        for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs):
            is_set = argument.annotation is not None and _is_set_type(argument.annotation)
            (names.add if is_set else names.discard)(argument.arg)
    for found in inside:
        if isinstance(found, ast.AnnAssign) and isinstance(found.target, ast.Name) and _is_set_type(found.annotation):
            names.add(found.target.id)
    for found in inside:
        if isinstance(found, ast.Assign) and _Sets(frozenset(names), outer.attributes).holds(found.value):
            names.update(target.id for target in found.targets if isinstance(target, ast.Name))
    return frozenset(names)


@dataclass(frozen=True, slots=True)
class _Sets:
    """What is known to hold a set."""

    names: frozenset[str]
    attributes: frozenset[str]

    def holds(self, expression: ast.expr) -> bool:
        """Return whether ``expression`` looks like a set."""
        if isinstance(expression, ast.Name):
            return expression.id in self.names
        if isinstance(expression, ast.Attribute):
            return expression.attr in self.attributes
        if isinstance(expression, ast.BinOp) and isinstance(expression.op, _SET_OPERATORS):
            return any(self.holds(side) or _is_key_view(side) for side in (expression.left, expression.right))
        if isinstance(expression, ast.IfExp):
            return self.holds(expression.body) or self.holds(expression.orelse)
        if isinstance(expression, ast.Call):
            return self._results(expression.func)
        return isinstance(expression, (ast.Set, ast.SetComp))

    def _results(self, function: ast.expr) -> bool:
        if isinstance(function, ast.Attribute) and function.attr == "copy":
            return self.holds(function.value)
        return _last(function) in ("set", "frozenset", *_SET_METHODS) or _last(function) in self.attributes


def _gone_through(found: ast.AST, known: _Sets) -> list[ast.expr]:
    """Return the expressions whose order ``found`` takes over."""
    if isinstance(found, ast.For):
        return [found.iter]
    if isinstance(found, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
        return [generator.iter for generator in found.generators]
    if isinstance(found, ast.Starred):
        return [found.value]
    if isinstance(found, ast.Call) and not _is_orderless(found) and not known.holds(found):
        return _read_in_order(found)
    return []


def _read_in_order(call: ast.Call) -> list[ast.expr]:
    """Return the arguments of ``call`` whose order its result takes over."""
    name = _dotted(call.func).rpartition(".")[2]
    if name == "pop" and isinstance(call.func, ast.Attribute) and not call.args:
        return [call.func.value]
    return list(call.args) if name in _TAKE_OVER_ORDER else []


def _is_orderless(call: ast.Call) -> bool:
    name = _dotted(call.func)
    return name in ORDERLESS or (name in ("min", "max") and not call.keywords)


def _is_key_view(expression: ast.expr) -> bool:
    return (
        isinstance(expression, ast.Call)
        and isinstance(expression.func, ast.Attribute)
        and expression.func.attr in ("keys", "items")
    )


def _is_set_type(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.BinOp):
        return _is_set_type(annotation.left) or _is_set_type(annotation.right)
    if isinstance(annotation, ast.Subscript):
        outer = _last(annotation.value)
        return outer in _SET_TYPES or (outer in ("Final", "ClassVar") and _is_set_type(annotation.slice))
    return _last(annotation) in _SET_TYPES


# bootstrap/ and node/


def escapes(source: str, *, path: str) -> list[str]:
    """Return what would let a module of ``bootstrap/`` or ``node/`` slip out of the simulator.

    Args:
        source: Its text.
        path: Relative to the root, with ``/``.
    """
    tree = ast.parse(source)
    is_entrance = path.startswith(ENTRANCES)
    complaints: list[str] = []
    for found in ast.walk(tree):
        if isinstance(found, ast.ImportFrom) and not found.level and found.module in ("time", "random", "os"):
            complaints.append(f"{found.lineno}: takes names out of {found.module}")
        elif isinstance(found, ast.Call):
            complaints += _escapes_of_call(found, is_entrance=is_entrance)
    for line, name in imported_modules(tree, path.removesuffix(".py").replace("/", ".")):
        if name.split(".")[0] in ("pickle", "marshal", "shelve", "dill"):
            complaints.append(f"{line}: imports {name}: bytes from elsewhere could run code")
        if name.split(".")[0] in ("signal", "threading", "_thread") and not is_entrance:
            complaints.append(f"{line}: imports {name} below the entrance of a process")
    return complaints


def _escapes_of_call(call: ast.Call, *, is_entrance: bool) -> list[str]:
    name = _dotted(call.func)
    last = name.rpartition(".")[2]
    if last in ("utcnow", "today") or (last == "now" and "date" in name):
        return [f"{call.lineno}: asks the wall clock: {name}()"]
    if is_entrance:
        return []
    if name == "random.SystemRandom" or (name == "random.Random" and not call.args):
        return [f"{call.lineno}: draws without a seed: {name}()"]
    if name.startswith("random.") and last.islower():
        return [f"{call.lineno}: draws from the generator of the whole process: {name}()"]
    if name in _LOOPS or last in ("add_signal_handler", "ThreadPoolExecutor"):
        return [f"{call.lineno}: {name}() below the entrance of a process"]
    return []


# Size, words, paths


def too_long(source: str) -> list[str]:
    """Return the file or the functions that do not fit."""
    lines = len(source.splitlines())
    complaints = [f"1: {lines} lines, at most {FILE_LINES_MAX}"] if lines > FILE_LINES_MAX else []
    for found in ast.walk(ast.parse(source)):
        if isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (found.end_lineno or found.lineno) - found.lineno + 1
            if length > FUNCTION_LINES_MAX:
                complaints.append(f"{found.lineno}: {found.name} has {length} lines, at most {FUNCTION_LINES_MAX}")
    return complaints


def without_docstring(source: str, *, allowed: frozenset[str] = frozenset()) -> list[str]:
    """Return the module, public classes and public functions that say nothing of themselves.

    Silent may be: special and nested functions; setters, whose property speaks for both; methods of a ``Protocol``
    whose body is ``...`` (their names and types are all there is), and those named in ``allowed``, as ``function``,
    ``method`` or ``Class.method``.
    """
    tree = ast.parse(source)
    complaints = [] if not tree.body or ast.get_docstring(tree) else ["1: the module"]

    def look(body: list[ast.stmt], prefix: str) -> None:
        for found in body:
            if not isinstance(found, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            named = {found.name, prefix + found.name} & allowed
            silent = found.name.startswith("_") or named or _speaks_elsewhere(found)
            if not silent and not ast.get_docstring(found):
                complaints.append(f"{found.lineno}: {prefix}{found.name}")
            if isinstance(found, ast.ClassDef) and not found.name.startswith("_"):
                look(found.body, f"{found.name}.")

    look(tree.body, "")
    return complaints


def methods_of(source: str, class_name: str) -> list[str]:
    """Return the names of the methods of one class of a module."""
    return [
        method.name
        for found in ast.parse(source).body
        if isinstance(found, ast.ClassDef) and found.name == class_name
        for method in found.body
        if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def _speaks_elsewhere(found: ast.stmt) -> bool:
    if not isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    if any(isinstance(decorator, ast.Attribute) and decorator.attr == "setter" for decorator in found.decorator_list):
        return True
    only = found.body[0]
    return len(found.body) == 1 and isinstance(only, ast.Expr) and ast.unparse(only) == "..."


def absolute_paths(text: str, *, root: Path) -> list[str]:
    """Return the lines that name a folder of the machine they were written on."""
    return [
        f"{number}: {line.strip()[:80]}"
        for number, line in enumerate(text.splitlines(), start=1)
        if _HOME_OF_SOMEBODY.search(line) or f"{root}/" in line or line.rstrip().endswith(str(root))
    ]


def _dotted(expression: ast.expr) -> str:
    """Return ``a.b.c`` as text; the empty string for anything else in front."""
    if isinstance(expression, ast.Name):
        return expression.id
    if isinstance(expression, ast.Attribute):
        return f"{_dotted(expression.value)}.{expression.attr}"
    return ""


def _last(expression: ast.expr) -> str:
    """Return the last part of a name."""
    return _dotted(expression).rpartition(".")[2]
