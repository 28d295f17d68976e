"""A running Docker restarts for CDI only where that brings it."""

import json

import pytest

from ollama_fleet.containers import decision
from ollama_fleet.containers.daemon_json import reads_cdi
from tests.unit.test_containers_decision import DAEMON_JSON, HEAD, docker_info, plan, shell, state

ADD_RUNTIME = "--add-runtime=nvidia=/usr/bin/nvidia-container-runtime"
DOCKER_27 = "dockerd Docker version 27.1.1, build x"
DOCKER_28_3 = "dockerd Docker version 28.3.0, build x"


def with_settings(**settings: object) -> str:
    return HEAD + json.dumps(json.loads(DAEMON_JSON) | settings)


@pytest.mark.parametrize("versions", [DOCKER_27, DOCKER_28_3])
def test_cdi_that_a_person_switched_off_restarts_nothing(versions: str) -> None:
    off = with_settings(features={"cdi": False})
    assert decision.steps(plan(), state(versions=versions, daemon_json=off)) == []
    nowhere = with_settings(**{"cdi-spec-dirs": [""], "features": {"cdi": True}})
    assert decision.steps(plan(), state(versions=versions, daemon_json=nowhere)) == []


@pytest.mark.parametrize(
    "flags",
    [
        ADD_RUNTIME,
        f"{ADD_RUNTIME}\n--feature=cdi=false",
        f"{ADD_RUNTIME}\n--cdi-spec-dir=",
        f"/usr/sbin/dockerd\n{ADD_RUNTIME.replace('=', chr(10), 1)}",
    ],
)
def test_a_file_that_is_not_ours_to_change_restarts_nothing(flags: str) -> None:
    theirs = state(versions=DOCKER_27, dockerd=flags, daemon_json=HEAD + "{}")
    assert decision.steps(plan(), theirs) == []


def test_cdi_that_such_a_file_has_is_taken_up() -> None:
    text = HEAD + json.dumps({"features": {"cdi": True}})
    theirs = state(versions=DOCKER_27, dockerd=ADD_RUNTIME, daemon_json=text)
    assert "systemctl restart docker.service" in shell(decision.steps(plan(), theirs))
    taken = docker_info(CDISpecDirs=["/etc/cdi", "/var/run/cdi"])
    theirs = state(versions=DOCKER_27, dockerd=ADD_RUNTIME, daemon_json=text, docker=taken)
    assert decision.steps(plan(), theirs) == []


def test_features_on_dockerds_command_line_are_not_repeated_in_the_file() -> None:
    # With both, dockerd refuses to start.
    flags = state(versions=DOCKER_27, dockerd="--feature=cdi=true", daemon_json=HEAD + DAEMON_JSON)
    assert decision.steps(plan(), flags) == []


def test_a_restart_for_another_reason_does_not_wait_for_cdi() -> None:
    off = with_settings(features={"cdi": False})
    deaf = state(versions=DOCKER_27, daemon_json=off, docker=docker_info(Runtimes={"runc": {}}))
    done = shell(decision.steps(plan(), deaf))
    assert "systemctl reload docker.service" in done
    assert "lacks:-'CDI'" not in done


@pytest.mark.parametrize(
    ("text", "by_default", "reads"),
    [
        (None, True, True),
        (None, False, False),
        ('{"features": {"cdi": true}}', False, True),
        ('{"features": {"cdi": false}}', True, False),
        ('{"features": {"buildkit": true}}', True, True),
        ('{"cdi-spec-dirs": [""]}', True, False),
        ('{"cdi-spec-dirs": ["/etc/cdi"]}', True, True),
    ],
)
def test_what_a_docker_with_this_file_does_with_cdi(
    text: str | None, by_default: bool, reads: bool
) -> None:
    assert reads_cdi(text, by_default) is reads
