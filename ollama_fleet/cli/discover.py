"""`fleet discover`: what a host has, as an inventory."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ollama_fleet.cli.ending import HostError, JsonOption, answering, print_json

if TYPE_CHECKING:
    from ollama_fleet.cli.discovered import Discovered
    from ollama_fleet.preflight import HostFacts

HOST_NAME_QUESTION = {"name": "uname -n"}


HostArgument = Annotated[
    str, typer.Argument(help="Name or address, user@host, or @local for this machine.")
]
UserOption = Annotated[str | None, typer.Option(help="Login name; default: what ssh would use.")]
KeyOption = Annotated[Path | None, typer.Option(help="Private key file.")]
PortOption = Annotated[int | None, typer.Option(help="SSH port.")]
KnownHostsOption = Annotated[Path | None, typer.Option(help="File of known host keys.")]
SudoOption = Annotated[bool, typer.Option("--sudo", help="Ask as root with passwordless sudo.")]


def discover(
    host: HostArgument,
    user: UserOption = None,
    key: KeyOption = None,
    port: PortOption = None,
    known_hosts: KnownHostsOption = None,
    sudo: SudoOption = False,
    json: JsonOption = False,
) -> None:
    """Ask a host over SSH what it has, and print an inventory with a suggested slice per GPU.

    One login with your own ssh; nothing is changed there. Exit code 1 when the host cannot be
    reached or has no working NVIDIA driver. Example: fleet discover gpu01 > inventory/gpu01.yml

    JSON: name, inventory (the same content), reasons (per slice), notes, system, and hardware,
    which `fleet plan --hardware` reads.
    """
    with answering(json):
        from ollama_fleet.cli import ask_host
        from ollama_fleet.cli.discovered import discovered, trouble, yaml_text
        from ollama_fleet.preflight import QUESTIONS, read_facts

        to = ask_host.login(host, user, port, key, known_hosts, sudo)
        answers = ask_host.ask(to, QUESTIONS | HOST_NAME_QUESTION)
        facts = read_facts(answers)
        wrong = trouble(facts.hardware)
        if wrong:
            raise HostError(f"{host}: {wrong}")
        found = discovered(to, answers["name"].text, facts.hardware)
        if json:
            print_json(_as_json(found, facts))
        else:
            print(yaml_text(found))


def _as_json(found: "Discovered", facts: "HostFacts") -> dict[str, Any]:
    system = {key: value for key, value in asdict(facts).items() if key != "hardware"}
    return {**asdict(found), "system": system, "hardware": asdict(facts.hardware)}
