"""Answers of a monitor's own machine on which everything is as planned."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ollama_fleet.authority.places import monitor_places
from ollama_fleet.host import monitor
from ollama_fleet.monitor.proof import expected_groups
from ollama_fleet.monitor.services import common_files, services_of
from ollama_fleet.monitor.targets import jobs_of
from ollama_fleet.planner.firewall import FirewallPlan
from ollama_fleet.planner.monitor import MonitorPlan, monitors_of
from tests.deploy.converged import OWN, transcript
from tests.deploy.converged_gateway import certificates
from tests.unit.examples import service_answers
from tests.unit.monitored import fleet


def monitor_plan(folder: Path) -> MonitorPlan:
    """A monitor on a machine of its own."""
    return replace(monitors_of(fleet())["mon1"], authority=str(folder))


def monitor_data(folder: Path, down: str = "") -> dict[str, Any]:
    """Host data of that machine; it answers to three execs: about its firewall, about all the rest, and
    the proof. `down` is a machine that it does not see."""
    plan = monitor_plan(folder)
    own = _own(plan, folder)
    # The first whose key occurs in what is asked.
    responses = {
        "firewall.ours": transcript({"firewall.user": "0", "firewall.ours": ""}),
        "monitor.targets": transcript(own | _proof(plan, down)),
        "monitor.files": transcript(own),
    }
    fake = {"fake_responses": responses, "fake_delay": 0.0, "fake_delay_jitter": 0.0}
    return {"monitor_plan": plan, "firewall_plan": FirewallPlan(), **fake}


def _own(plan: MonitorPlan, folder: Path) -> dict[str, str]:
    return {
        **dict.fromkeys(monitor.asked(plan), ""),
        "monitor.user": "0",
        "monitor.packages": "apt",
        **service_answers("monitor", services_of(plan), common_files()),
        **certificates(monitor_places(plan), folder),
    }


def _proof(plan: MonitorPlan, down: str) -> dict[str, str]:
    targets = [
        {
            "labels": job.labels,
            "health": "down" if job.machine == down else "up",
            "lastError": "connection refused" if job.machine == down else "",
        }
        for job in jobs_of(plan)
    ]
    groups = [{"name": name, "rules": []} for name in sorted(expected_groups())]
    return {
        "monitor.targets": json.dumps({"data": {"activeTargets": targets}}),
        "monitor.rules": json.dumps({"data": {"groups": groups}}),
        "monitor.door": "",
        "drift.monitor-units": "",
        "service ports": "",
        **OWN,
    }
