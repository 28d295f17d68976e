"""Certificates of machines: made there by real openssl, judged by what is in their files."""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ollama_fleet.authority.folder import Authority, made_authority
from ollama_fleet.authority.given import read_pair
from ollama_fleet.authority.leaf import names_of, sign
from ollama_fleet.authority.places import Given, Place, gateway_places, hop_places
from ollama_fleet.authority.rotation import rotate
from ollama_fleet.authority.script import key_steps, place_steps, read_requests
from ollama_fleet.authority.state import Due, due, questions, strangers
from ollama_fleet.checks.certificates import judge_gateway_certificates
from tests.unit.authorities import Machine, plans

NOW = datetime.now(UTC)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return made_authority(tmp_path / "prod.ca")


def place_of(tmp_path: Path, kind: str) -> Place:
    gateway, hop = plans(tmp_path)
    server, client = gateway_places(gateway)
    return {"host": hop_places(hop)[0], "server": server, "client": client}[kind]


def deploy(
    machine: Machine, place: Place, authority: Authority, when: datetime = NOW, chain: Any = ()
) -> Due | None:
    """Puts right what is due, as a deploy does; returns what it was."""
    item = due(place, machine.found(place), authority, chain, when)
    if item is None:
        return None
    certificates, keys = {}, {}
    if item.anew and place.given:
        pair = read_pair(Path(place.given.certificate), Path(place.given.key))
        certificates, keys = {place.certificate: pair.certificates}, {place.certificate: pair.key}
    elif item.anew:
        requests = read_requests(machine.run(key_steps([place])))
        certificates = {
            path: sign(authority, request, place.leaf, when) for path, request in requests.items()
        }
    machine.said = machine.run(place_steps([item], certificates, keys, authority.bundle))
    return item


@pytest.mark.parametrize("kind", ["host", "server", "client"])
def test_a_bare_machine_gets_what_it_needs_and_then_stays_as_it_is(
    tmp_path: Path, machine: Machine, authority: Authority, kind: str
) -> None:
    place = place_of(tmp_path, kind)
    item = deploy(machine, place, authority)
    assert item and item.reasons[0] == "there is none"
    assert f"systemctl reload {place.unit}" in machine.said
    found = machine.found(place)
    assert found.certificate and names_of(found.certificate) == set(place.leaf.names)
    assert deploy(machine, place, authority) is None
    folder = machine.path(place.folder)
    names = {place.certificate, place.key, *([place.trust] if place.trust else [])}
    assert {path.name for path in folder.iterdir()} == {path.rpartition("/")[2] for path in names}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o640}
    assert folder.stat().st_mode & 0o777 == 0o750


def test_haproxy_finds_certificate_and_key_in_one_file(
    tmp_path: Path, machine: Machine, authority: Authority
) -> None:
    place = place_of(tmp_path, "client")
    deploy(machine, place, authority)
    text = machine.path(place.key).read_text()
    assert text.index("BEGIN CERTIFICATE") < text.index("BEGIN PRIVATE KEY")


def test_no_private_key_is_ever_asked_for_or_printed(
    tmp_path: Path, machine: Machine, authority: Authority
) -> None:
    place = place_of(tmp_path, "client")
    printed = machine.run(key_steps([place]))
    deploy(machine, place, authority)
    printed += machine.said + str(machine.ask(questions([place])))
    assert "BEGIN CERTIFICATE-----" in printed and "PUBLIC KEY" in printed
    assert "PRIVATE" not in printed


HARM = {
    "rm {certificate}": "there is none",
    "echo x >{certificate}": "there is none",
    "rm {key}": "the key beside it is not its key",
    "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {key}": "the key beside it",
    "chmod 644 {key}": "not those of root and the group alone",
    "chmod 644 {certificate}": "not those of root and the group alone",
    "rm {trust}": "other authorities are to be trusted",
    "echo x >>{trust}": "other authorities are to be trusted",
    "touch {folder}/.reload": "does not have it yet",
}


@pytest.mark.parametrize("harm", HARM)
def test_what_was_harmed_is_put_right(
    tmp_path: Path, machine: Machine, authority: Authority, harm: str
) -> None:
    place = place_of(tmp_path, "host")
    deploy(machine, place, authority)
    paths = {
        name: machine.path(getattr(place, name) or "")
        for name in ("certificate", "key", "trust", "folder")
    }
    subprocess.run(harm.format(**paths), shell=True, check=True, capture_output=True)
    item = deploy(machine, place, authority)
    assert item and HARM[harm] in "; ".join(item.reasons)
    assert deploy(machine, place, authority) is None


@pytest.mark.parametrize(("days", "renewed"), [(0, False), (336, False), (338, True), (500, True)])
def test_it_is_renewed_when_less_than_60_days_are_left(
    tmp_path: Path, machine: Machine, authority: Authority, days: int, renewed: bool
) -> None:
    place = place_of(tmp_path, "host")
    deploy(machine, place, authority)
    item = due(place, machine.found(place), authority, (), NOW + timedelta(days=days))
    assert bool(item) == renewed
    if item:
        assert item.could_wait == (days < 397)


def test_an_authority_that_ends_itself_is_not_asked_again_and_again(
    tmp_path: Path, machine: Machine, authority: Authority
) -> None:
    place = place_of(tmp_path, "host")
    late = authority.certificate.not_valid_after_utc - timedelta(days=30)
    deploy(machine, place, authority, late)
    assert deploy(machine, place, authority, late + timedelta(days=1)) is None


