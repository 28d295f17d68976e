"""certbot on a gateway: when it is called, with what, and when it is left alone."""

import subprocess
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ollama_fleet.authority.acme import (
    LETSENCRYPT,
    AcmeState,
    acme_questions,
    acme_steps,
    hook_file,
    read_acme,
)
from ollama_fleet.authority.state import Found
from ollama_fleet.gateway.places import ACME_HOOK
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.problems import InputError
from ollama_fleet.questions import Answer
from ollama_fleet.templating import HostFile
from tests.unit.authorities import plans

ACME = {"source": "acme", "email": "ops@example.org"}


def certificate(folder: Path, name: str) -> x509.Certificate:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a"]
    command += ["-keyout", "/dev/null", "-addext", f"subjectAltName=DNS:{name}"]
    done = subprocess.run(command, capture_output=True, check=True)
    return x509.load_pem_x509_certificate(done.stdout)


@pytest.fixture
def plan(tmp_path: Path) -> GatewayPlan:
    return plans(tmp_path, tls=ACME)[0]


@pytest.fixture
def well(tmp_path: Path) -> AcmeState:
    """A machine on which certbot does what it should."""
    return AcmeState(
        packager="apt",
        has_certbot=True,
        renewal=f"version = 2.1.0\n[renewalparams]\nserver = {LETSENCRYPT}\n",
        hook=sha256(hook_file().text.encode()).hexdigest(),
        is_placed=True,
        is_renewed=True,
        found=Found((certificate(tmp_path, "llm.example.org"),), None, True),
    )


def called(plan: GatewayPlan, state: AcmeState) -> str:
    return "\n".join(step for step in acme_steps(plan, state) if isinstance(step, str))


def test_where_all_is_well_certbot_is_left_alone(plan: GatewayPlan, well: AcmeState) -> None:
    assert acme_steps(plan, well) == []


@pytest.mark.parametrize(
    "change",
    [
        {"has_certbot": False},
        {"renewal": ""},
        {"hook": ""},
        {"is_placed": False},
        {"is_renewed": False},
        {"found": Found((), None, True)},
    ],
)
def test_whatever_lacks_is_put_right(
    plan: GatewayPlan, well: AcmeState, change: dict[str, Any]
) -> None:
    state = replace(well, **change)
    assert (
        f"certbot certonly --non-interactive --agree-tos --email ops@example.org --server {LETSENCRYPT}"
        in called(plan, state)
    )
    assert ("install certbot" in called(plan, state)) == (not state.has_certbot)
    assert [step.path for step in acme_steps(plan, state) if isinstance(step, HostFile)] == [
        ACME_HOOK
    ]


def test_a_certificate_that_is_there_is_kept_unless_it_is_anothers(
    tmp_path: Path, plan: GatewayPlan, well: AcmeState
) -> None:
    assert "--keep-until-expiring" in called(plan, replace(well, is_renewed=False))
    other, _ = plans(tmp_path, tls={**ACME, "directory": "https://ca.example.org/dir"})
    assert "--server https://ca.example.org/dir" in called(other, well)
    assert "--force-renewal" in called(other, well)


def test_another_name_makes_another_certificate(tmp_path: Path, well: AcmeState) -> None:
    plan, _ = plans(tmp_path, tls=ACME, names=["llm.example.org", "ai.example.org"])
    assert "-d llm.example.org -d ai.example.org" in called(plan, well)


def test_without_an_email_nobody_is_written_to(tmp_path: Path, well: AcmeState) -> None:
    plan, _ = plans(tmp_path, tls={"source": "acme"})
    assert "--register-unsafely-without-email" in called(plan, replace(well, renewal=""))


def test_a_gateway_with_another_certificate_has_certbot_forget_its_own(
    tmp_path: Path, well: AcmeState
) -> None:
    plan, _ = plans(tmp_path)
    assert list(acme_questions(plan)) == ["acme.renewal"]
    nothing = read_acme(plan, {"acme.renewal": Answer()})
    assert acme_steps(plan, nothing) == []
    there = read_acme(plan, {"acme.renewal": Answer(well.renewal)})
    assert "certbot delete" in called(plan, there)


def test_port_80_cannot_be_the_gateways_own_then(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gateway\.port.*is where the authority"):
        plans(tmp_path, tls=ACME, port=80)


def test_what_certbot_runs_is_sound_shell() -> None:
    subprocess.run(["sh", "-n"], input=hook_file().text, text=True, check=True)
