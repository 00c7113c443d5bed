"""Make ``kubernetes.schema.json`` anew: the kinds that ``deploy/kubernetes`` uses, out of all that Kubernetes has.

    pip install kubernetes-validate && python -m tests.containers.vendor_schema

That package brings the schemas of every version, 72 MB; the strict ones, in which an unknown field is an error, come
down to a hundred definitions. Kubernetes and its schemas are under the Apache License 2.0.
"""

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

VERSION = "v1.37.0"
KINDS = {
    "PodDisruptionBudget": "io.k8s.api.policy.v1.PodDisruptionBudget",
    "Secret": "io.k8s.api.core.v1.Secret",
    "Service": "io.k8s.api.core.v1.Service",
    "StatefulSet": "io.k8s.api.apps.v1.StatefulSet",
}
TARGET = Path(__file__).with_name("kubernetes.schema.json")


def made_schema() -> dict[str, Any]:
    """Return one schema that takes a document of any of ``KINDS`` and nothing else."""
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"{VERSION}-local-strict"
    everything = json.loads((folder / "_definitions.json").read_text())["$defs"]
    needed: dict[str, Any] = {}
    waiting = list(KINDS.values())
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed[name] = without_prose(everything[name])
            waiting += references(needed[name])
    choices = [
        {"if": {"properties": {"kind": {"const": kind}}}, "then": {"$ref": f"#/$defs/{name}"}}
        for kind, name in KINDS.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": f"Kubernetes {VERSION}, Apache License 2.0; made by tests/containers/vendor_schema.py",
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {"kind": {"enum": list(KINDS)}},
        "allOf": choices,
        "$defs": {name: localised(needed[name]) for name in sorted(needed)},
    }


def without_prose(part: Any, *, names_fields: bool = False) -> Any:
    """Return a part of a schema without descriptions; keys are names of fields below ``properties``."""
    if isinstance(part, list):
        return [without_prose(element) for element in part]
    if not isinstance(part, dict):
        return part
    return {
        key: without_prose(value, names_fields=key == "properties" and not names_fields)
        for key, value in part.items()
        if names_fields or not (key == "description" or key.startswith("x-kubernetes"))
    }


def references(part: Any) -> Iterator[str]:
    """Yield the names of the definitions that a part of a schema refers to."""
    if isinstance(part, list):
        for element in part:
            yield from references(element)
    elif isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].rpartition("/")[2]
        for value in part.values():
            yield from references(value)


def localised(part: Any) -> Any:
    """Return a part of a schema with its references pointing into the same file."""
    if isinstance(part, list):
        return [localised(element) for element in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("$ref"), str):
        return {"$ref": "#/$defs/" + part["$ref"].rpartition("/")[2]}
    return {key: localised(value) for key, value in part.items()}


if __name__ == "__main__":
    TARGET.write_text(json.dumps(made_schema(), indent=1) + "\n")
