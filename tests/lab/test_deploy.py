"""From a bare host to a verified API, and what later runs do to it."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import ROOT, Fleet

CHAT = {"name": "chat", "gpus": [0], "port": 11434, "models": ["qwen3:8b"], "context": 8192}
CODE = {"name": "code", "gpus": [1], "port": 11435, "models": ["qwen2.5-coder:7b"]}
OPERATIONS = ("Preflight", "Downloads", "Ollama", "Slices", "Models", "Verify")


@pytest.fixture(scope="module")
def host(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A host that was bare, with two slices, just deployed."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    fleet.add(bare(lab, "td"), CHAT, CODE)
    run = fleet.deploy()
    assert run.code == 0, run.text
    return fleet


@pytest.fixture
def deployed(host: Fleet) -> Iterator[Fleet]:
    """It, with these two slices; a test that changes them need not put them back."""
    usual = dict(host.hosts)
    yield host
    if host.hosts != usual:
        host.hosts = usual
        assert host.deploy().code == 0


def test_a_bare_host_ends_serving_from_both_gpus(deployed: Fleet) -> None:
    request = json.dumps({"model": "qwen3:8b", "prompt": "hello", "stream": False})
    answer = json.loads(
        deployed.sh("td", f"curl -s http://127.0.0.1:11434/api/generate -d '{request}'")
    )
    assert answer["done"] and answer["response"]
    apps = deployed.sh("td", "nvidia-smi --query-compute-apps=gpu_uuid --format=csv,noheader")
    uuids = deployed.sh("td", "nvidia-smi --query-gpu=uuid --format=csv,noheader")
    assert sorted(apps.split()) == sorted(uuids.split())
    assert deployed.sh("td", "sha256sum -c --quiet /var/lib/ollama/manifest") == ""
    assert persistence(deployed) == {"Enabled"}


def persistence(fleet: Fleet) -> set[str]:
    modes = "nvidia-smi --query-gpu=persistence_mode --format=csv,noheader"
    return set(fleet.sh("td", modes).split())


def test_persistence_that_somebody_switched_off_is_on_after_the_next_run(deployed: Fleet) -> None:
    before = deployed.pids("td", "chat", "code")
    deployed.sh("td", "nvidia-smi -i 1 -pm 0")
    run = deployed.deploy()
    assert run.code == 0, run.text
    assert run.changed() == {"Slices | Run one unit per slice": ["td"]}
    assert persistence(deployed) == {"Enabled"}
    assert deployed.pids("td", "chat", "code") == before
    assert deployed.deploy().changed() == {}


def test_slices_are_hardened_and_reachable_from_the_host_only(deployed: Fleet) -> None:
    for name in ("chat", "code"):
        line = deployed.sh(
            "td", f"systemd-analyze security --no-pager ollama-{name}.service | tail -n 1"
        )
        exposure = float(line.rpartition(": ")[2].split()[0])
        assert exposure <= 1.5, line
    listening = deployed.sh("td", "ss -ltnH | awk '{print $4}'").split()
    assert {"127.0.0.1:11434", "127.0.0.1:11435"} <= set(listening)
    assert all(a.startswith("127.") or a.endswith((":22", ":5355")) for a in listening), listening


def test_a_slice_cannot_open_its_neighbour_s_gpu(deployed: Fleet) -> None:
    """A process in the slice's own control group, under the kernel's device list of that slice."""
    attempt = """
group=/sys/fs/cgroup$(systemctl show -p ControlGroup --value ollama-chat.service)
sh -c 'echo $$ >"$0/cgroup.procs"; for n in /dev/nvidia0 /dev/nvidia1 /dev/nvidiactl /dev/nvidia-uvm
do (: <>$n) 2>/dev/null && echo "open $n" || echo "refused $n"; done' "$group"
"""
    assert deployed.sh("td", attempt).splitlines() == [
        "open /dev/nvidia0",
        "refused /dev/nvidia1",
        "open /dev/nvidiactl",
        "open /dev/nvidia-uvm",
    ]


def test_slices_reach_nothing_outside_the_host(deployed: Fleet) -> None:
    attempt = """
