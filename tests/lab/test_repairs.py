"""Things that somebody breaks on a serving host by hand: the next run repairs them, and the one after that
changes nothing; or it says what only a person should decide."""

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import Fleet

CHAT = {"name": "chat", "gpus": [0], "port": 11434, "models": ["qwen3:8b"]}
UNITS = "/etc/systemd/system"


@pytest.fixture(scope="module")
def serving(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A host with one slice; each test leaves it serving."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    fleet.add(bare(lab, "t1"), CHAT)
    run = fleet.deploy()
    assert run.code == 0, run.text
    return fleet


DAMAGE = {
    "directories, rights and the binary": [
        "rm -rf /var/lib/ollama/home; systemctl restart ollama-chat || true",
        "chmod 000 /var/lib/ollama/models; chown -R root: /var/lib/ollama/models",
        "rm /opt/ollama/0.32.15/bin/ollama",
    ],
    "the link, the target and what is enabled": [
        "rm /opt/ollama/current /var/lib/ollama/manifest",
        "systemctl disable -q ollama-chat ollama.target",
        f"rm {UNITS}/ollama.target; systemctl daemon-reload",
    ],
    "a masked unit": [f"rm {UNITS}/ollama-chat.service && systemctl mask -q ollama-chat"],
    "a stopped slice": ["systemctl stop ollama-chat"],
}


@pytest.mark.parametrize("damage", list(DAMAGE.values()), ids=list(DAMAGE))
def test_damage_is_repaired_by_one_run(serving: Fleet, damage: list[str]) -> None:
    for each in damage:
        serving.sh("t1", each)
    run = serving.deploy()
    assert run.code == 0, run.text
    assert run.changed() != {}
    assert serving.deploy().changed() == {}
    left = serving.sh("t1", f"ls -d {UNITS}/*.before-fleet {UNITS}/*.fleet-new 2>/dev/null || true")
    assert left == ""


def test_a_drop_in_that_opens_the_sandbox_is_found_out(serving: Fleet) -> None:
    folder = f"{UNITS}/ollama-chat.service.d"
    serving.sh(
        "t1",
        f"mkdir -p {folder}; printf '[Service]\\nIPAddressAllow=any\\nProtectSystem=no\\n' "
        f">{folder}/x.conf; systemctl daemon-reload; systemctl restart ollama-chat",
    )
    run = serving.deploy()
    serving.sh("t1", f"rm {folder}/x.conf; systemctl daemon-reload; systemctl restart ollama-chat")
    assert run.code == 1
    assert "t1 chat: hardening failed" in run.text
    assert f"remove {folder}/x.conf" in run.text
    assert serving.deploy().code == 0


def test_something_else_in_our_place_is_said_and_left(serving: Fleet) -> None:
    serving.sh(
        "t1", "rm /opt/ollama/current && mkdir /opt/ollama/current && touch /opt/ollama/current/x"
    )
    run = serving.deploy()
    assert run.code == 1
    assert "/opt/ollama/current is a directory; move it away and run again" in run.text
    assert serving.sh("t1", "ls /opt/ollama/current") == "x"
    serving.sh("t1", "rm -r /opt/ollama/current")
    assert serving.deploy().code == 0


def test_what_a_killed_verification_left_is_swept_up(serving: Fleet) -> None:
    serving.sh("t1", "mkdir -m 700 /run/ollama-fleet/verify.999999")
    assert serving.deploy().changed() == {}
    assert serving.sh("t1", "ls -d /run/ollama-fleet/verify.* 2>/dev/null || true") == ""
