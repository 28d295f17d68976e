"""A monitored fleet on the lab: one host with two slices, and a gateway on a machine of its own. Who
looks is this machine, with a certificate of the fleet's authority."""

import re
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from lab.lab import Lab
from tests.lab.fleet import Fleet

HOST, GATEWAY, MONITOR = "mo1", "mo0", "watcher"
PORT, INTERVAL_S = 19100, 5
CHAT, CODE = "llama3.2:1b", "qwen3:0.6b"
# The lab's own address, from which this machine comes.
HERE = "10.77.0.1"

# Name and labels to value.
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
_SAMPLE = re.compile(r"^([a-z0-9_:]+)(?:\{(.*)\})? (\S+)$", re.I)
_LABEL = re.compile(r'([a-z_0-9]+)="([^"]*)"')


def settings(lab: Lab) -> dict[str, Any]:
    """What the inventory says beside its host."""
    return {
        "gateway": {"keys": "required"},
        "gateways": {GATEWAY: {"address": lab.address(GATEWAY)}},
        "monitoring": {"interval_s": INTERVAL_S},
        "monitors": {MONITOR: {"address": HERE, "manage": False}},
    }


@dataclass
class Watched:
    """The fleet, as a monitor sees it."""

    fleet: Fleet
    certificates: dict[str, ssl.SSLContext] = field(default_factory=dict)

    @property
    def lab(self) -> Lab:
        return self.fleet.lab

    def certificate(self, name: str, purpose: str = "clientAuth") -> ssl.SSLContext:
        """A certificate of the fleet's authority, made as docs/prometheus.md says."""
        key = f"{name}.{purpose}"
        if key not in self.certificates:
            self.certificates[key] = _signed(self.fleet.folder, name, purpose)
        return self.certificates[key]

    def get(
        self, machine: str, path: str = "/metrics", verify: ssl.SSLContext | None = None
    ) -> httpx.Response:
        """What a machine answers, under its name, to a monitor or to whoever has another certificate."""
        with httpx.Client(
            verify=verify or self.certificate(MONITOR), timeout=20, trust_env=False
        ) as client:
            return client.get(
                f"https://{self.lab.address(machine)}:{PORT}{path}",
                extensions={"sni_hostname": machine},
            )

    def metrics(self, machine: str, path: str = "/metrics") -> Samples:
        """The samples of one exporter."""
        answer = self.get(machine, path)
        assert answer.status_code == 200, answer.text
        return samples(answer.text)

    def until(
        self,
        holds: Callable[[Samples], bool],
        within_s: float = 60,
        machine: str = HOST,
        path: str = "/metrics",
    ) -> Samples:
        """What a machine shows as soon as it holds."""
        ends = time.monotonic() + within_s
        while True:
            found = self.metrics(machine, path)
            if holds(found):
                return found
            assert time.monotonic() < ends, ours(found)
            time.sleep(1)


def samples(text: str) -> Samples:
    """Prometheus' text format."""
    found = {}
    for line in text.splitlines():
        if match := _SAMPLE.match(line):
            labels = frozenset(_LABEL.findall(match[2] or ""))
            found[match[1], labels] = float(match[3])
    return found


def value(found: Samples, name: str, /, **labels: str) -> float:
    """The one sample of this name that has these labels among its own."""
    (only,) = values(found, name, **labels)
    return only


def values(found: Samples, name: str, /, **labels: str) -> list[float]:
    """All of them."""
    wanted = set(labels.items())
    return [number for (one, has), number in found.items() if one == name and wanted <= has]


def ours(found: Samples) -> dict[str, float]:
    """Those of the fleet, for people."""
    return {
        f"{name} {sorted(labels)}": number
        for (name, labels), number in found.items()
        if name.startswith("ollama_")
    }


def _signed(folder: Path, name: str, purpose: str) -> ssl.SSLContext:
    ca = folder / "test.ca"
    at = folder / f"{name}.{purpose}"
    script = f"""
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {at}.key -out {at}.csr \
        -subj /CN={name}
    printf 'extendedKeyUsage={purpose}\\nsubjectAltName=DNS:{name}\\n' >{at}.ext
    openssl x509 -req -in {at}.csr -CA {ca}/ca.pem -CAkey {ca}/ca.key -days 2 -extfile {at}.ext -out {at}.pem
    """
    subprocess.run(["sh", "-ec", script], check=True, capture_output=True)
    context = ssl.create_default_context(cafile=str(ca / "ca.pem"))
    context.load_cert_chain(f"{at}.pem", f"{at}.key")
    return context
