"""The command that gives a machine its certificates: keys made there, signed here, put in force there."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyinfra.api import Host, State, StringCommand
from pyinfra.api.command import PyinfraCommand

from ollama_fleet.authority.folder import Authority, made_authority
from ollama_fleet.authority.given import Pair, read_pair
from ollama_fleet.authority.leaf import sign
from ollama_fleet.authority.places import Place
from ollama_fleet.authority.script import key_steps, place_steps, read_requests
from ollama_fleet.authority.state import Due
from ollama_fleet.host.claims import introduction
from ollama_fleet.host.memory import forget
from ollama_fleet.host.scripts import change_script, fail_host
from ollama_fleet.problems import InputError

# Authorities that hosts of this run know and this machine does not: by the folder where they should be.
# As long as there are any, none is made there.
MISSING: dict[str, str] = {}


def given_pair(place: Place) -> Pair:
    """The certificate and key that the user gives for a place. Raises ValueError."""
    assert place.given
    return read_pair(Path(place.given.certificate), Path(place.given.key))


class Issue(PyinfraCommand):
    """Has keys made on a machine, signs certificates for them, and puts these in force there."""

    def __init__(self, dues: Sequence[Due], folder: Path) -> None:
        super().__init__()
        self.dues, self.folder = dues, folder
        self._arguments: Any = {}

    def __repr__(self) -> str:
        return f"Issue({', '.join(item.place.certificate for item in self.dues)})"

    def execute(self, state: State, host: Host, connector_arguments: Any) -> bool:
        """Whether they are in force; what is wrong otherwise is said."""
        forget(host)
        self._arguments = connector_arguments
        try:
            authority = self._authority()
            certificates, keys = self._pairs(host, authority)
        except (InputError, ValueError) as error:
            return fail_host(state, host, str(error).splitlines())
        bundle = authority.bundle if authority else ""
        done, said = self._run(host, place_steps(self.dues, certificates, keys, bundle))
        if not done:
            return fail_host(state, host, said or ["the host gave no answer"])
        for line in said:
            host.log(line)
        return True

    def _authority(self) -> Authority | None:
        """Made now where it is needed and not there."""
        signs = any(not item.place.given or item.place.trust for item in self.dues)
        if not signs:
            return None
        missing = MISSING.get(str(self.folder))
        if missing:
            raise ValueError(
                f"no authority is made in {self.folder}: other machines of this run know '{missing}'"
            )
        return made_authority(self.folder)

    def _pairs(
        self, host: Host, authority: Authority | None
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Certificates, and those keys that have to be sent, by the path of the certificate."""
        anew = [item.place for item in self.dues if item.anew]
        given = {place.certificate: given_pair(place) for place in anew if place.given}
        certificates = {path: pair.certificates for path, pair in given.items()}
        keys = {path: pair.key for path, pair in given.items()}
        own = [place for place in anew if not place.given]
        if own and authority:
            certificates |= self._signed(host, authority, own)
        return certificates, keys

    def _signed(self, host: Host, authority: Authority, places: Sequence[Place]) -> dict[str, str]:
        done, said = self._run(host, key_steps(places))
        requests = read_requests("\n".join(said))
        lacking = [place for place in places if place.certificate not in requests]
        if not done or lacking:
            raise ValueError("\n".join(said) or "the host gave no answer")
        now = datetime.now(UTC)
        return {
            place.certificate: sign(authority, requests[place.certificate], place.leaf, now)
            for place in places
        }

    def _run(self, host: Host, steps: Sequence[str]) -> tuple[bool, list[str]]:
        script = f"{introduction(host)}{change_script(steps)}"
        done, output = host.run_shell_command(
            StringCommand("sh", "-s"), **{**self._arguments, "_stdin": script}
        )
        return done, [line.line for line in output]
