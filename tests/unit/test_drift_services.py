"""Drift of what serves beside the slices: the hop, the firewall, the driver's files, gateways."""

from dataclasses import replace

import pytest

from ollama_fleet.checks import service_drift
from ollama_fleet.checks.files import compared
from ollama_fleet.checks.model import CheckResult, Subject
from ollama_fleet.checks.monitor import monitor_questions, monitor_results
from ollama_fleet.checks.registry import judge, verification_questions
from ollama_fleet.checks.unit_files import UNITS
from ollama_fleet.containers.packages import APT_PIN, source_files
from ollama_fleet.driver.files import BLACKLIST, MODULES, UNATTENDED, settings
from ollama_fleet.firewall.rules import RULES_FILE, UNIT_FILE, rules_file, unit_file
from ollama_fleet.firewall.state import Found as Reachable
from ollama_fleet.firewall.state import digest
from ollama_fleet.gateway import places
from ollama_fleet.gateway.gateway import common_files, gateway_services
from ollama_fleet.gateway.hop import hop_services
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.hardware.found import Hardware
from ollama_fleet.monitor.places import RULES
from ollama_fleet.monitor.places import UNIT as MONITOR_UNIT
from ollama_fleet.monitor.services import common_files as monitor_common_files
from ollama_fleet.monitor.services import services_of as monitor_services
from ollama_fleet.planner.firewall import FirewallPlan, Opening
from ollama_fleet.planner.gateway import HopPlan
from ollama_fleet.planner.monitor import monitors_of
from ollama_fleet.questions import Answer
from ollama_fleet.services.service import Found, Service, files_of
from ollama_fleet.templating import HostFile
from tests.unit.drift_answers import clean, told, unit
from tests.unit.gateways import gateways
from tests.unit.monitored import fleet as monitored
from tests.unit.test_checks import PLAN, assembled, healthy

TABLE, OTHER = "ab" * 32, "cd" * 32
HOP = HopPlan("gpu01", "10.0.0.11", 11443, ("gw1",), False, 3600, "/ca")
WITH_HOP = replace(PLAN, hop=HOP)
GUARDED = replace(PLAN, firewall=FirewallPlan("ports", (Opening(11443, ("10.0.0.21",)),)))


def judged(plan=PLAN, **answers: str) -> dict[str, CheckResult]:
    silent = dict.fromkeys(verification_questions(plan), "")
    here = healthy()
    texts = silent | assembled(here) | clean(plan, here) | answers
    results = judge(plan, {name: Answer(text) for name, text in texts.items()})
    return {one.check: one for one in results if one.subject == "host"}


def hop_answers(**changes: str) -> dict[str, str]:
    services = hop_services(WITH_HOP, Machine())
    in_force = {f"hop.{one.unit}": one.digest for one in services if one.asks}
    files = told(files_of(services))
    return {
        **{"gateway.modules": Machine().modules_dir, "gateway.ipv6": "", "hop.units": ""},
        **in_force,
        "hop.files": files,
        **changes,
    }


def edited(text: str, path: str) -> str:
    """What a host tells of its files when one of them has another content."""
    return "\n".join(
        f"{OTHER}  {path}" if line.endswith(f"  {path}") else line for line in text.splitlines()
    )


def test_a_configuration_that_was_edited_after_it_was_loaded_is_an_edit() -> None:
    assert judged(WITH_HOP, **hop_answers())["files"].status == "ok"
    files = edited(hop_answers()["hop.files"], places.HOP_CONF)
    assert judged(WITH_HOP, **hop_answers(**{"hop.files": files}))["files"].found == (
        f"{places.HOP_CONF} was edited"
    )


def test_where_another_configuration_is_in_force_nobody_knows_who_changed_it() -> None:
    files = edited(hop_answers()["hop.files"], places.HOP_CONF)
    changes = {"hop.files": files, f"hop.{places.HOP_UNIT}": OTHER}
    found = judged(WITH_HOP, **hop_answers(**changes))["files"].found
    assert found == f"{places.HOP_CONF} was edited, or the inventory has changed since"


