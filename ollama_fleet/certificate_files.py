"""The gateway's own certificate and key (`tls: {source: files}`) out of files that an inventory names.

Found and judged on the machine that deploys, before any host is touched. Only their full paths go on.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ollama_fleet.problems import InputError, Problem
from ollama_fleet.spec.fleet import Fleet
from ollama_fleet.yamlfile import Loc, YamlFile, spell

AT: Loc = ("gateway", "tls")


def with_certificates(file: YamlFile, fleet: Fleet) -> Fleet:
    """`fleet` with the full paths of these files. Raises InputError with all that is wrong with them.

    Files lie relative to the inventory.
    """
    gateway = fleet.gateway
    if gateway is None or gateway.tls.certificate is None or gateway.tls.key is None:
        return fleet
    folder = Path(file.source).parent
    certificate, key = (
        (folder / Path(name).expanduser()).absolute()
        for name in (gateway.tls.certificate, gateway.tls.key)
    )
    problems = [
        Problem(file.source, spell((*AT, name)), what, file.line_of((*AT, name)))
        for name, what in _wrong(certificate, key, gateway.names)
    ]
    if problems:
        raise InputError(problems)
    tls = gateway.tls.model_copy(update={"certificate": str(certificate), "key": str(key)})
    return fleet.model_copy(update={"gateway": gateway.model_copy(update={"tls": tls})})


def _wrong(certificate: Path, key: Path, names: list[str]) -> Iterator[tuple[str, str]]:
    """Which key of the inventory, and what is wrong with its file."""
    from ollama_fleet.authority.given import read_pair, unfit

    try:
        pair = read_pair(certificate, key)
    except ValueError as error:
        yield ("key" if str(error).startswith(str(key)) else "certificate"), str(error)
        return
    for what in unfit(pair.chain, names, datetime.now(UTC)):
        yield "certificate", f"{certificate} {what}"
