"""What a command must say when it fails, and what doctor finds."""

import json
from typing import Any

from tests.running import Done, Home


def told(done: Done, *, exit_code: int, cause: str) -> dict[str, Any]:
    """Return the problem of a failed ``--json`` command: this exit code, this cause, and a next step."""
    problem = done.problem()
    assert problem["exit"] == exit_code, problem
    assert cause in problem["detail"], problem
    assert problem["next_step"], problem
    assert "defect" not in problem["detail"], problem
    return problem


def findings(home: Home) -> dict[str, dict[str, str]]:
    """Return what ``doctor`` finds, by name; of several with one name the last."""
    return {found["name"]: found for found in json.loads(home.run("--json", "doctor").stdout)}
