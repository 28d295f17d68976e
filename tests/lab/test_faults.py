"""Each thing that breaks on a serving host is found, said with host, slice and remedy, and the next run
after the repair is well again."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import Fleet

CHAT = {"name": "chat", "gpus": [0], "port": 11434, "models": ["qwen3:8b"]}
CODE = {"name": "code", "gpus": [1], "port": 11435, "models": ["qwen2.5-coder:7b"]}


@pytest.fixture(scope="module")
def serving(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A host with two slices; each test breaks it, repairs it and leaves it serving."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    fleet.add(bare(lab, "t1"), CHAT, CODE)
    # What is broken here is to stay so until a run has found it.
    fleet.settings = {"watchdog": {"enabled": False}}
    run = fleet.deploy()
    assert run.code == 0, run.text
    return fleet


# Fault, its parameters, and what the next run says.
FAULTS = [
    ("gpu-lost", {"gpu": 1}, ["is lost; reboot the host"]),
    (
        "ecc",
        {"gpu": 1},
        ["ecc failed", "row remapping failed", "uncorrected ECC errors", "replace the card"],
    ),
    (
        "wrong-driver",
        {},
        [
            "driver 575.57.08 is loaded, but 580.95.05 is installed",
            "driver 580.95.05 is installed and does not come up",
        ],
    ),
    ("ollama-slow", {"tokens_per_s": 8}, ["t1 chat: speed failed", "found:    8.0 tokens/s"]),
]


@pytest.mark.parametrize(("fault", "given", "words"), FAULTS, ids=[row[0] for row in FAULTS])
def test_a_broken_host_is_found_out(
    serving: Fleet, fault: str, given: dict, words: list[str]
) -> None:
    serving.lab.fault("t1", fault, **given)
    try:
        run = serving.deploy()
    finally:
        serving.lab.clear("t1", fault)
    assert run.code == 1, run.text
    assert "Traceback" not in run.text
    for word in words:
        assert word in run.text
    serving.sh("t1", "sleep 1.5; systemctl restart ollama-devices; systemctl restart ollama.target")
    assert serving.deploy().code == 0


# What breaks a host, what mends it, and the answers that differ meanwhile.
UNSEEN = [
    ("systemctl stop ollama-code", "systemctl start ollama-code", {"units", "api"}),
    (
        "mkdir -p /run/systemd/system/ollama-chat.service.d && printf '[Service]\\nProtectHome=no\\n' "
        ">/run/systemd/system/ollama-chat.service.d/50-mine.conf && systemctl daemon-reload",
        "rm -r /run/systemd/system/ollama-chat.service.d && systemctl daemon-reload",
        {"units"},
    ),
]


HIDDEN = (("ecc", "smi"), ("wrong-driver", "driver.loaded"), ("gpu-throttled", "health.gpus"))


def looks(serving: Fleet) -> tuple[int, set[str]]:
    """What the host finds when it looks at itself: exit code, and which answers differ."""
    done = serving.lab.ssh("t1", "/opt/ollama/libexec/ollama-selfcheck now")
    state = serving.sh("t1", "cat /run/ollama-selfcheck/state")
    found = {line.split()[1] for line in state.splitlines() if line.startswith("changed ")}
    return done.returncode, found


def test_a_host_notices_by_itself_what_is_not_as_it_was_proved(serving: Fleet) -> None:
    assert serving.sh("t1", "systemctl is-active ollama-selfcheck.timer") == "active"
    assert looks(serving) == (0, set())
    serving.sh("t1", "systemctl start ollama-selfcheck.service")
    for breaks, mends, answers in UNSEEN:
        serving.sh("t1", breaks)
        code, found = looks(serving)
        serving.sh("t1", mends)
        assert code == 1 and answers <= found, (breaks, found)
        assert looks(serving) == (0, set()), mends
    for fault, answer in (
        ("ecc", "smi"),
        ("wrong-driver", "driver.loaded"),
        ("gpu-throttled", "health.gpus"),
    ):
        serving.lab.fault("t1", fault)
        code, found = looks(serving)
        serving.lab.clear("t1", fault)
        assert code == 1 and answer in found, (fault, found)
    assert looks(serving) == (0, set())


def test_pain_13_slices_wait_for_nvidia_uvm_and_never_serve_from_the_cpu(serving: Fleet) -> None:
    """Nothing in the kernel makes its nodes; Ollama without them takes the CPU and looks healthy."""
    serving.lab.fault("t1", "uvm-missing")
    try:
        serving.lab.reboot("t1")
        run = serving.deploy()
        answers = "curl -fs 127.0.0.1:11434/api/version || curl -fs 127.0.0.1:11435/api/version"
        assert serving.lab.ssh("t1", answers).returncode != 0
    finally:
        serving.lab.clear("t1", "uvm-missing")
    assert run.code == 1 and "Traceback" not in run.text
    assert "ollama-chat.service does not start" in run.text
    assert "/dev/nvidia-uvm is missing" in run.text
    # Whoever boots it in this state finds it waiting: a driver that comes late is enough.
    serving.sh(
        "t1", "timeout 90 sh -c 'until systemctl is-active -q ollama-code; do sleep 0.2; done'"
    )
    assert serving.deploy().code == 0
    used = serving.sh("t1", "nvidia-smi --query-compute-apps=gpu_uuid --format=csv,noheader")
    assert len(set(used.split())) == 2


def test_a_runner_that_crashes_is_told_in_ollama_s_words(serving: Fleet) -> None:
    serving.lab.fault("t1", "ollama-crashed")
    serving.sh("t1", "systemctl restart ollama-chat || true")
    try:
        run = serving.deploy()
    finally:
        serving.lab.clear("t1", "ollama-crashed")
    assert run.code == 1 and "Traceback" not in run.text
    assert "chat" in run.text and "journalctl -u ollama-chat.service" in run.text
    serving.sh("t1", "systemctl restart ollama.target")
    assert serving.deploy().code == 0


@pytest.mark.breaks("inference")
def test_a_hung_slice_is_told_after_the_time_it_is_given(serving: Fleet) -> None:
    serving.lab.fault("t1", "ollama-hung")
    try:
        run = serving.deploy("--data", "verify_timeout_s=3")
    finally:
        serving.lab.clear("t1", "ollama-hung")
    assert run.code == 1 and "t1 chat: inference failed" in run.text
    serving.sh("t1", "systemctl restart ollama.target")
    assert serving.deploy().code == 0


@pytest.mark.breaks("reachable")
def test_a_host_that_lost_its_network_is_told_and_comes_back(
    serving: Fleet, tmp_path: Path
) -> None:
    def told() -> list[str]:
        cases = ElementTree.parse(tmp_path / "junit.xml").iter("testcase")
        reached = [case.find("error") for case in cases if case.attrib["name"] == "reachable"]
        return [error.attrib["message"] for error in reached if error is not None]

    report = ("--data", f"report={tmp_path}")
    serving.lab.fault("t1", "network-cut")
    try:
        run = serving.deploy("--data", "ssh_connect_retries=0", *report)
    finally:
        serving.lab.clear("t1", "network-cut")
    assert run.code == 1 and "Traceback" not in run.text
    assert "t1: cannot be reached: Could not connect" in " ".join(run.text.split())
    (error,) = told()
    assert "Could not connect" in error and "is it up, and is the address right?" in error
    assert serving.deploy(*report).changed() == {}
    assert told() == []


@pytest.mark.alone
def test_a_model_that_cannot_be_pulled_is_named(serving: Fleet) -> None:
    """The archive is there already; now the model's blobs come cut short, then it does not exist."""
    chat = CHAT | {"models": ["qwen3:8b", "llama3.2:1b"]}
    serving.add("t1", chat, CODE)
    serving.lab.fault("mirror", "mirror-truncating")
    try:
        run = serving.deploy()
    finally:
        serving.lab.clear("mirror", "mirror-truncating")
    assert run.code == 1
    assert "llama3.2:1b: cannot fetch http://10.77.0.2/v2/library/llama3.2/blobs/" in run.text
    serving.add("t1", CHAT | {"models": ["qwen3:8b", "nothing-like-it"]}, CODE)
    run = serving.deploy()
    assert (
        run.code == 1
        and "nothing-like-it:latest: http://10.77.0.2/v2/library/nothing-like-it has no latest"
        in run.text
    )
    serving.add("t1", chat, CODE)
    run = serving.deploy()
    assert run.code == 0, run.text
    assert serving.sh("t1", "systemctl is-active ollama-fetch-models.service || true") == "inactive"
    serving.add("t1", CHAT, CODE)
    assert serving.deploy().code == 0


