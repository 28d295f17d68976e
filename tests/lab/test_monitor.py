"""A real Prometheus looks at a real host and its gateway, over certificates, as a deploy makes them: every
machine is seen, every number of the dashboards is there, and what breaks is told and untold."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, ROOT, Fleet, Run

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("monitor")]
HOST, MONITOR = "mon1", "mon2"
MODEL = "qwen3:0.6b"
JOBS = {"ollama-node", "ollama-gateway", "ollama-haproxy", "ollama-nginx"}
# Seconds between two looks, and until something that broke has to be seen.
EVERY_S, SEEN_S = 5, 60


@pytest.fixture(scope="module")
def watched(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, Run]]:
    """A host with two slices and the gateway, and a machine that looks at it."""
    fleet = Fleet(tmp_path_factory.mktemp("monitor"), lab)
    bare(lab, HOST, "2x-rtx3090")
    bare(lab, MONITOR, "no-gpu")
    names = ("chat", "code")
    fleet.add(
        HOST,
        *(
            {"name": name, "gpus": [gpu], "models": [MODEL], "context": 2048}
            for gpu, name in enumerate(names)
        ),
        gpus=[{"model": "RTX 3090", "count": 2}],
    )
    fleet.settings = {
        "gateway": {"keys": "none", "listen": "127.0.0.1", "tls": {"source": "none"}, "port": 8080},
        "gateways": {"gw": {"host": HOST}},
        "monitoring": {"interval_s": EVERY_S},
        "monitors": {MONITOR: {"address": lab.address(MONITOR)}},
    }
    run = fleet.deploy()
    assert run.code == 0, run.text
    yield fleet, run
    for name in (HOST, MONITOR):
        lab.remove(name)


def api(fleet: Fleet, path: str) -> Any:
    """What Prometheus answers."""
    text = fleet.sh(MONITOR, f"curl -fsS 'http://127.0.0.1:9090/api/v1/{path}'")
    return json.loads(text)["data"]


def asked(fleet: Fleet, expr: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api(fleet, f"query?query={quote(expr)}")["result"]
    return found


def until(fleet: Fleet, expr: str, wanted: bool, within_s: float = SEEN_S) -> None:
    """Wait until a question has an answer, or none any more."""
    end = time.monotonic() + within_s
    while bool(asked(fleet, expr)) != wanted:
        assert time.monotonic() < end, f"{expr}: {asked(fleet, expr)}"
        time.sleep(1)


def findings(fleet: Fleet) -> list[dict[str, str]]:
    """What is not well with the monitor, by `fleet verify`."""
    described = str(fleet.inventory.with_suffix(".yml"))
    command = [str(BIN / "fleet"), "verify", described, "--host", MONITOR, "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    (host,) = json.loads(done.stdout)["hosts"]
    assert host["results"], done.stdout
    return [one for one in host["results"] if one["status"] != "ok"]


def told(fleet: Fleet) -> dict[str, str]:
    """Checks of the monitor itself that are not well, and what they found. What fires is not among them: an
    Xid, as of the GPU that was lost, is told for a quarter of an hour."""
    return {one["check"]: one["found"] for one in findings(fleet) if one["check"] != "alerts"}


def wrong(fleet: Fleet) -> set[str]:
    """Which checks those are."""
    return set(told(fleet))


def use(fleet: Fleet) -> None:
    """Some requests through the gateway."""
    body = json.dumps({"model": MODEL, "prompt": "hi", "stream": False})
    call = f"curl -fsS -o /dev/null -d '{body}' http://127.0.0.1:8080/api/generate"
    fleet.sh(HOST, f"for i in 1 2 3 4; do {call}; done")


def test_the_deploy_proves_that_every_machine_is_seen(watched: tuple[Fleet, Run]) -> None:
    fleet, _ = watched
    targets = api(fleet, "targets?state=active")["activeTargets"]
    seen = {(one["labels"]["job"], one["labels"]["host"]) for one in targets}
    assert seen == {(job, HOST) for job in JOBS} | {("ollama-monitor", MONITOR)}
    until(fleet, "up == 0", False)


def test_another_certificate_gets_nothing(watched: tuple[Fleet, Run]) -> None:
    """Neither nobody's nor the gateway's own, which the same authority has signed."""
    fleet, _ = watched
    door = f"https://{fleet.lab.address(HOST)}:19100/metrics"
    said = fleet.sh(MONITOR, f"curl -sk -o /dev/null -w '%{{http_code}}' {door}; true")
    assert said in ("400", "403")


def test_every_number_of_the_dashboards_is_there(watched: tuple[Fleet, Run]) -> None:
    """As Grafana asks, with everything chosen, after some requests."""
    fleet, _ = watched
    questions = {
        (row["title"], panel["title"], re.sub(r"\$(?!__)[a-z]\w*", ".*", expr))
        for row in yaml.safe_load((ROOT / "templates/monitor/dashboards.yml").read_text())
        for panel in row["panels"]
        if not panel.get("empty")
        for expr in panel["ask"]
    }
    end = time.monotonic() + 300
    while True:
        use(fleet)
        missing = {
            one for one in questions if not asked(fleet, one[2].replace("$__rate_interval", "1m"))
        }
        if not missing:
            return
        assert time.monotonic() < end, sorted(missing)
        questions = missing
        time.sleep(EVERY_S)


def test_every_alert_stands_on_numbers_that_are_there(watched: tuple[Fleet, Run]) -> None:
    """A misspelled metric would be an alert that never fires."""
    fleet, _ = watched
    known = set(api(fleet, "label/__name__/values"))
    groups = api(fleet, "rules?type=alert")["groups"]
    assert all(rule["health"] == "ok" for group in groups for rule in group["rules"])
    for group in groups:
        for rule in group["rules"]:
            named = re.findall(r"\b(?:ollama|node|haproxy|nginx|prometheus)_\w+\b", rule["query"])
            for name in set(named) - LATER:
                assert name in known, f"{rule['name']}: {name}"


# Parts of the fleet that write them when there is something to write, or that are not here.
LATER = {
    *("ollama_watchdog_repairs_total", "ollama_selfcheck_changed"),
    *("ollama_selfcheck_time_seconds", "prometheus_notifications_errors_total"),
    # These cards have no ECC.
    "ollama_gpu_ecc_uncorrected_total",
}


def test_nothing_is_wrong_where_nothing_is(watched: tuple[Fleet, Run]) -> None:
    """Not even on its way: an alert is pending at once, whatever its time."""
    fleet, _ = watched
    until(fleet, "ALERTS", False)  # a machine that was busy is told of for a moment


def test_a_slice_that_stops_is_told_and_untold(watched: tuple[Fleet, Run]) -> None:
    fleet, _ = watched
    alert = f'ALERTS{{alertname="OllamaSliceDown", host="{HOST}", slice="code"}}'
    fleet.sh(HOST, "systemctl stop ollama-watchdog 2>/dev/null; systemctl stop ollama-code")
    until(fleet, alert, True)
    (one,) = [
        alert
        for alert in api(fleet, "alerts")["alerts"]
        if alert["labels"]["alertname"] == "OllamaSliceDown"
    ]
    assert one["annotations"]["summary"] == f"Slice code of {HOST} is down"
    fleet.sh(HOST, "systemctl start ollama-code; systemctl start ollama-watchdog 2>/dev/null; true")
    until(fleet, alert, False)


def test_a_lost_gpu_is_told(watched: tuple[Fleet, Run]) -> None:
    fleet, _ = watched
    alert = f'ALERTS{{alertname=~"OllamaGpu(Lost|Missing)", host="{HOST}"}}'
    fleet.lab.fault(HOST, "gpu-lost", gpu=1)
    try:
        until(fleet, alert, True)
    finally:
        fleet.lab.clear(HOST, "gpu-lost")
        fleet.sh(HOST, "systemctl restart ollama-code")
    until(fleet, alert, False)


def test_an_unchanged_fleet_sees_no_change(watched: tuple[Fleet, Run]) -> None:
    fleet, _ = watched
    run = fleet.deploy()
    assert run.code == 0, run.text
    assert run.changed() == {}


@pytest.mark.breaks("alerts")
def test_what_fires_is_a_warning_of_a_verification(watched: tuple[Fleet, Run]) -> None:
    fleet, _ = watched
    alert = f'ALERTS{{alertname="OllamaSliceQuarantined", alertstate="firing", host="{HOST}"}}'
    mark = "/var/lib/ollama/watchdog/chat.quarantined"
    fleet.sh(HOST, f"systemctl stop ollama-watchdog; echo a test >{mark}")
    try:
        until(fleet, alert, True)
        told = [one for one in findings(fleet) if f"chat of {HOST} is quarantined" in one["found"]]
        assert [(one["check"], one["status"]) for one in told] == [("alerts", "warning")]
        assert wrong(fleet) == set()
    finally:
        fleet.sh(HOST, f"rm -f {mark}; systemctl start ollama-watchdog")
    until(fleet, alert, False)


@pytest.mark.breaks("alert rules")
def test_rules_that_are_not_loaded_are_told_by_their_group(watched: tuple[Fleet, Run]) -> None:
    """Prometheus itself runs, and knows of none that is missing."""
    fleet, _ = watched
    path = "/etc/ollama/monitor/rules/gpus.yml"
    group = fleet.sh(MONITOR, f"sed -n 's/^  - name: //p' {path}")
    has = f"curl -fsS 127.0.0.1:9090/api/v1/rules | grep -qw {group}"
    reload = "systemctl reload ollama-prometheus; timeout 60 sh -c"
    fleet.sh(
        MONITOR,
        f'cp -p {path} /root/; echo "groups: []" >{path}; {reload} "while {has}; do sleep 0.2; done"',
    )
    try:
        said = told(fleet)
    finally:
        fleet.sh(
            MONITOR, f'cp -p /root/gpus.yml {path}; {reload} "until {has}; do sleep 0.2; done"'
        )
    assert said.keys() == {"alert rules", "ollama-prometheus", "files"}
    assert said["alert rules"] == f"without {group}"
    assert wrong(fleet) == set()


@pytest.mark.breaks("ollama-prometheus", "certificate for looking at machines")
def test_a_prometheus_that_is_down_and_its_missing_key_are_told_and_mended(
    watched: tuple[Fleet, Run],
) -> None:
    fleet, _ = watched
    fleet.sh(MONITOR, "systemctl stop ollama-prometheus; rm /etc/ollama/monitor/tls/client.key")
    said = told(fleet)
    assert said["ollama-prometheus"] == "inactive, enabled"
    assert said["targets"] == "no answer" and said["alert rules"].startswith("without ")
    assert said["certificate for looking at machines"] == "the key beside it is not its key"
    run = fleet.deploy("--limit", MONITOR)
    assert run.code == 0, run.text
    assert wrong(fleet) == set()


@pytest.mark.breaks("files", "drop-ins", "in force")
def test_what_somebody_changed_on_a_monitor_is_told_by_name_and_mended(
    watched: tuple[Fleet, Run],
) -> None:
    fleet, _ = watched
    units, rules = "/etc/systemd/system", "/etc/ollama/monitor/rules/gpus.yml"
    unit = f"{units}/ollama-prometheus.service"
    fleet.sh(
        MONITOR,
        f"""echo '# mine' >>{rules}
