"""`fleet serve-bundle`: a bundle over HTTP, by this machine's own nginx."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ollama_fleet.cli.ending import BadOptionError, HostError, JsonOption, answering, print_json

DirArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of `fleet bundle`.")]
ListenOption = Annotated[
    str,
    typer.Option(help="Address to listen on, such as 10.0.0.5:8480; default: this machine only."),
]


def serve_bundle(
    folder: DirArgument,
    listen: ListenOption = "127.0.0.1:8480",
    json: JsonOption = False,
) -> None:
    """Serve a bundle with this machine's nginx until Ctrl-C, and print what an inventory says to use it.

    nginx runs in the foreground as whoever calls this, with a configuration of its own in a
    temporary folder; the machine's own one is left alone. Only GET and HEAD are answered, and
    everybody who reaches the address may ask. For good, set up nginx as docs/offline.md shows.

    JSON, when it serves: url, mirrors and inventory (keys for the inventory file, either of them).
    """
    with answering(json):
        from ollama_fleet.bundle.checksums import read_checksums
        from ollama_fleet.bundle.serve import (
            ServeError,
            inventory_lines,
            mirror_lines,
            read_address,
            serve,
        )

        try:
            address = read_address(listen)
            read_checksums(folder)
        except (ServeError, ValueError) as error:
            raise BadOptionError(str(error)) from None
        url = f"http://{_name() if address.is_any else address.host}:{address.port}"
        mirror, lines = mirror_lines(url), inventory_lines(folder, url)

        def ready() -> None:
            if json:
                print_json({"url": url, **mirror, "inventory": lines})
            else:
                _print(folder, url, mirror, lines, address.is_loopback)
            sys.stdout.flush()

        try:
            serve(folder, address, ready)
        except ServeError as error:
            raise HostError(str(error)) from None


def _name() -> str:
    import socket

    return socket.gethostname()


def _print(
    folder: Path, url: str, mirror: dict[str, Any], lines: dict[str, Any], loopback: bool
) -> None:
    import yaml

    print(f"{folder} at {url}, until Ctrl-C. An inventory uses it with")
    print()
    print(yaml.safe_dump(mirror, sort_keys=False, default_flow_style=None), end="")
    print()
    print("or, where it names these addresses already, with")
    print()
    print(yaml.safe_dump(lines, sort_keys=False, default_flow_style=None, width=200), end="")
    if loopback:
        print()
        print("Only this machine reaches it; for others: --listen ADDRESS:8480")
