"""Ollama's archive from this machine to a host, over the connection that pyinfra holds."""

from collections.abc import Generator
from typing import Any

from paramiko import SSHException
from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.connectors.local import LocalConnector

from ollama_fleet.host.memory import forget
from ollama_fleet.host.scripts import Script, change_script, fail_host
from ollama_fleet.planner.plan import Release
from ollama_fleet.release import script
from ollama_fleet.release.state import INCOMING

LOST = (OSError, EOFError, SSHException, PyinfraError)


def archive_sent(release: Release, arch: str, digest: str) -> Generator[Any, None, None]:
    """Commands that bring a release's archive to the host that this operation runs on.

    It is fetched into this machine's cache first, once for all hosts, and lies in INCOMING in the end.
    """
    from ollama_fleet.release.cache import path_in_cache  # brings an HTTP client: rarely wanted

    url, path = release.url(arch), str(path_in_cache(digest))
    yield FunctionCommand(_cache, (url, digest), {})
    if isinstance(host.connector, LocalConnector):
        yield Script(change_script([script.copy_from(path, digest)]))
    else:
        yield Script(change_script([script.prepare_incoming()]))
        yield FunctionCommand(_send, (path, digest), {})


def _cache(state: State, host: Host, url: str, digest: str) -> bool:
    from ollama_fleet.release.cache import DownloadError, cached_archive

    try:
        cached_archive(url, digest, host.log)
    except DownloadError as error:
        return fail_host(state, host, [f"{error}; {script.UNCHANGED}"])
    return True


def _send(state: State, host: Host, path: str, digest: str) -> bool:
    """SFTP as the login user, straight into the folder that is open to it: with sudo pyinfra would go by
    way of /tmp, which may be too small, and copy once more."""
    host.log(f"sending Ollama's archive ({path})")
    try:
        sent = host.put_file(path, f"{INCOMING}/{digest}")
    except LOST as error:
        said = (
            f"cannot send {path} to the host: {error or type(error).__name__} (is its disk full?)"
        )
        return fail_host(state, host, [f"{said}; {script.UNCHANGED}, run again"])
    forget(host)
    return bool(sent)