def test_a_slice_whose_device_list_was_opened_is_found_out(serving: Fleet) -> None:
    """A hand-made drop-in is not ours to delete; that it breaks the isolation is ours to say."""
    folder = "/etc/systemd/system/ollama-chat.service.d"
    serving.sh(
        "t1",
        f"mkdir -p {folder} && printf '[Service]\\nDeviceAllow=/dev/nvidia1 rw\\n' >{folder}/mine.conf"
        " && systemctl daemon-reload && systemctl restart ollama-chat",
    )
    run = serving.deploy()
    serving.sh(
        "t1", f"rm {folder}/mine.conf && systemctl daemon-reload && systemctl restart ollama-chat"
    )
    assert run.code == 1
    assert "t1 chat: isolation failed" in run.text
    assert "expected: may open /dev/nvidia0 only" in run.text
    assert "found:    may open /dev/nvidia0, /dev/nvidia1" in run.text


def test_a_hand_edited_unit_is_put_right(serving: Fleet) -> None:
    serving.sh(
        "t1",
        "sed -i 's/CONTEXT_LENGTH=4096/CONTEXT_LENGTH=512/' /etc/systemd/system/ollama-code.service"
        " && systemctl daemon-reload && systemctl restart ollama-code",
    )
    before = serving.pids("t1", "chat", "code")
    assert serving.deploy().code == 0
    after = serving.pids("t1", "chat", "code")
    assert after["chat"] == before["chat"] and after["code"] != before["code"]


