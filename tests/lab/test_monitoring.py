"""What hosts and gateways show to monitors: the truth, of now, to nobody else; and nothing is left where
the inventory has it no more. One fleet for all of them; each fault is taken back."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, Fleet
from tests.lab.monitored import (
    CHAT,
    CODE,
    GATEWAY,
    HOST,
    PORT,
    Samples,
    Watched,
    settings,
    value,
    values,
)
from tests.lab.reach import listening

MIB = 2**20


@pytest.fixture(scope="module")
def watched(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The fleet, just deployed."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    bare(lab, GATEWAY, "no-gpu")
    gpus = [{"model": "RTX 3090", "count": 2}]
    fleet.add(
        bare(lab, HOST, "2x-rtx3090"),
        {"name": "chat", "gpus": [0], "models": [CHAT], "port": 11434},
        {"name": "code", "gpus": [1], "models": [CODE, "nomic-embed-text"], "port": 11435},
        gpus=gpus,
    )
    fleet.settings = settings(lab)
    run = fleet.deploy()
    assert run.code == 0, run.text
    yield Watched(fleet)
    for host in (GATEWAY, HOST):
        lab.remove(host)


def test_monitors_get_in_and_nobody_else(watched: Watched) -> None:
    for machine in (HOST, GATEWAY):
        assert watched.get(machine).status_code == 200
        # Of the fleet's authority, but of a gateway; and of a machine, which only serves.
        assert watched.get(machine, verify=watched.certificate(GATEWAY)).status_code == 403
        served = watched.certificate("watcher", "serverAuth")
        assert watched.get(machine, verify=served).status_code == 400
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://{watched.lab.address(machine)}:{PORT + 1}/metrics", timeout=3)


def test_exporters_are_on_loopback_and_the_firewall_lets_only_monitors_through(
    watched: Watched,
) -> None:
    for machine in (HOST, GATEWAY):
        ports = {port for port in listening(watched.lab, machine) if port in range(PORT, PORT + 8)}
        assert ports == {PORT}
    stranger = watched.lab.ssh(
        GATEWAY, f"curl -sk --max-time 3 https://{watched.lab.address(HOST)}:{PORT}/metrics"
    )
    assert stranger.returncode == 28, "a gateway is no monitor"


def test_what_is_shown_is_what_the_host_says_itself(watched: Watched) -> None:
    fleet, shown = watched.fleet, watched.metrics(HOST)
    rows = fleet.sh(
        HOST,
        "nvidia-smi --query-gpu=index,uuid,memory.total,memory.used,power.limit,name "
        "--format=csv,noheader,nounits",
    )
    for row in rows.splitlines():
        index, uuid, total, used, limit, name = row.split(", ")
        of = {"gpu": index, "uuid": uuid, "name": name}
        assert value(shown, "ollama_gpu_memory_total_bytes", **of) == int(total) * MIB
        assert value(shown, "ollama_gpu_memory_used_bytes", **of) == int(used) * MIB
        assert value(shown, "ollama_gpu_power_limit_watts", **of) == float(limit)
        assert value(shown, "ollama_gpu_lost", **of) == 0
    assert value(shown, "ollama_gpu_count") == value(shown, "ollama_gpu_pci_count") == 2
    for name, port in (("chat", 11434), ("code", 11435)):
        loaded = json.loads(fleet.sh(HOST, f"curl -s http://127.0.0.1:{port}/api/ps"))["models"]
        assert loaded
        for model in loaded:
            of = {"slice": name, "model": model["name"]}
            assert value(shown, "ollama_slice_model_loaded", **of) == 1
            assert value(shown, "ollama_slice_model_size_bytes", **of) == model["size"]
            assert value(shown, "ollama_slice_model_vram_bytes", **of) == model["size_vram"]
        assert value(shown, "ollama_slice_up", slice=name) == 1
        assert value(shown, "ollama_slice_serving", slice=name) == 1
        size = sum(model["size"] for model in loaded)
        assert value(shown, "ollama_slice_memory_used_bytes", slice=name) >= size
        planned = value(shown, "ollama_slice_memory_planned_bytes", slice=name)
        assert 0.5 < planned / size < 3
    ends = values(shown, "ollama_certificate_end_seconds")
    assert len(ends) == 2 and min(ends) > value(shown, "node_time_seconds") + 86400 * 300


def test_what_is_shown_is_in_prometheus_own_format(watched: Watched) -> None:
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("promtool is not installed here: apt-get install prometheus")
    for machine, path in ((HOST, "/metrics"), (GATEWAY, "/metrics/gateway")):
        lines = [line for line in watched.get(machine, path).text.splitlines() if "ollama_" in line]
        done = subprocess.run(
            [promtool, "check", "metrics"],
            input="\n".join([*lines, ""]),
            capture_output=True,
            text=True,
        )
        # Of these names promtool says that `_count` is for histograms; they say what they are.
        said = [line for line in done.stderr.splitlines() if "_count" not in line.split()[0]]
        assert not said and done.returncode in (0, 3), done.stdout + done.stderr


def counts(found: Samples) -> Counter:
    """What a gateway counted: requests and tokens, by slice, model and status or direction."""
    shown = Counter(refused=int(sum(values(found, "ollama_requests_total", status="401"))))
    for (name, labels), number in found.items():
        of = dict(labels)
        if name in ("ollama_requests_total", "ollama_tokens_total") and of.get("status") != "401":
            slice_name = of["slice"].removeprefix(f"{HOST}.")
            shown[slice_name, of["model"], of.get("status") or of["direction"]] = int(number)
    return shown


def test_a_gateway_counts_requests_by_model_slice_and_status(watched: Watched) -> None:
    """As the answers themselves said; and none is lost or counted twice when its log is rotated."""
    fleet, log = watched.fleet, "/metrics/gateway"
    inventory = str(fleet.inventory.with_suffix(".yml"))
    add = [str(BIN / "fleet"), "key", "add", inventory, "ann", "--yes"]
    key = subprocess.run(add, capture_output=True, text=True, check=True).stdout.strip()
    # The deploy itself has knocked without a key.
    knocks = "grep -c '\"status\":401' /var/log/ollama-gateway/access.log || true"
    counted = Counter(refused=int(fleet.sh(GATEWAY, knocks)))

    def ask(model: str, slice_name: str) -> None:
        body = json.dumps({"model": model, "prompt": "hi", "options": {"num_predict": 5}})
        call = f"curl -sk https://127.0.0.1/api/generate -d '{body}'"
        assert "error" in fleet.sh(GATEWAY, call)
        said = fleet.sh(GATEWAY, f"{call} -H 'Authorization: Bearer {key}'")
        end = json.loads(said.splitlines()[-1])
        counted.update(
            {
                "refused": 1,
                (slice_name, model, "200"): 1,
                (slice_name, model, "in"): end["prompt_eval_count"],
                (slice_name, model, "out"): end["eval_count"],
            }
        )

    def shows(found: Samples) -> bool:
        return counts(found) == counted

    ask(CODE, "code")
    ask(CHAT, "chat")
    watched.until(shows, 60, GATEWAY, log)
    fleet.sh(GATEWAY, "logrotate -f /etc/logrotate.d/ollama-gateway")
    ask(CODE, "code")
    watched.until(shows, 60, GATEWAY, log)
    assert "hi" not in watched.get(GATEWAY, "/metrics/gateway").text.split('"')
    queues = watched.metrics(GATEWAY, "/metrics/haproxy")
    assert values(queues, "haproxy_backend_current_queue", proxy="slices") == [0]
    assert value(watched.metrics(GATEWAY, "/metrics/nginx"), "nginx_up") == 1


def test_a_lost_gpu_and_broken_memory_show(watched: Watched) -> None:
    lab = watched.lab
    lab.fault(HOST, "gpu-lost", gpu=1)
    lab.fault(HOST, "ecc", gpu=0)
    lab.fault(HOST, "gpu-throttled", gpu=0)
    before = value(watched.metrics(HOST), "ollama_gpu_xid_total", gpu="0")
    lab.fault(HOST, "xid", gpu=0, xid=48)
    try:
        shown = watched.until(
            lambda found: (
                values(found, "ollama_gpu_lost", gpu="1") == [1]
                and values(found, "ollama_gpu_xid_total", gpu="0") == [before + 1]
            )
        )
        assert value(shown, "ollama_gpu_ecc_uncorrected_total", gpu="0") > 0
        assert value(shown, "ollama_gpu_throttled", gpu="0", reason="hw_thermal") == 1
        assert value(shown, "ollama_gpu_count") == 1 and value(shown, "ollama_gpu_pci_count") == 2
        assert values(shown, "ollama_gpu_memory_used_bytes", gpu="1") == []
        # Its slice answers all the same; the health watch knows better.
        watched.until(
            lambda found: value(found, "ollama_slice_serving", slice="code") == 0, within_s=60
        )
    finally:
        for fault in ("gpu-lost", "ecc", "gpu-throttled", "xid"):
            lab.clear(HOST, fault)
        watched.fleet.sh(HOST, "systemctl restart ollama-devices; systemctl restart ollama.target")
    watched.until(
        lambda found: (
            value(found, "ollama_gpu_count") == 2
            and values(found, "ollama_slice_serving") == [1, 1]
        ),
        within_s=60,
    )


def test_a_slice_that_stands_or_is_drained_shows(watched: Watched) -> None:
    fleet = watched.fleet
    fleet.sh(HOST, "systemctl stop ollama-code")
    shown = watched.until(lambda found: value(found, "ollama_slice_up", slice="code") == 0)
    assert value(shown, "ollama_slice_serving", slice="code") == 0
    assert value(shown, "ollama_slice_model_loaded", slice="code", model=CODE) == 0
    assert value(shown, "ollama_slice_up", slice="chat") == 1
    fleet.sh(
        HOST,
        "systemctl start ollama-code; touch /var/lib/ollama/drained/code 2>/dev/null || "
        "{ mkdir -p /var/lib/ollama/drained; touch /var/lib/ollama/drained/code; }",
    )
    watched.until(lambda found: value(found, "ollama_slice_drained", slice="code") == 1)
    fleet.sh(HOST, "rm /var/lib/ollama/drained/code")
    watched.until(lambda found: values(found, "ollama_slice_serving") == [1, 1], within_s=60)


def test_a_second_run_changes_nothing_and_one_that_finds_an_exporter_stopped_starts_it(
    watched: Watched,
) -> None:
    run = watched.fleet.deploy()
    assert run.code == 0, run.text
    assert run.changed() == {}

    watched.fleet.sh(HOST, "systemctl stop ollama-metrics")
    watched.fleet.sh(
        GATEWAY, "systemctl stop ollama-mtail; echo x >>/etc/ollama/monitoring/nginx.conf"
    )
    run = watched.fleet.deploy()
    assert run.code == 0, run.text
    changed = run.changed()
    assert changed["Metrics | Show the metrics"] == [HOST]
    assert changed["Gateway metrics | Show the metrics"] == [GATEWAY]
    assert watched.get(HOST).status_code == watched.get(GATEWAY).status_code == 200


@pytest.mark.breaks("metrics", "certificate for monitors")
def test_an_exporter_that_stands_and_a_key_that_is_another_are_found_and_mended(
    watched: Watched,
) -> None:
    tls = "/etc/ollama/monitoring/tls"
    watched.fleet.sh(
        HOST,
        f"systemctl stop ollama-metrics; openssl genpkey -algorithm EC -pkeyopt "
        f"ec_paramgen_curve:P-256 -out {tls}/server.key 2>/dev/null",
    )
    watched.fleet.sh(GATEWAY, "systemctl stop ollama-mtail")
    hosts = ("--host", HOST, "--host", GATEWAY)
    words = (*hosts, "--check", "metrics", "--check", "certificate for monitors")
    verify = [str(BIN / "fleet"), "verify", str(watched.fleet.inventory.with_suffix(".yml"))]
    done = subprocess.run([*verify, *words, "--json"], capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ollama-metrics is inactive" in done.stdout
    assert "is not its key" in done.stdout
    assert "ollama-mtail is inactive" in done.stdout

    assert watched.fleet.deploy().code == 0
    done = subprocess.run([*verify, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert watched.get(HOST).status_code == 200


def test_units_are_closed(watched: Watched) -> None:
    for machine in (HOST, GATEWAY):
        said = watched.fleet.sh(
            machine,
            "for unit in $(cd /etc/systemd/system && ls ollama-metrics*.service ollama-node-exporter.service "
            "ollama-mtail.service ollama-nginx-exporter.service ollama-certificates.service 2>/dev/null); do "
            "systemd-analyze security --no-pager $unit | sed -n 's/.*Overall exposure level for //p'; done",
        )
        levels = {line.split(":")[0]: float(line.split()[1]) for line in said.splitlines()}
        assert len(levels) >= 4 and max(levels.values()) <= 1.5, levels


def test_nothing_is_left_where_the_inventory_has_no_monitoring_any_more(watched: Watched) -> None:
    """Last: the fleet is not monitored afterwards."""
    for key in ("monitoring", "monitors"):
        watched.fleet.settings.pop(key)
    run = watched.fleet.deploy()
    assert run.code == 0, run.text
    for machine in (HOST, GATEWAY):
        left = watched.fleet.sh(
            machine,
            "ls -d /etc/ollama/monitoring /var/lib/ollama/metrics /run/ollama-metrics* "
            "/opt/ollama/libexec/*metrics* "
            "/etc/systemd/system/*metrics* /etc/systemd/system/*exporter* /etc/systemd/system/ollama-mtail* "
            "/etc/systemd/system/ollama-certificates* /etc/systemd/system/*.wants/ollama-metrics* "
            "/etc/sysusers.d/ollama-metrics* 2>/dev/null; getent passwd ollama-metrics; "
            "systemctl list-units --no-legend 'ollama-m*' ollama-node-exporter.service; true",
        )
        assert left == ""
    assert watched.fleet.deploy().changed() == {}
