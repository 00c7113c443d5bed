"""A slice of the fuzzing: thousands of hostile inputs at each decoder; ``python3 run.py fuzz`` runs a million."""

import random

import pytest

from protocol.errors import DecodeError
from tests.fuzz.__main__ import main
from tests.fuzz.decoders import Decoder, decoders
from tests.fuzz.mutating import SIZE_MAX_BYTES, mutated
from tests.fuzz.running import run

INPUTS = 1_000
SLOWEST_S = 0.5
"""On a machine that does other work as well; alone it is a few milliseconds (threats, section 1)."""


@pytest.mark.parametrize("decoder", decoders(), ids=lambda decoder: decoder.name)
def test_hostile_inputs_are_refused_with_the_documented_errors(decoder: Decoder) -> None:
    """Whatever bytes arrive, nothing else gets out of a decoder, and none takes long."""
    report = run(decoder, inputs=INPUTS, seed=random.randrange(2**32))

    assert not report.errors, "\n".join(report.failures)
    assert report.slowest_s < SLOWEST_S


@pytest.mark.parametrize("decoder", decoders(), ids=lambda decoder: decoder.name)
def test_examples_themselves_are_accepted(decoder: Decoder) -> None:
    """Or all the inputs near them would test the first check only."""
    refused = []
    for example in decoder.examples:
        try:
            decoder.decode(example)
        except decoder.refusals as error:
            refused.append((example, error))

    assert decoder.examples
    assert refused == []


def test_an_error_that_gets_out_is_told_with_its_input() -> None:
    """The fuzzer finds what it looks for."""

    def broken(data: bytes) -> None:
        if len(data) % 2:
            raise KeyError("a defect")
        raise DecodeError

    report = run(Decoder("broken", [b"example"], broken, (DecodeError,)), inputs=200, seed=1)

    assert report.is_failure and 0 < report.errors < 200
    assert "KeyError('a defect')" in report.failures[0] and " of " in report.failures[0]


def test_inputs_are_the_same_for_the_same_seed_and_bounded() -> None:
    """A finding can be repeated."""
    sources = random.Random(7), random.Random(7)
    runs = [[mutated(source, [b"abc", bytes(3000)]) for _ in range(500)] for source in sources]

    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 200 and max(map(len, runs[0])) <= SIZE_MAX_BYTES


def test_command_prints_a_row_for_each_decoder(capsys: pytest.CaptureFixture[str]) -> None:
    """And ends well when all were refused; an unknown name is explained."""
    assert main(["--inputs", "50", "--only", "invite", "message:Ping"]) == 0
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()[2:5]] == ["message:Ping", "invite:text", "invite:fields"]
    assert "3 decoders, 150 inputs, 0 failed" in told

    with pytest.raises(SystemExit):
        main(["--only", "nonsense"])
    assert "message:Ping" in capsys.readouterr().err