def ours(rules: str = "", proved: str = "", table: str = TABLE) -> str:
    made = digest(rules_file(GUARDED.firewall, Reachable({}, (22,))))
    return "\n".join(
        [
            f"{RULES_FILE} {rules or made}",
            f"{UNIT_FILE} {digest(unit_file())}",
            f"proved {proved or made} {TABLE}",
            *("enabled", "active", f"table {table}"),
        ]
    )


def guarded(text: str) -> dict[str, CheckResult]:
    asked = ("user", "os", "ssh", "listening", "others", "names")
    silent = {f"firewall.{name}": "" for name in asked}
    ssh = "connection 10.0.0.1 50000 10.0.0.11 22\nport 22"
    return judged(GUARDED, **silent | {"firewall.ours": text, "firewall.ssh": ssh})


def test_a_firewall_as_it_was_proved_has_not_drifted() -> None:
    results = guarded(ours())
    assert {results[name].status for name in ("files", "inventory", "firewall rules")} == {"ok"}


def test_rules_that_somebody_loaded_or_wrote_are_told() -> None:
    assert guarded(ours(table=OTHER))["firewall rules"].found == "others are"
    assert guarded(ours(rules=OTHER))["files"].found == f"{RULES_FILE} was edited"
    older = guarded(ours(rules=OTHER, proved=OTHER))
    assert older["inventory"].found == f"{RULES_FILE} is of an older inventory"


def test_a_firewall_that_is_not_wanted_any_more_is_of_an_older_inventory() -> None:
    text = {"firewall.ours": ours(), "firewall.user": "0"}
    results = judged(PLAN, **text)
    assert results["files"].status == "ok"
    assert f"{RULES_FILE} is not wanted any more" in results["inventory"].found
    assert f"{UNIT_FILE} is not wanted any more" in results["inventory"].found


def test_a_file_of_a_driver_that_we_installed_is_looked_at() -> None:
    files = settings("apt", [0x2204])
    sums = {file.path: digest(file) for file in files}
    assert {BLACKLIST, MODULES, UNATTENDED} == set(sums)
    right = "\n".join(f"{one}  {path}" for path, one in sums.items())
    assert judged(**{"driver.files": right})["files"].status == "ok"
    wrong = right.replace(sums[MODULES], OTHER)
    assert judged(**{"driver.files": wrong})["files"].found == (
        f"{MODULES} was edited, or the inventory has changed since"
    )


def test_a_driver_of_others_has_no_files_of_ours() -> None:
    texts = {name: Answer(text) for name, text in assembled(healthy()).items()}
    subject = Subject(replace(PLAN, slices=()), Hardware(), (), texts)
    assert not [one.path for one in compared(subject) if "nvidia" in one.path]


def test_the_toolkits_files_of_ours_are_looked_at_and_those_of_others_are_not() -> None:
    request = replace(PLAN.provision.toolkit, version="1.18.1")
    files = source_files("apt", "x86_64", request)
    told_of = {
        "containers packages": "installed nvidia-container-toolkit-base 1.18.1-1",
        "containers.own": "\n".join(f"644 {digest(one)} {one.path}" for one in files),
    }
    assert judged(**told_of)["files"].status == "ok"
    wrong = told_of["containers.own"].replace(digest(files[1]), OTHER)
    found = judged(**told_of | {"containers.own": wrong})["files"].found
    assert found == f"{APT_PIN} was edited, or the inventory has changed since"
    foreign = f"644 {OTHER} {APT_PIN}"
    assert judged(**told_of | {"containers.own": foreign})["files"].status == "ok"


GATEWAY = gateways()["gw1"]
SERVICES = gateway_services(GATEWAY, Machine())


def gateway_results(
    files: list[HostFile], units: str = "", owner: str = ""
) -> dict[str, CheckResult]:
    found = Found(
        files={one.path: (one.mode.lstrip("0") + owner, digest(one)) for one in files},
        in_force={one.unit: one.digest for one in SERVICES},
    )
    shown = units or "\n".join(unit(one.unit) for one in SERVICES)
    drifting = service_drift.Drifting("gw1", "gateway gw1", SERVICES, common_files())
    results = service_drift.judge(drifting, found, {"drift.gateway-units": Answer(shown)})
    return {one.check: one for one in results}


def everything(services: list[Service]) -> list[HostFile]:
    return [*files_of(services), *common_files()]


