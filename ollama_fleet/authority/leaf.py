"""What a certificate of a machine says, and its signing.

A host's may only serve, a gateway's may only call: neither is accepted in the other's place.
"""

import ipaddress
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ollama_fleet.authority.folder import BACKDATED, Authority, pem_of, signing
from ollama_fleet.gateway.places import LONGEST_NAME
from ollama_fleet.planner.gateway import GatewayPlan, HopPlan
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.planner.monitoring import MonitoringPlan

VALID_DAYS = 397
PURPOSES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
HERE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Leaf:
    """A certificate as it should be: of whom, for which DNS names and IP addresses, to do what."""

    name: str
    names: tuple[str, ...]
    purpose: Literal["server", "client"]

    @property
    def common_name(self) -> str:
        """By which a host knows the gateway that calls it."""
        return self.name[:LONGEST_NAME]


def host_leaf(plan: HopPlan) -> Leaf:
    """With which a host's nginx serves the gateways, under the host's name in the inventory."""
    return Leaf(plan.host, (plan.host,), "server")


def client_leaf(plan: GatewayPlan) -> Leaf:
    """With which a gateway calls the hosts."""
    return Leaf(plan.name, (plan.name,), "client")


def metrics_leaf(plan: MonitoringPlan) -> Leaf:
    """With which a machine shows its metrics, under its name in the inventory."""
    return Leaf(plan.machine, (plan.machine,), "server")


def monitor_leaf(name: str) -> Leaf:
    """With which a monitor looks at machines."""
    return Leaf(name, (name,), "client")


def monitor_door_leaf(plan: MonitorPlan) -> Leaf:
    """With which a monitor serves people, under every name and address by which it is called."""
    names = (plan.listen, plan.address, plan.name, *HERE)
    return Leaf(plan.name, tuple(dict.fromkeys(map(plain, names))), "server")


def server_leaf(plan: GatewayPlan) -> Leaf:
    """With which a gateway serves clients, under every name and address by which it is called."""
    listen = [plan.listen] if plan.listen else []
    shared = [plan.virtual_address.ip] if plan.virtual_address else []
    names = (*plan.names, plan.address, *shared, *listen, plan.name, *HERE)
    return Leaf(plan.name, tuple(dict.fromkeys(map(plain, names))), "server")


def plain(name: str) -> str:
    """A name as certificates are compared by it; an IP address in its one spelling."""
    with suppress(ValueError):
        return str(ipaddress.ip_address(name))
    return name.lower()


def names_of(certificate: x509.Certificate) -> set[str]:
    """The DNS names and IP addresses that a certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return set()
    names = found.get_values_for_type(x509.DNSName)
    addresses = found.get_values_for_type(x509.IPAddress)
    return {plain(str(name)) for name in (*names, *addresses)}


def covers(certificate: x509.Certificate, name: str) -> bool:
    """Whether a client that calls `name` takes this certificate."""
    has, wanted = names_of(certificate), plain(name)
    return wanted in has or f"*.{wanted.partition('.')[2]}" in has


def purposes_of(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    """What a certificate may be used for; empty where it does not say."""
    try:
        return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except (x509.ExtensionNotFound, ValueError):
        return set()


def days_left(certificate: x509.Certificate, now: datetime) -> int:
    """Whole days until it ends; negative when it has."""
    return (certificate.not_valid_after_utc - now) // timedelta(days=1)


def end_of_new(authority: Authority, now: datetime) -> datetime:
    """When a certificate ends that is signed now: never after its authority."""
    ends = now + timedelta(days=VALID_DAYS)
    return min(ends, authority.certificate.not_valid_after_utc)


def sign(authority: Authority, request: str, leaf: Leaf, now: datetime) -> str:
    """A certificate (PEM) for the key of a request; of what else that says nothing is believed.

    Raises InputError without the authority's key, ValueError when the request is none.
    """
    key, asked = signing(authority), x509.load_pem_x509_csr(request.encode())
    if not asked.is_signature_valid:
        raise ValueError("its signature is not of its own key")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, leaf.common_name)])
    public, issuer = asked.public_key(), authority.certificate
    builder = (
        x509.CertificateBuilder(issuer.subject, subject, public, x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end_of_new(authority, now))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([PURPOSES[leaf.purpose]]), critical=False)
        .add_extension(x509.SubjectAlternativeName(list(map(_name, leaf.names))), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
    )
    return pem_of(builder.sign(key, hashes.SHA256()))


def _usage() -> x509.KeyUsage:
    rest = (
        *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(digital_signature=True, **dict.fromkeys(rest, False))


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
