"""What a host needs beside GPUs: listening ports, room, a clock, servers that stay up and found GPUs."""

import ipaddress
import os
import subprocess
from pathlib import Path

import pytest

from ollama_fleet.checks import clock, discovery, estimate
from ollama_fleet.checks.disk import read_file_systems
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.ports import read_listening
from tests.unit.test_checks import PLAN, failures, healthy, judged


def found(check: str, **changes: str) -> dict[str, CheckResult]:
    """Results of one check by subject, of a host that is well but for `changes` (names with _ for space)."""
    texts = {name.replace("_", " "): text for name, text in changes.items()}
    return {result.subject: result for result in judged(texts) if result.check == check}


def test_runners_may_take_what_ports_they_like_on_loopback() -> None:
    results = found("ports")
    assert {result.status for result in results.values()} == {"ok"}
    assert results["chat"].found == "127.0.0.1:11434"
    assert results["host"].found == "nothing beyond loopback"


def test_addresses_of_both_families_are_read_as_the_kernel_prints_them() -> None:
    text = "unit u 7\nlistens 7 0100007F:2CAA\nlistens 7 00000000000000000000000001000000:0050\n"
    text += "listens 7 0000000000000000FFFF00000100007F:0051\nlistens 7 B80D0120000000000000000001000000:1"
    addresses = [one for one, _ in read_listening(text).at[7]]
    assert addresses == [
        ipaddress.ip_address(one) for one in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "2001:db8::1")
    ]


@pytest.mark.parametrize("address", ["00000000:2CAA", "00000000000000000000000000000000:2CAA"])
def test_a_slice_that_listens_to_everybody_is_told_with_its_drop_in(address: str) -> None:
    result = found("ports", ports=healthy()["ports"].replace("0100007F:2CAA", address))["chat"]
    assert result.failed and result.found in ("0.0.0.0:11434", "[::]:11434")
    assert "OLLAMA_HOST" in result.remedy


@pytest.mark.parametrize(
    ("more", "who"),
    [
        ("program 77\nlistens 77 00000000:2CAA", "process 77"),
        ("unit ollama.service 77\nprogram 77\nlistens 77 00000000:2CAC", "ollama.service"),
        ("unit ollama-old.service 77\nprogram 77\nlistens 77 0A00000A:2CAC", "ollama-old.service"),
    ],
)
def test_an_ollama_that_is_not_planned_is_told_where_others_reach_it(more: str, who: str) -> None:
    result = found("ports", ports=f"{healthy()['ports']}\n{more}")["host"]
    assert result.failed and f"({who})" in result.found


@pytest.mark.parametrize("more", ["", "\nlistens 77 0100007F:2CAC"])
def test_an_ollama_that_nobody_else_reaches_is_no_matter_of_ports(more: str) -> None:
    """A client, or somebody's own server on loopback."""
    assert found("ports", ports=f"{healthy()['ports']}\nprogram 77{more}")["host"].status == "ok"


def test_the_loader_on_loopback_is_ours_and_beyond_it_is_not() -> None:
    text = healthy()["ports"] + "\nunit ollama-loader.service 77\nprogram 77\nlistens 77 {}:2CA9"
    assert found("ports", ports=text.format("0100007F"))["host"].status == "ok"
    assert found("ports", ports=text.format("00000000"))["host"].failed


@pytest.mark.parametrize(
    ("line", "status"),
    [
        # Block size, blocks, free, inodes, free inodes.
        ("4096 2621440 1310720 655360 600000", "ok"),  # 5 of 10 GiB
        ("4096 2621440 340787 655360 600000", "warning"),  # 1.3 of 10 GiB: less than 15 %
        ("4096 2621440 78643 655360 600000", "failed"),  # 0.3 of 10 GiB: less than 4 %
        ("4096 262144000 786432 0 0", "warning"),  # 3 GiB of a large one
        ("4096 262144000 235930 0 0", "failed"),  # 0.9 GiB of a large one
        ("4096 2621440 1310720 655360 20000", "warning"),  # 3 % of its inodes
        ("4096 2621440 1310720 655360 2000", "failed"),
    ],
)
def test_room_is_judged_by_what_needs_it(line: str, status: str) -> None:
    assert found("disk", file_systems=f"ab {line} /")["host"].status == status


def test_each_file_system_is_told_once_and_those_in_trouble_alone() -> None:
    text = "ab 4096 2621440 1310720 1 1 /\nab 4096 2621440 1310720 1 1 /var/log\ncd 4096 2621440 9 1 1 /data"
    assert [one.path for one in read_file_systems(text)] == ["/", "/data"]
    assert found("disk", file_systems=text)["host"].found == "0 MiB free at /data"


def test_time_on_the_way_is_no_skew() -> None:
    """Asked at 100, read at 130 and 900 there, judged at 1000 here: whatever lies in between took time."""
    assert clock.skew_s("100\n130", "900", 1000) == 0
    assert clock.skew_s("100\n90", "860", 1000) == -10
    assert clock.skew_s("100\n300", "1070", 1000) == 70
    assert clock.skew_s("100", "", 1000) is clock.skew_s("100\nsh: date: not found", "1", 1) is None


