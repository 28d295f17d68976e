"""A fleet of two hosts and a gateway for tests of certificates, and what openssl makes of these."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ollama_fleet.authority.places import Place
from ollama_fleet.authority.state import Found, questions, read_found
from ollama_fleet.inventory import fleet_hosts
from ollama_fleet.load import validate
from ollama_fleet.planner.gateway import GatewayPlan, HopPlan
from ollama_fleet.questions import Answer, question_script, read_answers
from ollama_fleet.yamlfile import YamlFile

GATEWAY = {"names": ["llm.example.org"]}
SLICE = {"name": "chat", "gpus": [0], "models": ["qwen3:8b"], "context": 8192}


def machines(folder: Path, gateway: dict[str, Any] = GATEWAY, **settings: Any) -> dict[str, Any]:
    """pyinfra's data of every machine of the fleet, whose inventory lies in `folder`."""
    document = {
        "version": 1,
        "gateway": gateway,
        "gateways": {"gw1": {"address": "10.0.0.5"}},
        "hosts": {
            name: {"address": f"10.0.0.{n}", "slices": [SLICE]}
            for n, name in ((11, "one"), (12, "two"))
        },
        **settings,
    }
    file = YamlFile(str(folder / "prod.yml"), document)
    return dict(fleet_hosts(validate(file), folder / "prod.py"))


def plans(folder: Path, **gateway: Any) -> tuple[GatewayPlan, HopPlan]:
    """The gateway's, and the first host's part of it."""
    found = machines(folder, GATEWAY | gateway)
    return found["gw1"]["gateway_plan"], found["one"]["plan"].hop


class Machine:
    """A machine whose folders are below `root` on this one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _sh(self, text: str) -> str:
        for folder in ("/etc/ollama", "/var/lib/ollama-gateway"):
            text = text.replace(folder, f"{self.root}{folder}")
        text = text.replace("root:ollama-gateway", "$(id -un):$(id -gn)")
        text = text.replace("-o root -g ollama-gateway", "-o $(id -un) -g $(id -gn)")
        text = text.replace("systemctl", "echo systemctl")
        text = text.replace("getent group ollama-gateway", "true")
        done = subprocess.run(["sh", "-s"], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, steps: list[str]) -> str:
        """Output of steps of a change."""
        prelude = 'set -eu\numask 022\nsay() { echo "$*"; }\nfail() { echo "$*" >&2; exit 1; }'
        return self._sh("\n".join([prelude, *steps])).replace(str(self.root), "")

    def ask(self, questions: Mapping[str, str]) -> dict[str, Answer]:
        """Its answers, as a machine gives them whose folders are not below another."""
        me = subprocess.run(
            ["sh", "-c", 'echo "$(id -un):$(id -gn)"'], capture_output=True, text=True
        ).stdout.strip()
        said = self._sh(question_script(questions)).replace(str(self.root), "")
        said = said.replace(f"640 {me}\n", "640 root:ollama-gateway\n")
        return read_answers(said.splitlines())

    def found(self, place: Place) -> Found:
        """What is in the files of a place."""
        return read_found(place, self.ask(questions([place])))

    def path(self, path: str) -> Path:
        """Where a file of the machine is."""
        return Path(f"{self.root}{path}")


def is_taken(trusted: Path, certificate: Path, purpose: str) -> bool:
    """Whether openssl takes a certificate for `sslserver` or `sslclient`."""
    command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        purpose,
        "-CAfile",
        str(trusted),
        str(certificate),
    ]
    return subprocess.run(command, capture_output=True).returncode == 0
