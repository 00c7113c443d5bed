"""Completion works in the shells themselves, where they are installed, and is printed for all three."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bootstrap.home import NetworkFolder
from tests.running import PAIR, Home

_ASK_BASH = """
eval "$(pair completion bash)"
COMP_WORDS=({words}) COMP_CWORD={last}
_pair_completion pair
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(home: Home, *words: str) -> list[str]:
    """Return what bash offers for the last of ``words``."""
    quoted = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(
        ["bash", "--norc", "-c", _ASK_BASH.format(words=quoted, last=len(words) - 1)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**home.environment, "PATH": f"{PAIR.parent}:{os.environ['PATH']}"},
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_and_peers(home: Home) -> None:
    """Commands, their options, the words of options, and the peers that live here."""
    network = NetworkFolder(home.folder / "local")
    network.found("local")
    for name in ("peer-1", "other"):
        network.peer(name).create()

    assert completed(home, "pair", "re") == ["resume", "restart"]
    assert completed(home, "pair", "up", "5", "--pro") == ["--profile"]
    assert completed(home, "pair", "up", "--profile", "w") == ["wan"]
    assert completed(home, "pair", "kill", "peer") == ["peer-1"]
    assert set(completed(home, "pair", "kill", "")) == {"peer-1", "other", "leader", "random"}
    assert completed(home, "pair", "--peer", "oth") == ["other"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_is_printed_and_valid(shell: str, home: Home, tmp_path: Path) -> None:
    """The shell itself accepts the script, where it is installed."""
    script = home.ok("completion", shell).text

    assert "_PAIR_COMPLETE" in script
    if shutil.which(shell) is not None:
        path = tmp_path / "script"
        path.write_text(script)
        checked = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, timeout=60, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")
