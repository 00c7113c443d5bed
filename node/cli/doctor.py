"""``doctor``: look at all that a peer needs, and say what is wrong and what to do about it."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from bootstrap.home import NetworkFolder, pair_home
from bootstrap.reader import networks_read
from node.cli.check_machine import machine_findings
from node.cli.check_network import network_findings, reader_findings
from node.cli.findings import Finding
from node.cli.options import Options, PairCommand, pass_options
from node.cli.output import escape, is_terminal, print_json, print_line, print_table
from node.cli.peers import existing_network, network_of, networks_here
from node.cli.waiting import waiting
from node.errors import EXIT_DONE, EXIT_FAILED


@click.command(cls=PairCommand)
@click.option("--readmit", "voter", metavar="NAME", help="Let a voter vote again that lost its vote file.")
@click.option(
    "--bundle",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="Also write an archive for whoever helps: versions, settings, views, logs; no secrets, no records.",
)
@pass_options
def doctor(options: Options, /, voter: str | None, bundle: str | None) -> int:
    """Check this machine, and the folders and peers of each network on it (or of --network).

    It also asks the seeds, and members of other machines, whether they answer by UDP and by TCP. Exit code 1 when
    something is broken; warnings alone are 0.
    """
    if voter is not None:
        _readmit(options, network_of(options.network), voter)
        return EXIT_DONE
    networks = networks_here() if options.network is None else [existing_network(options.network)]
    with waiting("looking"):
        findings = machine_findings()
        for network in networks:
            findings += network_findings(network)
        for network in networks_read(pair_home()) if options.network is None else ():
            findings += reader_findings(network)
    if bundle is not None:
        findings.append(_bundle(bundle, networks, findings))
    is_broken = any(finding.state == "broken" for finding in findings)
    if options.as_json:
        print_json([finding.document() for finding in findings])
    else:
        _print(findings)
    return EXIT_FAILED if is_broken else EXIT_DONE


def _readmit(options: Options, network: NetworkFolder, name: str) -> None:
    from node.cli.readmitting import readmit

    voters = readmit(network, name)
    detail = f"readmitted by version {voters.version} of the list of voters; it votes again once it has read that"
    done = Finding(f"{network.name}: {name}", "ok", detail, f"pair restart {name}")
    if options.as_json:
        print_json([done.document()])
    else:
        _print([done])


def _bundle(name: str, networks: Sequence[NetworkFolder], findings: Sequence[Finding]) -> Finding:
    from node.cli.bundle import bundle_name, write_bundle

    path = Path(name or bundle_name()).absolute()
    with waiting("collecting"):
        write_bundle(path, networks, findings)
    step = f"look into it before you send it: tar tzf {path}"
    return Finding("bundle", "ok", f"{path} holds no keys, tokens, invites or records", step)


def _print(findings: Sequence[Finding]) -> None:
    print_table(["check", "state", "what"], [[finding.name, finding.state, finding.detail] for finding in findings])
    steps = [finding for finding in findings if finding.next_step]
    if steps and is_terminal(sys.stdout):
        print_line("")
    for finding in steps:
        print_line(f"{escape(finding.name)}: {escape(finding.next_step)}")