@pytest.mark.parametrize(
    ("behind_s", "status"), [(0, "ok"), (10, "ok"), (11, "warning"), (301, "failed")]
)
def test_a_clock_is_judged_by_who_refuses_it(behind_s: int, status: str) -> None:
    text = f"1764345600\n{1764345600 - behind_s}\nsynchronized"
    assert found("clock", clock=text)["host"].status == status


@pytest.mark.parametrize(
    ("said", "programs", "status", "words"),
    [
        ("synchronized", "systemd-timesyn", "ok", "systemd-timesyncd follows server"),
        ("", "systemd-timesyn", "warning", "systemd-timesyncd has reached no server"),
        ("Leap status     : Normal", "chronyd", "ok", "chronyd follows server"),
        (
            "Leap status     : Not synchronised",
            "chronyd",
            "warning",
            "chronyd has reached no server",
        ),
        ("", "ntpd", "ok", "set by ntpd"),
        ("", "bash", "warning", "nothing sets it"),
        ("container", "bash", "ok", "set by the machine that the container runs on"),
    ],
)
def test_a_clock_that_nobody_sets_is_worth_a_look(
    said: str, programs: str, status: str, words: str
) -> None:
    text = f"1764345600\n1764345600\n{said}"
    result = found("clock", clock=text, programs=f"/proc/5/comm:{programs}")["host"]
    assert (result.status, result.found) == (status, f"as this machine; {words}")


def test_a_unit_that_systemd_starts_again_and_again_is_worth_a_look() -> None:
    units = healthy()["units"].replace("NRestarts=0", "NRestarts=3", 1)
    results = found("restarts", units=units)
    assert [result.status for result in results.values()] == ["warning", "ok"]
    assert results["chat"].found == "3 by systemd since it was started"


SAID = "said ollama-chat.service"


@pytest.mark.parametrize(
    ("lines", "status", "words"),
    [
        (f'{SAID} msg="inference compute" id=GPU-1 library=CUDA', "ok", "1 by its log"),
        (
            f'{SAID} msg="inference compute" id=cpu library=cpu',
            "failed",
            "none by its log: it uses the CPU",
        ),
        (
            f'{SAID} msg="inference compute" id=cpu library=cpu\n'
            f'{SAID} time=1 level=WARN msg="NVIDIA driver too old" driver=12.2',
            "failed",
            "none by its log: it uses the CPU; NVIDIA driver too old",
        ),
    ],
)
def test_the_log_tells_why_a_server_has_no_gpu(lines: str, status: str, words: str) -> None:
    text = f"holds ollama-chat.service 0\n{lines}\nholds ollama-code.service 1"
    results = found("gpu discovery", discovery=text)
    assert (results["chat"].status, results["chat"].found) == (status, words)
    assert results["code"].found == "it holds memory there"


def test_a_log_that_is_gone_accuses_nobody() -> None:
    assert found("gpu discovery", discovery="holds ollama-chat.service 0") == {}
    assert discovery.CHECK.ask(PLAN)["discovery"].count("least=1") == 2


def test_memory_is_compared_with_the_plan() -> None:
    results = found("weights on gpu")
    assert failures(list(results.values())) == []
    assert "MiB planned (" in results["chat"].found and "by the plan" in results["chat"].expected


def test_memory_far_from_the_plan_is_worth_a_look_and_a_clients_context_is_not() -> None:
    apps = healthy()["apps"].replace("6100", "9100", 1)
    twice = found("weights on gpu", apps=apps)["chat"]
    assert twice.status == "warning" and "fleet plan" in twice.remedy
    other = healthy()["ps"].replace("4096", "9000", 1)
    asked = found("weights on gpu", apps=apps, ps=other)["chat"]
    assert asked.status == "ok" and "planned" not in asked.found


def test_each_model_of_a_slice_has_a_driver_s_part_that_may_be_off() -> None:
    assert estimate.is_off(2282, 1811, models=1)
    assert not estimate.is_off(2282, 1811, models=2)


def test_a_quick_look_asks_no_memory_of_a_slice_that_loads_on_demand() -> None:
    """Without a generation nothing need be loaded."""
    from ollama_fleet.checks.registry import judge
    from ollama_fleet.questions import Answer
    from tests.unit.test_checks import assembled

    nothing = "".join(f'{{"models": []}}\n#{item.url}/api/ps\n' for item in PLAN.slices)
    texts = assembled({**healthy(), "apps": "", "ps": nothing})
    del texts["generations"]
    results = judge(PLAN, {name: Answer(text) for name, text in texts.items()})
    assert not any(result.check == "weights on gpu" for result in results)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The outer machine's /proc is real; what a verification keeps lies in a folder of its own."""
    (tmp_path / "programs").write_text(f"/proc/{os.getpid()}/comm:ollama\n")
    return tmp_path


def test_the_question_finds_a_real_listening_socket_of_a_strangers_ollama(machine: Path) -> None:
    """Run as it is, by a plain shell, with this very process in the place of an Ollama."""
    import socket

    from ollama_fleet.checks import ports
    from ollama_fleet.checks.programs import TABLE

    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        script = ports.QUESTION.replace(TABLE, str(machine / "programs"))
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    found = read_listening(done.stdout)
    listening = {(str(address), number) for _, (address, number) in found.strangers(set())}
    assert ("0.0.0.0", port) in listening
