"""What is handed to container engines is what they take: each file against the schema of whoever reads it.

``compose.yml`` against the Compose specification as check-jsonschema carries it; the files for Kubernetes against the
strict schemas of one version (``vendor_schema.py``), in which an unknown field is an error.
"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent.parent
COMPOSE = [ROOT / "compose.yml", ROOT / "deploy/compose.production.yml"]
KUBERNETES = sorted((ROOT / "deploy/kubernetes").rglob("*.yaml"))
SCHEMA = Path(__file__).with_name("kubernetes.schema.json")
SCHEMA_SHA256 = (
    "1efc86e3125ec1e1519da3a6095208b7f4656a891e3d1fc33431d55b00d91d56"
)


def check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def content(path: Path) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(path))


def test_compose_files_follow_the_specification() -> None:
    """Version 2 of Compose and podman-compose read this specification; 1.29 refuses a top-level name."""
    done = check("--builtin-schema", "vendor.compose-spec", *COMPOSE)

    assert done.returncode == 0, done.stdout
    for path in COMPOSE:
        assert not {"name", "version"} & set(content(path)), "one refuses the first, the others warn of the second"
        assert list(content(path)["services"]) == ["peer"], "no peer is special"


def test_kubernetes_files_follow_the_schema() -> None:
    """Every file, the example of a secret included."""
    done = check("--schemafile", SCHEMA, *KUBERNETES)

    assert len(KUBERNETES) == 5
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("path", "right", "wrong"), [
    (ROOT / "compose.yml", "read_only: true", "read_onyl: true"),
    (ROOT / "deploy/kubernetes/statefulset.yaml", "fsGroup: 10001", "fsGruop: 10001"),
    (ROOT / "deploy/kubernetes/disruption-budget.yaml", "matchLabels:", "matchLables:"),
    (ROOT / "deploy/kubernetes/api-service.yaml", "kind: Service", "kind: Servant"),
])  # fmt: skip
def test_a_slip_is_found(tmp_path: Path, path: Path, right: str, wrong: str) -> None:
    """The checks above can fail."""
    assert path.read_text().count(right) == 1
    slipped = tmp_path / path.name
    slipped.write_text(path.read_text().replace(right, wrong))

    options = ("--builtin-schema", "vendor.compose-spec") if path in COMPOSE else ("--schemafile", SCHEMA)
    assert check(*options, slipped).returncode == 1


def test_schema_is_the_one_that_was_made() -> None:
    """A vendored file is not edited by hand."""
    assert hashlib.sha256(SCHEMA.read_bytes()).hexdigest() == SCHEMA_SHA256


def test_kubernetes_files_belong_together() -> None:
    """Names, labels, ports and the user are the same wherever they are written; no schema sees that."""
    kinds = {path.stem: content(path) for path in KUBERNETES}
    stateful, headless = kinds["statefulset"], kinds["peers-service"]
    pod = stateful["spec"]["template"]["spec"]
    (peer,) = pod["containers"]
    labels = stateful["spec"]["template"]["metadata"]["labels"]

    assert stateful["spec"]["selector"]["matchLabels"] == labels
    assert stateful["spec"]["serviceName"] == headless["metadata"]["name"]
    assert headless["spec"]["clusterIP"] == "None" and headless["spec"]["publishNotReadyAddresses"] is True
    assert f"--seed={headless['metadata']['name']}:7400" in peer["args"]
    for service in (headless, kinds["api-service"]):
        assert service["spec"]["selector"] == labels
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= {port["name"] for port in peer["ports"]}
    assert kinds["disruption-budget"]["spec"]["selector"]["matchLabels"] == labels
    (secret,) = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
    assert secret == kinds["secret"]["metadata"]["name"]
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    wanted = pod["securityContext"]
    assert (wanted["runAsUser"], wanted["runAsGroup"], wanted["fsGroup"]) == (int(user[1]), int(user[2]), int(user[2]))


def test_no_key_gets_into_the_image() -> None:
    """Only what the list names is sent to the engine; a home or a key beside the sources is not."""
    named = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    assert named[0] == "*"
    assert [line for line in named[1:] if not line.startswith("!")] == ["**/__pycache__"]
