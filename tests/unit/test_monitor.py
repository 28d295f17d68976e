"""A monitor: what Prometheus is told, in the real promtool; and what the proof says of its answers."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ollama_fleet.checks.foreseen import foreseen
from ollama_fleet.checks.machine import Machine, found, last_questions
from ollama_fleet.checks.monitor import judge_monitor
from ollama_fleet.load import validate
from ollama_fleet.monitor.leftovers import leftover_steps, questions
from ollama_fleet.monitor.places import RULES
from ollama_fleet.monitor.prometheus import (
    configuration,
    configuration_digest,
    in_force_question,
    rule_files,
    unit_text,
)
from ollama_fleet.monitor.proof import Proof, expected_groups, read_proof
from ollama_fleet.monitor.services import services_of
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.monitor import MonitorPlan, monitors_of
from ollama_fleet.problems import InputError
from ollama_fleet.questions import Answer
from ollama_fleet.services.service import Found
from ollama_fleet.yamlfile import YamlFile
from tests.deploy.converged import OWN
from tests.unit.monitored import document, fleet

HASH = f"$2y$10${'a' * 53}"
DOOR = {"mon1": {"address": "10.0.0.31", "listen": "10.0.0.31", "users": {"ann": HASH}}}


def monitor(**keys: Any) -> MonitorPlan:
    return monitors_of(fleet(**keys))["mon1"]


def scraped(plan: MonitorPlan) -> dict[str, dict[str, Any]]:
    found = yaml.safe_load(configuration(plan, "d"))["scrape_configs"]
    return {one["job_name"]: one for one in found}


def test_every_host_and_gateway_is_a_target_under_its_name() -> None:
    jobs = scraped(monitor())
    assert list(jobs) == [
        "ollama-monitor",
        "ollama-node gpu01",
        "ollama-node gpu02",
        *(
            f"ollama-{kind} {name}"
            for name in ("gw1", "gw2")
            for kind in ("node", "gateway", "haproxy", "nginx")
        ),
    ]
    job = jobs["ollama-haproxy gw1"]
    assert job["scheme"] == "https" and job["metrics_path"] == "/metrics/haproxy"
    assert job["tls_config"]["server_name"] == "gw1"
    labels = {"job": "ollama-haproxy", "host": "gw1", "instance": "gw1"}
    assert job["static_configs"] == [{"targets": ["10.0.0.21:19100"], "labels": labels}]


def test_a_host_that_is_to_be_absent_is_no_target_any_more() -> None:
    hosts = document()["hosts"]
    gone = {**hosts, "gpu02": hosts["gpu02"] | {"state": "absent"}}
    assert "ollama-node gpu02" not in scraped(monitor(hosts=gone))


def test_dcgm_is_asked_where_it_is_there_for_certain() -> None:
    hosts = document()["hosts"]
    some = {**hosts, "gpu02": hosts["gpu02"] | {"monitoring": {"gpu": "dcgm"}}}
    assert [name for name in scraped(monitor(hosts=some)) if "dcgm" in name] == [
        "ollama-dcgm gpu02"
    ]


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool: apt-get install prometheus")
def test_promtool_takes_the_configuration(tmp_path: Path) -> None:
    urls = ["https://alerts.example.org/am/", "http://[fd00::9]:9093"]
    text = configuration(monitor(monitoring={"alertmanagers": urls}), "d")
    for file in rule_files():
        (tmp_path / Path(file.path).name).write_text(file.text)
    (tmp_path / "prometheus.yml").write_text(text.replace(RULES, str(tmp_path)))
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    managers = yaml.safe_load(text)["alerting"]["alertmanagers"]
    assert [one.get("path_prefix") for one in managers] == ["/am/", None]
    assert managers[1]["static_configs"] == [{"targets": ["[fd00::9]:9093"]}]


def test_another_target_is_another_configuration_to_be_reloaded() -> None:
    one, two = monitor(), monitor(monitoring={"port": 19200})
    assert configuration_digest(one) != configuration_digest(two)
    assert unit_text(one) == unit_text(two)  # which would need a restart


def test_how_long_it_keeps_is_said_to_the_program() -> None:
    text = unit_text(monitor(monitoring={"retention_days": 90, "retention_gib": 50}))
    assert "--storage.tsdb.retention.time=90d" in text
    assert "--storage.tsdb.retention.size=50GB" in text


def test_prometheus_stays_on_loopback_and_a_door_with_passwords_is_before_it() -> None:
    plan = monitors_of(fleet(DOOR))["mon1"]
    prometheus, door = services_of(plan)
    assert "--web.listen-address=127.0.0.1:9090" in prometheus.others[0].text
    users, nginx = door.configuration
    assert f"ann:{HASH}\n" in users.text and users.mode == "0640"
    assert "listen 10.0.0.31:9090 ssl;" in nginx.text and "auth_basic_user_file" in nginx.text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"listen": "10.0.0.31"}, "mon1.users: 10.0.0.31 lets others look; say who"),
        ({"listen": "0.0.0.0", "users": {"ann": HASH}}, "means every address; name the one"),
        ({"users": {"ann": HASH}}, "is for a `listen` that is not loopback"),
        ({"listen": "10.0.0.31", "users": {"ann": "secret"}}, "mon1.users.ann"),
        ({"listen": "10.0.0.31", "users": {"a:b": HASH}}, "mon1.users"),
    ],
)
def test_who_may_look_from_elsewhere_has_to_be_said(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        validate(YamlFile("prod.yml", document({"mon1": settings})))
    assert said in str(error.value)


def proof(*targets: dict[str, Any], groups: Any = None, door: str = "") -> Proof:
    has = [{"name": name, "rules": []} for name in sorted(expected_groups())]
    return read_proof(
        {
            "monitor.targets": Answer(json.dumps({"data": {"activeTargets": targets}})),
            "monitor.rules": Answer(
                json.dumps({"data": {"groups": has if groups is None else groups}})
            ),
            "monitor.door": Answer(door),
        }
    )


def target(job: str, machine: str, health: str = "up", error: str = "") -> dict[str, Any]:
    return {"labels": {"job": job, "host": machine}, "health": health, "lastError": error}


def everything(plan: MonitorPlan, **over: str) -> list[dict[str, Any]]:
    names = [name.split() for name in scraped(plan) if " " in name]
    return [
        target(job, machine, over.get(machine, "up"), "why" if machine in over else "")
        for job, machine in names
    ]


def judged(plan: MonitorPlan, seen: Proof) -> list[tuple[str, str, str]]:
    results = judge_monitor(plan, services_of(plan), Found(), seen)
    return [(one.check, one.status, one.found) for one in results if "ollama-" not in one.check]


def test_a_monitor_that_sees_everything_is_well() -> None:
    plan = monitor()
    assert judged(plan, proof(*everything(plan))) == [
        ("targets", "ok", "10 of 10"),
        ("alert rules", "ok", "5 groups"),
        ("alerts", "ok", "none"),
    ]


def test_a_machine_that_is_down_is_named_once_with_the_reason() -> None:
    plan = monitor()
    assert judged(plan, proof(*everything(plan, gw1="down")))[:2] == [
        ("targets", "failed", "gw1: why"),
        ("targets", "ok", "6 of 10"),
    ]


def test_one_exporter_of_a_machine_is_named_by_itself() -> None:
    plan = monitor()
    seen = [one for one in everything(plan) if one["labels"]["job"] != "ollama-nginx"]
    seen += [target("ollama-nginx", "gw1", "down", "502"), target("ollama-nginx", "gw2")]
    assert judged(plan, proof(*seen))[0] == ("targets", "failed", "gw1: 502")


def test_a_prometheus_that_gives_no_answer_is_no_monitor() -> None:
    plan = monitor()
    nothing = read_proof(
        dict.fromkeys(("monitor.targets", "monitor.rules"), Answer("x", 7))
        | {"monitor.door": Answer()}
    )
    found = judged(plan, nothing)
    assert found[0] == ("targets", "failed", "no answer")
    assert found[1][:2] == ("alert rules", "failed")


def test_rules_that_are_missing_are_named() -> None:
    found = judged(monitor(), proof(groups=[{"name": "ollama-gpus", "rules": []}]))
    assert (
        "without ollama-gateways, ollama-machines"
        in {check: said for check, _, said in found}["alert rules"]
    )


def test_what_fires_is_told_as_a_warning_and_fails_nothing() -> None:
    plan = monitor()
    alert = {"state": "firing", "annotations": {"summary": "GPU 0 of gpu01 is lost"}}
    rule = {"name": "OllamaGpuLost", "labels": {"severity": "critical"}, "alerts": [alert]}
    groups = [{"name": name, "rules": []} for name in expected_groups()]
    seen = proof(*everything(plan), groups=[*groups, {"name": "x", "rules": [rule]}])
    assert judged(plan, seen)[-1] == (
        "alerts",
        "warning",
        "OllamaGpuLost: GPU 0 of gpu01 is lost",
    )


@pytest.mark.parametrize("text", ["[]", '{"data": 5}', '{"data": {"activeTargets": [1, null]}}'])
def test_an_answer_of_another_form_is_no_answer_and_no_traceback(text: str) -> None:
    answers = dict.fromkeys(("monitor.targets", "monitor.rules", "monitor.door"), Answer(text))
    assert judged(monitor(), read_proof(answers))[0][1] in ("failed", "ok")


def test_a_door_that_lets_everybody_in_fails() -> None:
    plan = monitors_of(fleet(DOOR))["mon1"]
    assert ("monitor door", "failed", "200") in judged(plan, proof(door="200"))
    assert ("monitor door", "ok", "401") in judged(plan, proof(door="401"))


def test_the_question_for_the_configuration_in_force_reads_prometheus_own_answer() -> None:
    digest, plan = "0123abcd", monitor()
    said = json.dumps({"status": "success", "data": {"yaml": configuration(plan, digest)}})
    sed = in_force_question(plan).split("|", 1)[1]
    done = subprocess.run(["sh", "-c", sed], input=said, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest


def test_a_host_that_is_a_monitor_no_more_loses_what_one_has() -> None:
    plans = plan_fleet(fleet({"mon1": {"host": "gpu01"}})).required().hosts
    assert plans["gpu01"].is_monitor and not questions(plans["gpu01"])
    (asked,) = questions(plans["gpu02"])
    steps = leftover_steps({asked: Answer("/etc/ollama/monitor\n/var/lib/ollama-monitor\n")})
    assert "rm -rf /etc/ollama/monitor" in steps and "rm -rf /var/lib/ollama-monitor" in steps
    assert not leftover_steps({asked: Answer("")})


@pytest.mark.parametrize("where", [{"mon1": {"address": "10.0.0.31"}}, DOOR])
def test_results_of_a_monitor_are_known_beforehand(where: dict[str, Any]) -> None:
    plan = monitors_of(fleet(where))["mon1"]
    machine = Machine("mon1", monitor=plan)
    told = {one.check for one in foreseen(machine, "full")}
    said = {name: Answer(OWN.get(name, "")) for name in last_questions(machine, "full")}
    assert told == {one.check for one in found(machine, "full", {}, said).results}