group=/sys/fs/cgroup$(systemctl show -p ControlGroup --value ollama-chat.service)
sh -c 'echo $$ >"$0/cgroup.procs"
curl -s --max-time 3 -o /dev/null http://10.77.0.2/ && echo out || echo shut' "$group"
"""
    assert deployed.sh("td", attempt) == "shut"
    assert (
        deployed.sh("td", "curl -s --max-time 3 -o /dev/null http://10.77.0.2/ && echo out")
        == "out"
    )


def test_a_second_run_changes_nothing_and_restarts_nothing(deployed: Fleet) -> None:
    before = deployed.pids("td", "chat", "code")
    run = deployed.deploy()
    assert run.code == 0
    assert run.changed() == {}
    assert deployed.pids("td", "chat", "code") == before


def test_a_changed_slice_restarts_alone(deployed: Fleet) -> None:
    before = deployed.pids("td", "chat", "code")
    deployed.add("td", CHAT, CODE | {"context": 2048})

    look = deployed.look("--diff")
    assert look.code == 0
    assert '-Environment="OLLAMA_CONTEXT_LENGTH=4096"' in look.text
    assert '+Environment="OLLAMA_CONTEXT_LENGTH=2048"' in look.text
    assert deployed.pids("td", "chat", "code") == before

    run = deployed.deploy()
    after = deployed.pids("td", "chat", "code")
    assert run.changed() == {"Slices | Run one unit per slice": ["td"]}
    assert after["chat"] == before["chat"] and after["code"] != before["code"]
    assert "OLLAMA_CONTEXT_LENGTH=2048" in deployed.sh(
        "td", f"tr '\\0' '\\n' </proc/{after['code']}/environ"
    )


def test_a_removed_slice_is_gone_and_its_neighbour_untouched(deployed: Fleet) -> None:
    before = deployed.pids("td", "chat")
    deployed.add("td", CHAT)
    assert deployed.deploy().code == 0
    assert deployed.pids("td", "chat") == before
    left = deployed.sh(
        "td", "find /etc/systemd/system -name '*ollama-code*'; ss -ltnH 'sport = 11435'"
    )
    assert left == ""
    assert deployed.deploy().changed() == {}


def test_slices_that_swap_gpus_and_names_end_as_planned(deployed: Fleet) -> None:
    deployed.add(
        "td",
        {**CHAT, "gpus": [1], "port": 11435},
        {**CODE, "name": "coder", "gpus": [0], "port": 11434},
    )
    run = deployed.deploy()
    assert run.code == 0, run.text
    units = deployed.sh(
        "td", "systemctl list-units --plain --no-legend 'ollama-*.service' | awk '{print $1}'"
    )
    watch = {"ollama-health.service", "ollama-watchdog.service"}
    assert set(units.split()) - watch == {"ollama-chat.service", "ollama-coder.service"}
    uuids = deployed.sh("td", "nvidia-smi --query-gpu=uuid --format=csv,noheader").split()
    for name, gpu, port in (("chat", 1, 11435), ("coder", 0, 11434)):
        pid = deployed.pids("td", name)[name]
        environment = deployed.sh("td", f"tr '\\0' '\\n' </proc/{pid}/environ").splitlines()
        assert f"CUDA_VISIBLE_DEVICES={uuids[gpu]}" in environment
        assert f"OLLAMA_HOST=127.0.0.1:{port}" in environment
    assert deployed.deploy().changed() == {}


def test_slices_come_back_after_a_reboot(deployed: Fleet) -> None:
    deployed.lab.reboot("td")
    deployed.sh(
        "td", "timeout 60 sh -c 'until systemctl is-active -q ollama-code; do sleep 0.2; done'"
    )
    order = deployed.sh(
        "td",
        "journalctl -b -o short-monotonic -t systemd --no-pager | grep -oE "
        "'(Starting|Started|Finished) (ollama-devices|ollama-chat|ollama-code)'",
    )
    words = order.splitlines()
    assert words.index("Finished ollama-devices") < words.index("Starting ollama-chat")
    assert words.index("Started ollama-chat") < words.index("Starting ollama-code")
    assert persistence(deployed) == {"Enabled"}
    run = deployed.deploy()
    assert run.code == 0, run.text
    assert run.changed() == {}


def test_a_crashed_slice_comes_back_by_itself(deployed: Fleet) -> None:
    before = deployed.pids("td", "chat", "code")
    deployed.sh("td", f"kill -KILL {before['chat']}")
    deployed.sh(
        "td", "timeout 30 sh -c 'until curl -fs 127.0.0.1:11434/api/version; do sleep 0.2; done'"
    )
    after = deployed.pids("td", "chat", "code")
    assert after["chat"] != before["chat"] and after["code"] == before["code"]


def test_the_stock_ollama_unit_is_stopped_and_stays_so(fleet: Fleet, t1: str) -> None:
    unit = "[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n"
    fleet.sh(t1, f"printf '{unit}' >/etc/systemd/system/ollama.service")
    fleet.sh(t1, "systemctl enable --now ollama.service")
    fleet.add(t1, CHAT)
    assert fleet.deploy().code == 0
    state = fleet.sh(
        t1, "systemctl is-active ollama.service; systemctl is-enabled ollama.service; true"
    )
    assert state.split() == ["inactive", "disabled"]
    assert fleet.deploy().changed() == {}


@pytest.mark.parametrize(
    "words",
    [
        "downloading",
        "unpacking",
        "Creating user",
        "starting ollama",
        "Start the downloads",
        "Verify",
    ],
)
def test_a_killed_run_is_made_good_by_the_next(fleet: Fleet, t1: str, words: str) -> None:
    """Killed at the moment at which it says `words`."""
    fleet.add(t1, CHAT, CODE)
    running = start(fleet)
    read_until(running, words)
    running.send_signal(signal.SIGKILL)
    running.wait()
    # What the killed run had begun on the host may still hold its lock for a moment.
    fleet.sh(t1, "[ ! -e /run/ollama-fleet/lock ] || flock -w 30 /run/ollama-fleet/lock true")
    run = fleet.deploy()
    assert run.code == 0, run.text
    assert fleet.deploy().changed() == {}


def test_ctrl_c_is_no_success(fleet: Fleet, t1: str) -> None:
    fleet.add(t1, CHAT)
    running = start(fleet)
    read_until(running, "unpacking")
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=30)[0]
    assert running.returncode == 130
    assert "Run the same command again" in said and "Traceback" not in said


def test_a_second_deploy_at_the_same_time_leaves(fleet: Fleet, t1: str) -> None:
    fleet.add(t1, CHAT)
    fleet.sh(
        t1,
        "mkdir -p -m 700 /run/ollama-fleet && (setsid flock /run/ollama-fleet/lock sleep 600 "
        ">/dev/null 2>&1 &) ; sleep 0.3",
    )
    run = fleet.deploy()
    assert run.code == 1
    assert "another deploy is changing this host right now" in run.text


def test_a_strict_umask_of_root_changes_nothing(fleet: Fleet, t1: str) -> None:
    fleet.sh(t1, "echo 'session optional pam_umask.so umask=077' >>/etc/pam.d/common-session")
    assert fleet.sh(t1, "umask") == "0077"
    fleet.add(t1, CHAT)
    run = fleet.deploy()
    assert run.code == 0, run.text


def test_a_taken_port_is_told_at_once(fleet: Fleet, t1: str) -> None:
    fleet.sh(
        t1,
        "setsid python3 -m http.server --bind 127.0.0.1 11434 >/dev/null 2>&1 </dev/null & sleep 0.5",
    )
    fleet.add(t1, CHAT)
    started = time.monotonic()
    run = fleet.deploy()
    assert run.code == 1
    assert "ollama-chat.service does not start; its last words:" in run.text
    assert "address already in use" in run.text
    assert time.monotonic() - started < 240


def test_a_user_with_sudo_does_as_well_as_root(fleet: Fleet, t1: str) -> None:
    fleet.user = "operator"
    fleet.add(t1, CHAT, CODE)
    run = fleet.deploy()
    assert run.code == 0, run.text
    assert fleet.deploy().changed() == {}


def test_a_user_without_root_is_told_so(fleet: Fleet, t1: str) -> None:
    fleet.user = "operator"
    fleet.add(t1, CHAT, ssh={"sudo": False})
    run = fleet.deploy()
    assert run.code == 1
    assert "not root on this host; log in as root or set `ssh: {sudo: true}`" in run.text
    assert fleet.sh(t1, "ls /opt") == ""


def test_an_unreachable_host_does_not_hold_up_the_others(fleet: Fleet, t1: str) -> None:
    fleet.add(t1, CHAT)
    fleet.hosts["gone"] = {"address": "10.77.0.250", "slices": [CHAT]}
    run = fleet.deploy("--data", "ssh_connect_retries=0")
    assert run.code == 1
    assert "[gone]" in run.text and "Traceback" not in run.text
    assert fleet.sh(t1, "curl -fs 127.0.0.1:11434/api/version") == '{"version":"0.32.15"}'


def test_a_host_without_gpus_and_one_whose_driver_is_not_ours_to_install_are_refused(
    fleet: Fleet, lab: Lab
) -> None:
    for name, profile, words in (
        ("t3", "no-gpu", "no NVIDIA GPU on the PCI bus, but the inventory puts slices here"),
        ("t4", "bare-2x-rtx3090", "nvidia-smi is not installed; install the NVIDIA driver"),
    ):
        lab.ensure(name, profile)
        fleet.hosts = {}
        fleet.add(name, CHAT, driver={"manage": False})
        run = fleet.deploy()
        assert run.code == 1 and words in run.text, run.text
        assert fleet.sh(name, "ls /opt") == ""
        lab.remove(name)


def test_a_distribution_that_nobody_supports_is_refused_by_name(fleet: Fleet, t1: str) -> None:
    """Before anything is changed, and with a way out."""
    fleet.sh(t1, "cp -P /etc/os-release /etc/os-release.was; rm /etc/os-release")
    try:
        fleet.sh(t1, r"printf 'ID=centos\nVERSION_ID=7\n' >/etc/os-release")
        fleet.add(t1, CHAT)
        run = fleet.deploy()
    finally:
        fleet.sh(t1, "mv -f /etc/os-release.was /etc/os-release")
    assert run.code == 1 and "centos 7 is none that a driver can be installed on" in run.text
    assert "`driver: {manage: false}`" in run.text
    assert fleet.sh(t1, "ls /opt") == ""


def test_other_gpus_than_expected_are_refused(fleet: Fleet, t1: str) -> None:
    fleet.add(t1, CHAT, gpus=[{"model": "RTX 4090", "count": 2}])
    run = fleet.deploy()
    assert run.code == 1
    assert "the inventory expects GPUs ['RTX 4090', 'RTX 4090'], the host has" in run.text


def start(fleet: Fleet) -> "subprocess.Popen[str]":
    """A deploy in the background, whose output can be read."""
    return subprocess.Popen(
        fleet.command("-y"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def read_until(running: "subprocess.Popen[str]", words: str) -> None:
    """Read its output up to the first line that holds `words`."""
    assert running.stdout
    for line in running.stdout:
        if words in line:
            return
    raise AssertionError(f"never said '{words}'")