def test_a_new_name_makes_a_new_certificate(
    tmp_path: Path, machine: Machine, authority: Authority
) -> None:
    deploy(machine, place_of(tmp_path, "server"), authority)
    gateway, _ = plans(tmp_path, names=["llm.example.org", "ai.example.org"])
    place = gateway_places(gateway)[0]
    item = deploy(machine, place, authority)
    assert item and "it is for other names" in item.reasons[0]
    assert deploy(machine, place, authority) is None


def test_a_hosts_certificate_in_the_gateways_place_is_replaced(
    tmp_path: Path, machine: Machine, authority: Authority
) -> None:
    place = place_of(tmp_path, "host")
    wrong = replace(place, leaf=replace(place.leaf, purpose="client"))
    deploy(machine, wrong, authority)
    item = due(place, machine.found(place), authority, (), NOW)
    assert item and item.reasons == ("it is not for a server",)


def test_after_each_move_of_a_rotation_a_deploy_settles_it(
    tmp_path: Path, machine: Machine, authority: Authority
) -> None:
    place = place_of(tmp_path, "host")
    deploy(machine, place, authority)
    seen = []
    for _ in range(3):
        rotate(tmp_path / "prod.ca")
        now = made_authority(tmp_path / "prod.ca")
        item = deploy(machine, place, now)
        seen.append(item.anew if item else None)
        assert deploy(machine, place, now) is None
    assert seen == [False, True, False]


def test_an_authority_that_nobody_here_knows_is_noticed(
    tmp_path: Path, machine: Machine, authority: Authority
) -> None:
    place = place_of(tmp_path, "host")
    other = made_authority(tmp_path / "other.ca")
    deploy(machine, place, other)
    found = {place.certificate: machine.found(place)}
    assert strangers(found, other) == []
    assert strangers(found, authority) == strangers(found, None) != []
    for _ in range(3):
        rotate(tmp_path / "other.ca")
    assert strangers(found, made_authority(tmp_path / "other.ca")) == []


def own_pair(
    folder: Path, name: str = "own", days: int = 90, names: str = "llm.example.org"
) -> Given:
    """A certificate of somebody else's, and its key."""
    files = Given(str(folder / f"{name}.pem"), str(folder / f"{name}.key"))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days)),
            *("-subj", "/CN=llm", "-addext", f"subjectAltName=DNS:{names}"),
            *("-keyout", files.key, "-out", files.certificate),
        ],
        check=True,
        capture_output=True,
    )
    return files


def given_place(folder: Path, files: Given) -> tuple[Place, Any]:
    tls = {"source": "files", "certificate": files.certificate, "key": files.key}
    gateway, _ = plans(folder, tls=tls)
    place = gateway_places(gateway)[0]
    return place, read_pair(Path(files.certificate), Path(files.key)).chain


def test_files_of_the_users_take_the_place_of_the_fleets_own_and_are_replaced_when_they_change(
    tmp_path: Path, machine: Machine, authority: Authority
) -> None:
    deploy(machine, place_of(tmp_path, "server"), authority)
    for number in range(2):
        place, chain = given_place(tmp_path, own_pair(tmp_path))
        item = deploy(machine, place, authority, chain=chain)
        assert item and item.reasons == ("the one given is another",), number
        assert deploy(machine, place, authority, chain=chain) is None
    assert strangers({place.certificate: machine.found(place)}, None) == []


def test_what_stands_in_for_an_acme_certificate_gives_way_to_it(
    tmp_path: Path, machine: Machine, authority: Authority
) -> None:
    gateway, _ = plans(tmp_path, tls={"source": "acme"})
    place = gateway_places(gateway)[0]
    item = deploy(machine, place, authority)
    assert item and item.anew
    theirs, chain = given_place(tmp_path, own_pair(tmp_path))
    deploy(machine, theirs, authority, chain=chain)
    assert deploy(machine, place, authority) is None
    item = due(place, machine.found(place), authority, (), NOW + timedelta(days=91))
    assert item and item.anew
    machine.path(place.certificate).unlink()
    assert deploy(machine, place, authority)


@pytest.mark.parametrize(
    ("age_days", "status", "words"),
    [
        (0, "ok", "397 days"),
        (366, "ok", "31 days"),
        (368, "warning", "29 days"),
        (400, "failed", "ended on"),
    ],
)
def test_a_check_warns_when_less_than_30_days_are_left(
    tmp_path: Path, machine: Machine, authority: Authority, age_days: int, status: str, words: str
) -> None:
    gateway, _ = plans(tmp_path)
    for place in gateway_places(gateway):
        made = datetime.now(UTC) - timedelta(days=age_days) + timedelta(minutes=5)
        deploy(machine, place, authority, made)
    answers = machine.ask(questions(gateway_places(gateway)))
    results = judge_gateway_certificates(gateway, answers)
    assert [result.status for result in results] == [status, status]
    assert all(words in result.found for result in results)
    assert all(bool(result.remedy) == (status != "ok") for result in results)


def test_a_machine_that_has_nothing_fails_the_check(tmp_path: Path, machine: Machine) -> None:
    gateway, _ = plans(tmp_path)
    answers = machine.ask(questions(gateway_places(gateway)))
    results = judge_gateway_certificates(gateway, answers)
    assert {(result.status, result.found) for result in results} == {("failed", "there is none")}