def test_a_gateway_as_planned_has_not_drifted() -> None:
    results = gateway_results(everything(SERVICES))
    assert {one.status for one in results.values()} == {"ok"}
    assert results.keys() == {"files", "drop-ins", "in force"}
    assert {one.subject for one in results.values()} == {"gateway gw1"}


@pytest.mark.parametrize("path", [places.BALANCER_CONF, places.LOGROTATE])
def test_a_file_of_a_gateway_that_is_gone_is_named(path: str) -> None:
    kept = [file for file in everything(SERVICES) if file.path != path]
    result = gateway_results(kept)["files"]
    assert result.failed and result.found == f"{path} is missing" and result.remedy


def test_a_file_of_a_gateway_that_its_own_user_may_write_is_named() -> None:
    result = gateway_results(everything(SERVICES), owner=":ollama-gateway")["files"]
    assert "owner ollama-gateway, not mode 644, owner root" in result.found


def test_a_drop_in_over_a_gateways_unit_is_named() -> None:
    path = "/etc/systemd/system/ollama-gateway.service.d/a.conf"
    shown = unit(places.GATEWAY_UNIT, DropInPaths=path)
    result = gateway_results(everything(SERVICES), units=shown)["drop-ins"]
    assert (result.status, result.found) == ("failed", path)
    assert f"`systemctl restart {places.GATEWAY_UNIT}`" in result.remedy


MONITOR = monitors_of(monitored({"mon1": {"host": "gpu01"}}))["mon1"]


def monitor_drift(files: list[HostFile], units: str = "") -> dict[str, CheckResult]:
    """What is said of a monitor's files and units, by what its machine answers."""
    services = monitor_services(MONITOR)
    shown = units or "\n".join(unit(one.unit) for one in services)
    said = dict.fromkeys(monitor_questions(MONITOR), "") | {
        "monitor.files": told(files),
        **{f"monitor.{one.unit}": one.digest for one in services},
        "drift.monitor-units": shown,
    }
    results = monitor_results(MONITOR, {name: Answer(text) for name, text in said.items()})
    return {one.check: one for one in results if one.check in ("files", "drop-ins", "in force")}


def monitor_files() -> list[HostFile]:
    return [*files_of(monitor_services(MONITOR)), *monitor_common_files()]


def test_a_monitor_as_planned_has_not_drifted() -> None:
    results = monitor_drift(monitor_files())
    assert {one.status for one in results.values()} == {"ok"}
    assert results.keys() == {"files", "drop-ins", "in force"}
    assert {(one.host, one.subject) for one in results.values()} == {("gpu01", "monitor mon1")}


def test_a_rule_of_a_monitor_that_somebody_edited_or_removed_is_named() -> None:
    first, second = (file for file in monitor_files() if file.path.startswith(f"{RULES}/g"))
    here = [file for file in monitor_files() if file.path != second.path]
    here = [replace(file, text="groups: []") if file == first else file for file in here]
    result = monitor_drift(here)["files"]
    assert result.failed and result.remedy
    assert result.found == f"{first.path} was edited; {second.path} is missing"


def test_what_lies_over_a_monitors_unit_and_a_unit_that_runs_otherwise_are_told() -> None:
    path = f"/etc/systemd/system/{MONITOR_UNIT}.d/mine.conf"
    shown = unit(MONITOR_UNIT, DropInPaths=path, NeedDaemonReload="yes")
    results = monitor_drift(monitor_files(), shown)
    assert (results["drop-ins"].status, results["drop-ins"].found) == ("failed", path)
    assert results["in force"].failed and MONITOR_UNIT in results["in force"].found
    masked = monitor_drift(monitor_files(), unit(MONITOR_UNIT, LoadState="masked"))
    assert masked["in force"].found == f"{MONITOR_UNIT} is masked"


def test_on_a_host_that_is_a_monitor_too_a_drop_in_over_its_unit_is_told_once() -> None:
    path = f"/etc/systemd/system/{MONITOR_UNIT}.d/mine.conf"
    shown = clean(PLAN, healthy())[UNITS] + "\n" + unit(MONITOR_UNIT, DropInPaths=path)
    assert judged(replace(PLAN, is_monitor=True), **{UNITS: shown})["drop-ins"].status == "ok"
    assert judged(PLAN, **{UNITS: shown})["drop-ins"].found == path, "left of one that was there"
