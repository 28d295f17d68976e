"""What certificates a machine has, and why one of them will not do. Pure judgement of answers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from ollama_fleet.authority.folder import CALLED, Authority, fingerprint_of
from ollama_fleet.authority.leaf import (
    PURPOSES,
    days_left,
    end_of_new,
    names_of,
    plain,
    purposes_of,
)
from ollama_fleet.authority.places import Place
from ollama_fleet.questions import Answer, Answers

RENEWED_DAYS = 60
# Left beside certificates that a service has not been told of.
UNTOLD = ".reload"
_BLOCK = re.compile(r"-----BEGIN (CERTIFICATE|PUBLIC KEY)-----\n.*?-----END \1-----\n?", re.S)


@dataclass(frozen=True)
class Found:
    """The files of a `Place`: the chain, the public part of the key, and whether both have mode and owner.

    `untold`: their service does not know them yet. `trust`: the text of that file.
    """

    chain: tuple[x509.Certificate, ...]
    public: bytes | None
    is_closed: bool
    untold: bool = False
    trust: str = ""

    @property
    def certificate(self) -> x509.Certificate | None:
        """The machine's own."""
        return self.chain[0] if self.chain else None


@dataclass(frozen=True)
class Due:
    """A place whose files have to change: `reasons` in words.

    `anew`: it needs a certificate; else what it has stays. `could_wait`: it still does what it should.
    """

    place: Place
    reasons: tuple[str, ...]
    anew: bool
    could_wait: bool = False


def questions(places: Sequence[Place]) -> dict[str, str]:
    """What to ask a machine about these; none of it prints a private key."""
    return {_name(place): _question(place) for place in places} | {
        f"tls trust {place.trust}": f"cat {place.trust} 2>/dev/null; true"
        for place in places
        if place.trust
    }


def _name(place: Place) -> str:
    return f"tls {place.certificate}"


def _question(place: Place) -> str:
    files = dict.fromkeys((place.certificate, place.key))
    return f"""sed -n '/^-----BEGIN CERT/,/^-----END CERT/p' {place.certificate} 2>/dev/null
openssl pkey -passin pass: -in {place.key} -pubout 2>/dev/null
stat -c '%a %U:%G' {" ".join(files)} 2>/dev/null
ls {place.folder}/{UNTOLD} 2>/dev/null; true"""


def read_found(place: Place, answers: Answers) -> Found:
    """Answers to `questions`."""
    text = answers[_name(place)].text
    blocks = [(kind[1], kind[0]) for kind in _BLOCK.finditer(text + "\n")]
    lines = _BLOCK.sub("", text + "\n").splitlines()
    public = [block for kind, block in blocks if kind == "PUBLIC KEY"]
    closed = [line for line in lines if line == f"640 root:{place.group}"]
    trust = answers.get(f"tls trust {place.trust}", Answer()).text
    return Found(
        tuple(_certificates("".join(block for kind, block in blocks if kind == "CERTIFICATE"))),
        _public_bytes(public[0]) if public else None,
        len(closed) == len({place.certificate, place.key}),
        untold=any(line.endswith(f"/{UNTOLD}") for line in lines),
        trust=trust.strip() + "\n" if trust.strip() else "",
    )


def due(
    place: Place,
    found: Found,
    authority: Authority | None,
    chain: Sequence[x509.Certificate],
    now: datetime,
) -> Due | None:
    """What has to change at a place; None when nothing has. `chain`: the user's certificates, if given."""
    if chain:
        new = list(_not_given(found, chain))
    elif place.stands_in and _is_anothers(found):
        new = list(_useless(found, now))
    else:
        new = list(_not_signed(place, found, authority, now))
    closed = [] if found.is_closed else ["its files are not those of root and the group alone"]
    old = (
        []
        if not place.trust or _trusts(found, authority)
        else ["other authorities are to be trusted"]
    )
    untold = [f"{place.unit} does not have it yet"] if found.untold else []
    reasons = (*new, *([] if new else closed), *old, *([] if new else untold))
    waits = not chain and not old and all(reason.startswith("ends in") for reason in new)
    return Due(place, reasons, bool(new), could_wait=waits) if reasons else None


def strangers(found: Mapping[str, Found], authority: Authority | None) -> list[str]:
    """Names of authorities of a fleet that signed what a machine has, and that this machine doesn't know.

    Replacing what they signed would take every other machine's trust away.
    """
    known = [*authority.trusted, *authority.retired] if authority else []
    subjects = {certificate.subject for certificate in known}
    issuers = {item.certificate.issuer for item in found.values() if item.certificate}
    return sorted(
        name for issuer in issuers - subjects if (name := _common_name(issuer)).startswith(CALLED)
    )


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether this very key has signed it."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def public_bytes(certificate: x509.Certificate) -> bytes:
    """The public key of a certificate."""
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _useless(found: Found, now: datetime) -> Iterator[str]:
    """Why no client could be served with it, whoever signed it."""
    if found.certificate is None:
        yield "there is none"
    elif found.public != public_bytes(found.certificate):
        yield "the key beside it is not its key"
    elif found.certificate.not_valid_after_utc <= now:
        yield f"it ended on {found.certificate.not_valid_after_utc:%Y-%m-%d}"


def _not_given(found: Found, chain: Sequence[x509.Certificate]) -> Iterator[str]:
    if list(found.chain) != list(chain):
        yield "the one given is another" if found.chain else "there is none"
    elif found.public != public_bytes(chain[0]):
        yield "the key beside it is not its key"


def _not_signed(
    place: Place, found: Found, authority: Authority | None, now: datetime
) -> Iterator[str]:
    certificate = found.certificate
    broken = list(_useless(found, now))
    if broken or certificate is None:
        yield from broken
        return
    if authority is None or not is_signed_by(certificate, authority.certificate):
        yield "another authority has signed it"
        return
    if names_of(certificate) != set(map(plain, place.leaf.names)):
        yield f"it is for other names than {', '.join(place.leaf.names)}"
    if purposes_of(certificate) != {PURPOSES[place.leaf.purpose]}:
        yield f"it is not for a {place.leaf.purpose}"
    left = days_left(certificate, now)
    longer = end_of_new(authority, now) - certificate.not_valid_after_utc
    if left < RENEWED_DAYS and longer > timedelta(days=1):
        yield f"ends in {left} days"


def _is_anothers(found: Found) -> bool:
    """Whether it comes from somebody who is no fleet's authority."""
    certificate = found.certificate
    return certificate is not None and not _common_name(certificate.issuer).startswith(CALLED)


def _trusts(found: Found, authority: Authority | None) -> bool:
    return authority is not None and found.trust == authority.bundle


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _certificates(text: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode()) if text else []
    except ValueError:
        return []


def _public_bytes(text: str) -> bytes | None:
    try:
        key = serialization.load_pem_public_key(text.encode())
    except ValueError:
        return None
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def shown(certificate: x509.Certificate) -> str:
    """A certificate in a few words."""
    return f"{_common_name(certificate.subject)}, SHA-256 {fingerprint_of(certificate)}"
