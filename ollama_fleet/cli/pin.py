"""`fleet pin`: the checksums of an Ollama release, kept in group_data."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ollama_fleet.cli.ending import BadOptionError, HostError, JsonOption, answering, print_json

GITHUB = "https://github.com/ollama/ollama/releases/download"
GROUP_DATA = Path("group_data/all.py")
# sha256sum.txt has some kilobytes; whatever is larger is something else.
LARGEST_BYTES = 2**20


def pin(
    what: Annotated[Literal["ollama"], typer.Argument(help="What to pin.")],
    version: Annotated[str, typer.Argument(help="Its release, such as 0.32.15.")],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Where its sha256sum.txt is: a mirror's address (the list is then looked for at "
            "v<version>/sha256sum.txt there), or a file or folder of this machine. Default: GitHub.",
        ),
    ] = None,
    archive: Annotated[
        str | None,
        typer.Option(help="Name of the archive, if the inventory's `archive:` gives another one."),
    ] = None,
    keep_version: Annotated[
        bool, typer.Option("--keep-version", help="Only pin it: hosts go on with the version set.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of other checksums of it.")
    ] = False,
    file: Annotated[
        Path | None, typer.Option(help="The file to change; default: group_data/all.py.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Pin an Ollama release by its checksums, and make it the version that hosts run.

    Fetches the release's own list of checksums and writes those of the amd64 and arm64 archives into
    group_data/all.py. Other pins stay, so going back is setting `ollama_version` to one of them.
    Touches no host: `pyinfra inventory/prod.py deploy.py` then installs it.

    JSON: version, sha256 (per architecture), source, file, changed, current (the version set), pins.
    """
    with answering(json):
        from ollama_fleet.catalogue.release import (
            archive_problem,
            default_archive,
            version_problems,
        )
        from ollama_fleet.release.pins import PinError, pinned, with_version, write_atomically
        from ollama_fleet.release.sums import archive_sums

        name = archive or default_archive()
        wrong = [*version_problems(version, mig=False), *filter(None, [archive_problem(name)])]
        if wrong:
            raise BadOptionError("; ".join(wrong))
        where, text = _list_of(version, source)
        target = file or _group_data()
        before = target.read_bytes()
        try:
            sums = archive_sums(text, name)
        except ValueError as error:
            raise BadOptionError(f"{where} {error}") from None
        try:
            after = pinned(before, version, sums, replace)
            after = after if keep_version else with_version(after, version)
        except PinError as error:
            raise BadOptionError(f"{target}: {error}") from None
        if after != before:
            write_atomically(target, after)
        _report(version, sums, where, target, after, after != before, json)


def _report(
    version: str,
    sums: dict[str, str],
    where: str,
    target: Path,
    text: bytes,
    changed: bool,
    json: bool,
) -> None:
    from ollama_fleet.release.pins import current_version, read_pins

    current, pins = current_version(text), list(read_pins(text))
    if json:
        said = {"version": version, "sha256": sums, "source": where, "file": str(target)}
        print_json({**said, "changed": changed, "current": current, "pins": pins})
        return
    for arch, digest in sums.items():
        print(f"{arch}  {digest}")
    print(f"from {where}")
    print(f"{target}: {'written' if changed else 'has them already'}; hosts run {current}", end="")
    print(f", pinned are {', '.join(pins)}" if len(pins) > 1 else "")


def _group_data() -> Path:
    """The file of the folder where pyinfra is run, else of this checkout."""
    from ollama_fleet.templating import TEMPLATES

    for path in (GROUP_DATA, TEMPLATES.parent / GROUP_DATA):
        if path.is_file():
            return path
    raise BadOptionError(
        f"{GROUP_DATA} is not here; run it in the project's folder, or give --file"
    )


def _list_of(version: str, source: str | None) -> tuple[str, str]:
    """Where the release's list of checksums was found, and its text."""
    from ollama_fleet.release.sums import CHECKSUMS

    if source and "://" not in source:
        return _local_list(Path(source).expanduser(), version, CHECKSUMS)
    base = (source or GITHUB).rstrip("/")
    url = base if base.endswith(".txt") else f"{base}/v{version}/{CHECKSUMS}"
    return url, _fetched(url, version)


def _local_list(path: Path, version: str, name: str) -> tuple[str, str]:
    tried = [path] if not path.is_dir() else [path / f"v{version}" / name, path / name]
    for one in tried:
        if one.is_file():
            return str(one), one.read_bytes()[:LARGEST_BYTES].decode(errors="replace")
    looked = " and ".join(map(str, tried))
    raise BadOptionError(f"no list of checksums of Ollama {version}; looked for {looked}")


def _fetched(url: str, version: str) -> str:
    import requests
    from urllib3.exceptions import HTTPError

    from ollama_fleet.release.http import HEADERS, TIMEOUTS_S, why_not

    try:
        with requests.get(url, headers=HEADERS, stream=True, timeout=TIMEOUTS_S) as answer:
            code, reason = answer.status_code, answer.reason
            text = answer.raw.read(LARGEST_BYTES, decode_content=True)
    except (requests.RequestException, HTTPError) as error:
        advice = "is the address right? --from takes a mirror's, or a file of this machine"
        raise HostError(f"{url} cannot be fetched: {why_not(error)}; {advice}") from None
    if code in (404, 410):
        raise BadOptionError(f"there is no release {version}: {url} is not there ({code} {reason})")
    if code != requests.codes.ok:
        raise HostError(f"{url} cannot be fetched: the server says {code} {reason}")
    return str(text, errors="replace")
