"""What is said of a service that is no slice's."""

import hashlib

import pytest

from ollama_fleet.checks.of_services import judge_service
from ollama_fleet.services.service import Found, Service
from ollama_fleet.templating import HostFile

UNIT = "ollama-prometheus.service"
FILE = HostFile("/etc/ollama/monitor/prometheus.yml", "scrape_configs: []\n")
SERVICE = Service(UNIT, (FILE,), (), digest="abc", asks="digest")
RUNS = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
AS_WRITTEN = (FILE.mode.lstrip("0"), hashlib.sha256(FILE.text.encode()).hexdigest())


@pytest.mark.parametrize(
    ("unit", "file", "digest", "status", "found"),
    [
        (RUNS, AS_WRITTEN, "abc", "ok", "active, enabled"),
        (RUNS, ("644", "0" * 64), "abc", "failed", "its files are others; `files` names them"),
        (RUNS, AS_WRITTEN, "def", "failed", "another configuration is in force"),
        (RUNS | {"ActiveState": "inactive"}, AS_WRITTEN, "abc", "failed", "inactive, enabled"),
        (
            RUNS | {"NeedDaemonReload": "yes"},
            AS_WRITTEN,
            "abc",
            "failed",
            "systemd has not read its files since they were changed",
        ),
        ({}, AS_WRITTEN, "", "failed", "?, not installed"),
    ],
)
def test_what_differs_of_a_service_is_said(
    unit: dict[str, str], file: tuple[str, str], digest: str, status: str, found: str
) -> None:
    has = Found({FILE.path: file}, {UNIT: unit}, {UNIT: digest})
    result = judge_service("mon1", "monitor mon1", SERVICE, has)
    assert (result.check, result.status, result.found) == ("ollama-prometheus", status, found)
    assert bool(result.remedy) == (status != "ok")