def test_a_model_whose_blob_was_cut_is_fetched_again(serving: Fleet) -> None:
    blob = serving.sh(
        "t1",
        "cd /var/lib/ollama/models && grep -o 'sha256:[0-9a-f]*' "
        "manifests/registry.ollama.ai/library/qwen3/8b | sed 's|sha256:|/var/lib/ollama/models/blobs/"
        "sha256-|' | xargs ls -S | head -n 1",
    )
    serving.sh("t1", f"truncate -s 10 {blob}")
    run = serving.deploy()
    assert "Downloads | Start the downloads" in run.changed(), run.text
    assert run.code == 0 and "was broken" in serving.sh("t1", "journalctl -u ollama-fetch-models")
    digest = blob.rpartition("sha256-")[2]
    assert serving.sh("t1", f"sha256sum {blob} | cut -d' ' -f1") == digest


ALONE = pytest.mark.alone
SMALL = {"name": "small", "gpus": [0], "models": ["qwen3:0.6b"]}


@pytest.mark.parametrize(
    ("fault", "where", "item", "words"),
    [
        pytest.param("mirror-down", "mirror", SMALL, "cannot fetch http://10.77.0.2/", marks=ALONE),
        pytest.param("mirror-truncating", "mirror", SMALL, "Ollama here is unchanged", marks=ALONE),
        ("disk-full", "t2", SMALL, "0.0 GiB are free at /var/lib/ollama/models"),
        ("disk-full", "t2", {**SMALL, "models": []}, "0.0 GiB are free at /opt/ollama"),
    ],
)
def test_a_download_that_fails_leaves_nothing_behind_and_is_made_good(
    fleet: Fleet, t2: str, fault: str, where: str, item: dict, words: str
) -> None:
    fleet.add(t2, item)
    # The few commands that a deploy needs are there already: this is about the archive.
    fleet.sh(t2, "apt-get -qq update && apt-get -qq install -y curl zstd >/dev/null")
    fleet.lab.fault(where, fault)
    try:
        run = fleet.deploy()
    finally:
        fleet.lab.clear(where, fault)
    assert run.code == 1 and "Traceback" not in run.text
    assert words in run.text
    assert fleet.sh(t2, "ls -d /opt/ollama/0* /opt/ollama/current 2>/dev/null || true") == ""
    run = fleet.deploy()
    assert run.code == 0, run.text
