"""Answers of a host and of a gateway's own machine that show metrics, on which everything is as planned."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ollama_fleet.authority.places import monitoring_places
from ollama_fleet.checks.metrics import QUESTION, units_of
from ollama_fleet.host import metrics
from ollama_fleet.metrics.machine import EXPORTERS, usual_machine
from ollama_fleet.metrics.services import services
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import MARK
from tests.deploy.converged import transcript
from tests.deploy.converged_gateway import (
    certificates,
    gateway_data,
    gateway_plan,
    hop_data,
    hop_plan,
    service_answers,
)

MACHINE = usual_machine()


def shown_by(machine: str, folder: Path, is_gateway: bool) -> MonitoringPlan:
    """What one of the two shows."""
    return MonitoringPlan(
        machine=machine,
        address="10.0.0.11",
        port=19100,
        interval_s=15,
        gpu="auto",
        node_exporter="own",
        monitors=("mon1",),
        on_host=not is_gateway,
        is_gateway=is_gateway,
        authority=str(folder),
    )


def answers(shown: MonitoringPlan, plan: HostPlan | None, folder: Path) -> dict[str, str]:
    """What such a machine says of it, before and in the proof."""
    programs = "\n".join(f"{name} {MACHINE.programs[name]}" for name in EXPORTERS)
    own = [(place.certificate, place.what) for place in monitoring_places(shown)]
    gateway = None if plan else gateway_plan(folder)
    has = metrics.certificates_of(shown, plan, gateway) if plan or gateway else own
    units = "\n\n".join(
        f"Id={unit}\nActiveState=active\nUnitFileState=enabled" for unit in units_of(shown)
    )
    proof = f"{units}\nollama_metrics_written_seconds 995\nnode_textfile_scrape_error 0\nnow 1000"
    return {
        **dict.fromkeys(metrics.machine_asked(shown, plan), ""),
        "metrics.programs": programs,
        "metrics.packages": "apt",
        **service_answers("metrics", services(shown, plan, MACHINE, has), []),
        **certificates(monitoring_places(shown), folder),
        QUESTION: proof,
    }


def host_shows(folder: Path) -> dict[str, Any]:
    """Host data of a host with a hop that shows metrics; it answers twice and nothing else."""
    shown = shown_by("gpu01", folder, is_gateway=False)
    plan = replace(hop_plan(folder), monitoring=shown)
    return _told(hop_data(folder) | {"plan": plan}, answers(shown, plan, folder))


def gateway_shows(folder: Path) -> dict[str, Any]:
    """Host data of a gateway's own machine that shows metrics; it answers three times."""
    shown = shown_by("gw1", folder, is_gateway=True)
    data = gateway_data(folder) | {"monitoring_plan": shown}
    return _told(data, answers(shown, None, folder))


def _told(data: dict[str, Any], more: dict[str, str]) -> dict[str, Any]:
    """`data` whose answers, each in one exec, know `more`; the dcgm question is a no."""
    codes = {"metrics.dcgm": 3}
    told = transcript(more, codes)[:-1]
    responses = {
        key: [*_without(lines, more), *told, lines[-1]]
        for key, lines in data["fake_responses"].items()
    }
    return data | {"fake_responses": responses}


def _without(lines: list[str], names: dict[str, str]) -> list[str]:
    """Answers but for those that are given anew."""
    kept, skip = [], False
    for line in lines[:-1]:
        if line.startswith(MARK) and not line[1:].isdigit():
            skip = line[1:] in names
        if not skip:
            kept.append(line)
    return kept