mkdir -p {unit}.d
printf '[Service]\\nNice=3\\n' >{unit}.d/mine.conf
touch {unit}
systemctl daemon-reload""",
    )
    told = {one["check"]: one["found"] for one in findings(fleet) if one["check"] != "alerts"}
    assert told == {
        "ollama-prometheus": "its files are others; `files` names them",
        "files": f"{rules} was edited",
        "drop-ins": f"{unit}.d/mine.conf",
        "in force": f"ollama-prometheus.service was started before {unit} was changed",
    }
    restart = "systemctl daemon-reload; systemctl restart ollama-prometheus"
    fleet.sh(MONITOR, f"rm -r {unit}.d; {restart}")
    run = fleet.deploy("--limit", MONITOR)
    assert run.code == 0, run.text
    assert wrong(fleet) == set()


@pytest.mark.breaks("disk", "clock")
def test_what_a_monitors_own_machine_lacks_is_told(watched: tuple[Fleet, Run]) -> None:
    fleet, _ = watched
    fleet.sh(
        MONITOR,
        "mount -t tmpfs -o size=64m tmpfs /var/log; head -c 63M /dev/zero >/var/log/big; "
        "mv /run/systemd/container /run/systemd/was",
    )
    try:
        told = {one["check"]: one for one in findings(fleet) if one["check"] != "alerts"}
        run = fleet.deploy("--limit", MONITOR)
    finally:
        fleet.sh(MONITOR, "umount -l /var/log; mv /run/systemd/was /run/systemd/container")
    assert told.keys() == {"disk", "clock"}
    assert (told["disk"]["status"], told["disk"]["found"]) == ("failed", "1 MiB free at /var/log")
    assert told["clock"]["found"] == "as this machine; nothing sets it"
    assert {one["subject"] for one in told.values()} == {f"monitor {MONITOR}"}
    assert run.code != 0 and f"monitor {MONITOR}: disk failed" in run.text
    assert wrong(fleet) == set()


@pytest.mark.breaks("ollama-monitor-door", "monitor door", "certificate for people")
def test_a_door_is_opened_and_shut_again_without_a_gap(watched: tuple[Fleet, Run]) -> None:
    """Prometheus itself goes on: what it has seen stays."""
    fleet, _ = watched
    pid = fleet.sh(MONITOR, "systemctl show -p MainPID --value ollama-prometheus")
    monitor = fleet.settings["monitors"][MONITOR]
    fleet.settings["monitors"][MONITOR] = {
        **monitor,
        "listen": monitor["address"],
        # Of "secret".
        "users": {"ann": "$2b$10$LmFKjWe2LK3ewwgI9j1.EezZblTcjZSh2HsGgT3yfCyGnGLVTn9PK"},
    }
    assert fleet.deploy("--limit", MONITOR).code == 0
    ready = f"curl -sk -o /dev/null -w '%{{http_code}}' https://{monitor['address']}:9090/-/ready"
    assert fleet.sh(HOST, ready) == "401"
    assert fleet.sh(HOST, f"{ready} -u ann:secret") == "200"
    assert fleet.sh(HOST, f"{ready} -u ann:wrong") == "401"
    assert wrong(fleet) == set()
    conf, tls = "/etc/ollama/monitor/door.nginx.conf", "/etc/ollama/monitor/tls"
    fleet.sh(
        MONITOR, f"sed -i 's/auth_basic .*/auth_basic off;/' {conf}; mv {tls}/server.key /root/"
    )
    fleet.sh(MONITOR, "kill -HUP $(systemctl show -p MainPID --value ollama-monitor-door); sleep 1")
    assert wrong(fleet) >= {"ollama-monitor-door", "certificate for people"}
    fleet.sh(MONITOR, f"mv /root/server.key {tls}/; systemctl reload ollama-monitor-door; sleep 1")
    said = told(fleet)
    assert said.keys() == {"ollama-monitor-door", "monitor door", "files"}
    assert said["monitor door"] == "200"
    fleet.settings["monitors"][MONITOR] = monitor
    assert fleet.deploy("--limit", MONITOR).code == 0
    assert fleet.sh(HOST, f"{ready}; true") == "000"
    assert fleet.sh(MONITOR, "systemctl show -p MainPID --value ollama-prometheus") == pid


@pytest.mark.breaks("targets")
def test_a_machine_that_nobody_sees_fails_the_proof_with_the_reason(
    watched: tuple[Fleet, Run],
) -> None:
    fleet, _ = watched
    seen = f'up{{job="ollama-node", host="{HOST}"}}'
    fleet.sh(HOST, "systemctl stop ollama-metrics-door")
    try:
        # What it last saw may be some seconds old.
        until(fleet, f"{seen} == 0", True)
        run = fleet.deploy("--limit", MONITOR)
    finally:
        fleet.sh(HOST, "systemctl start ollama-metrics-door")
    assert run.code != 0
    assert f"ollama-node of {HOST} is up" in run.text and "connection refused" in run.text
    # Each of the host's exporters is behind that door.
    until(fleet, f'up{{host="{HOST}"}} == 0', False)
    assert wrong(fleet) == set()


def test_nothing_of_a_monitor_stays_where_it_is_to_be_absent(watched: tuple[Fleet, Run]) -> None:
    fleet, _ = watched
    fleet.settings["monitors"][MONITOR]["state"] = "absent"
    assert fleet.deploy("--limit", MONITOR).code == 0
    paths = "/etc/ollama* /var/lib/ollama* /etc/systemd/system/ollama* /etc/sysusers.d/ollama*"
    assert fleet.sh(MONITOR, f"ls -d {paths} 2>/dev/null; getent passwd ollama-monitor; true") == ""
