"""The fleet's own authority: made once, kept whole, and signing nothing but what machines need."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509

from ollama_fleet.authority.folder import (
    Authority,
    fingerprint_of,
    made_authority,
    new_authority,
    read_authority,
)
from ollama_fleet.authority.leaf import (
    Leaf,
    client_leaf,
    host_leaf,
    names_of,
    server_leaf,
    sign,
)
from ollama_fleet.authority.rotation import rotate
from ollama_fleet.problems import InputError
from tests.unit.authorities import is_taken, machines, plans

NOW = datetime.now(UTC)


def request_of(folder: Path, name: str) -> str:
    """A request as openssl makes it; its key lies in `folder`."""
    command = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(folder / f"{name}.key"), "-subj", "/CN=not believed"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def certificate(folder: Path, authority: Authority, leaf: Leaf, when: datetime = NOW) -> Path:
    path = folder / f"{leaf.name}-{leaf.purpose}.pem"
    path.write_text(sign(authority, request_of(folder, leaf.name), leaf, when))
    return path


def test_it_is_made_once_and_its_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "prod.ca"
    made = made_authority(folder)
    assert made_authority(folder).certificate == made.certificate
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prod.ca"]
    left = made.certificate.not_valid_after_utc - NOW
    assert timedelta(days=3649) < left < timedelta(days=3651)


def test_git_never_sees_its_key(tmp_path: Path) -> None:
    made_authority(tmp_path / "prod.ca")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    listed = subprocess.run(["git", "ls-files"], cwd=tmp_path, capture_output=True, text=True)
    assert listed.stdout.split() == ["prod.ca/.gitignore", "prod.ca/ca.pem"]


def test_runs_at_the_same_time_make_one(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from ollama_fleet.authority import folder as f; "
        "print(f.fingerprint_of(f.made_authority(Path(sys.argv[1])).certificate))"
    )

    def make(_: int) -> str:
        command = [sys.executable, "-c", program, str(tmp_path / "prod.ca")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(make, range(4)))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["prod.ca"]


def test_a_lost_key_is_said_and_no_other_authority_made(tmp_path: Path) -> None:
    folder = tmp_path / "prod.ca"
    before = made_authority(folder)
    (folder / "ca.key").unlink()
    found = made_authority(folder)
    assert found.key is None and found.certificate == before.certificate
    with pytest.raises(InputError, match=r"ca\.key: is not on this machine.*copy it from where"):
        sign(found, "", Leaf("x", ("x",), "server"), NOW)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("rm ca.pem", "ca.pem: is missing beside ca.key"),
        ("echo x >ca.pem", "ca.pem: is no certificate in PEM"),
        ("echo x >ca.key", "ca.key: is no private key in PEM"),
        ("chmod 640 ca.key", "ca.key: can be read by others.*chmod 600"),
        (
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key",
            "ca.key: is not the key of the certificate beside it",
        ),
        ("rm ca.pem ca.key", "has no ca.pem|cannot be made"),
    ],
)
def test_what_is_damaged_is_not_made_anew(tmp_path: Path, harm: str, words: str) -> None:
    folder = tmp_path / "prod.ca"
    made_authority(folder)
    subprocess.run(harm, shell=True, cwd=folder, check=True, capture_output=True)
    with pytest.raises(InputError, match=words):
        made_authority(folder)


def test_hosts_serve_gateways_call_and_neither_is_taken_for_the_other(tmp_path: Path) -> None:
    gateway, hop = plans(tmp_path)
    authority = made_authority(tmp_path / "prod.ca")
    trusted = tmp_path / "prod.ca/ca.pem"
    host = certificate(tmp_path, authority, host_leaf(hop))
    caller = certificate(tmp_path, authority, client_leaf(gateway))
    server = certificate(tmp_path, authority, server_leaf(gateway))
    taken = {
        path.name: (is_taken(trusted, path, "sslserver"), is_taken(trusted, path, "sslclient"))
        for path in (host, caller, server)
    }
    assert taken == {
        host.name: (True, False),
        caller.name: (False, True),
        server.name: (True, False),
    }


def test_what_a_certificate_says_is_ours_and_not_the_requests(tmp_path: Path) -> None:
    gateway, _ = plans(tmp_path, listen="10.0.0.50")
    authority = made_authority(tmp_path / "prod.ca")
    path = certificate(tmp_path, authority, server_leaf(gateway))
    made = x509.load_pem_x509_certificate(path.read_bytes())
    assert made.subject.rfc4514_string() == "CN=gw1"
    known = {"llm.example.org", "10.0.0.5", "10.0.0.50", "gw1", "localhost", "127.0.0.1", "::1"}
    assert names_of(made) == known
    assert made.not_valid_after_utc - NOW < timedelta(days=397, seconds=1)


def test_no_certificate_outlives_its_authority(tmp_path: Path) -> None:
    authority = made_authority(tmp_path / "prod.ca")
    late = authority.certificate.not_valid_after_utc - timedelta(days=100)
    path = certificate(tmp_path, authority, Leaf("one", ("one",), "server"), late)
    made = x509.load_pem_x509_certificate(path.read_bytes())
    assert made.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_in_a_rotation_every_machine_trusts_every_other_before_and_after_each_deploy(
    tmp_path: Path,
) -> None:
    folder, leaf = tmp_path / "prod.ca", Leaf("one", ("one",), "server")
    made_authority(folder)
    states = [authority_state(tmp_path, 0, leaf)]
    for move in (1, 2, 3):
        assert rotate(folder) == move
        states.append(authority_state(tmp_path, move, leaf))
    for (trust, its), (next_trust, next_its) in pairwise(states):
        assert is_taken(trust, next_its, "sslserver")
        assert is_taken(next_trust, its, "sslserver")
    assert not is_taken(states[3][0], states[0][1], "sslserver")
    again = read_authority(folder)
    assert again and len(again.trusted) == 1 and len(again.retired) == 1 and again.key


def authority_state(folder: Path, move: int, leaf: Leaf) -> tuple[Path, Path]:
    """What a machine trusts, and the certificate that it has, when it was deployed to now."""
    authority = made_authority(folder / "prod.ca")
    trust, own = folder / f"trust{move}.pem", folder / f"own{move}.pem"
    trust.write_text(authority.bundle)
    own.write_bytes(certificate(folder, authority, leaf).read_bytes())
    return trust, own


def test_a_rotation_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "prod.ca"
    first = made_authority(folder)
    rotate(folder)
    # As if the second move had ended after its first half.
    (folder / "previous.pem").hardlink_to(folder / "ca.pem")
    (folder / "next.key").replace(folder / "ca.key")
    with pytest.raises(InputError, match="is not the key"):
        read_authority(folder)
    assert rotate(folder) == 2
    found = made_authority(folder)
    assert found.trusted[1] == first.certificate and found.key


def test_a_lost_key_is_no_obstacle_to_a_rotation(tmp_path: Path) -> None:
    folder = tmp_path / "prod.ca"
    made_authority(folder)
    (folder / "ca.key").unlink()
    assert [rotate(folder) for _ in range(3)] == [1, 2, 3]
    assert made_authority(folder).key


def test_a_rotation_needs_an_authority(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no authority to rotate"):
        rotate(tmp_path / "prod.ca")


def test_two_authorities_of_one_fleet_have_different_names() -> None:
    assert new_authority("prod")[0].subject != new_authority("prod")[0].subject


def test_a_fingerprint_is_that_of_openssl(tmp_path: Path) -> None:
    made = made_authority(tmp_path / "prod.ca").certificate
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in"]
    said = subprocess.run(
        [*command, str(tmp_path / "prod.ca/ca.pem")], capture_output=True, text=True
    )
    assert said.stdout.strip().partition("=")[2] == fingerprint_of(made)


def test_plans_say_where_their_authority_is(tmp_path: Path) -> None:
    gateway, hop = plans(tmp_path)
    assert gateway.authority == hop.authority == str(tmp_path / "prod.ca")
    assert not (tmp_path / "prod.ca").exists()


def test_a_single_host_on_loopback_needs_no_certificates(tmp_path: Path) -> None:
    from ollama_fleet.authority.places import gateway_places, hop_places

    local = {"listen": "127.0.0.1", "port": 8080, "tls": {"source": "none"}, "keys": "none"}
    host = {"one": {"slices": []}}
    data = machines(tmp_path, local, gateways={}, hosts=host)["one"]
    assert gateway_places(data["gateway_plan"]) == hop_places(data["plan"].hop) == ()
