"""Answers of a gateway's machine, and of a host that a gateway reaches, on which everything is as planned.

Certificates are real ones, of an authority in the folder that each call names.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ollama_fleet.authority.folder import Authority, made_authority, read_authority
from ollama_fleet.authority.leaf import Leaf, sign
from ollama_fleet.authority.places import Place, gateway_places, hop_places
from ollama_fleet.authority.state import questions
from ollama_fleet.checks.registry import verification_questions
from ollama_fleet.firewall.rules import RULES_FILE, UNIT_FILE, rules_file, unit_file
from ollama_fleet.firewall.state import Found, digest
from ollama_fleet.gateway.gateway import common_files, gateway_services
from ollama_fleet.gateway.hop import hop_services
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.gateway.proof import WELL
from ollama_fleet.hardware.found import read_hardware
from ollama_fleet.host import firewall, gateway, metrics
from ollama_fleet.host.ahead import ahead
from ollama_fleet.planner.bind import bind
from ollama_fleet.planner.firewall import FirewallPlan, Opening
from ollama_fleet.planner.gateway import GatewayPlan, HopPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.rollout import Rollout
from ollama_fleet.questions import Answer
from ollama_fleet.render import render_host
from tests.deploy.converged import (
    HARDWARE,
    OWN,
    asked_answers,
    host_data,
    transcript,
    unit_answers,
)
from tests.unit.examples import service_answers, watch_answers
from tests.unit.gateways import gateways
from tests.unit.test_checks import PLAN, assembled, healthy

MACHINE = Machine()
TABLE = "ab" * 32


def hop_plan(folder: Path) -> HostPlan:
    """The example's host, reached by one gateway on another machine, with the firewall that goes with it."""
    hop = HopPlan(
        host=PLAN.host,
        address="10.0.0.11",
        listen_port=11443,
        gateways=("gw1",),
        is_gateway=False,
        read_timeout_s=3600,
        authority=str(folder),
    )
    pools = {item.models[0]: (f"{PLAN.host}.{item.name}",) for item in PLAN.slices}
    return replace(
        PLAN,
        hop=hop,
        rollout=Rollout(order=(PLAN.host,), pools=pools),
        firewall=FirewallPlan("ports", (Opening(11443, ("10.0.0.21",)),)),
    )


def gateway_plan(folder: Path) -> GatewayPlan:
    """A gateway on a machine of its own."""
    return replace(gateways()["gw1"], authority=str(folder))


def hop_data(folder: Path, ways: str = "", **changes: str) -> dict[str, Any]:
    """Host data of that host; it answers twice and nothing else. `changes` replaces answers, `ways` what
    the proof says of the hop and its like."""
    plan = hop_plan(folder)
    told = {name: "" for step in ahead(plan) for name in step} | asked_answers()
    told |= {name: unit_answers(plan)[name] for name in ("files", "manifest")}
    told |= _hop_answers(plan, folder) | watch_answers(plan, HARDWARE) | changes
    tls = certificates(hop_places(plan.hop), folder)
    units = "\n\n".join(
        f"Id=ollama-{name}.service\nActiveState=active\nUnitFileState=enabled"
        for name in ("hop", "health", "watchdog", "firewall")
    )
    silent = dict.fromkeys(verification_questions(plan), "")
    known = {
        name: told[name] for name in silent if name.startswith(("hop.", "firewall.", "gateway."))
    }
    files = {f"owned.{name}": unit_answers(plan)[name] for name in ("files", "manifest")}
    proof = silent | assembled(healthy()) | known | tls | files | {"ways": ways or units}
    data = host_data(asked=transcript(told), verify=transcript(proof))
    return data | {"plan": plan}


def gateway_data(folder: Path, **changes: str) -> dict[str, Any]:
    """Host data of a gateway's own machine; it answers to three execs: about its firewall, about all the
    rest, and the proof."""
    plan, off = gateway_plan(folder), FirewallPlan()
    guard = {"firewall.user": "0", "firewall.ours": ""}
    proof = {
        "gateway.states": "\n".join(f"{one.name} UP" for one in plan.upstreams),
        "gateway.front": "401",
        "gateway.keys": "",
        "service ports": "",
        "drift.gateway-units": "",
        "gateway.answers": "\n".join(f"{one.name} {WELL}" for one in plan.upstreams),
        **OWN,
    }
    # The first whose key occurs in what is asked.
    responses = {
        "firewall.ours": transcript(guard),
        "gateway.answers": transcript(proof),
        "gateway.files": transcript(gateway_answers(folder) | changes),
    }
    fake = {"fake_responses": responses, "fake_delay": 0.0, "fake_delay_jitter": 0.0}
    return {"gateway_plan": plan, "firewall_plan": off, **fake}


def gateway_answers(folder: Path) -> dict[str, str]:
    """What a gateway's machine says of itself."""
    plan = gateway_plan(folder)
    services = gateway_services(plan, MACHINE)
    return {
        **dict.fromkeys((*gateway.gateway_asked(plan), *metrics.machine_asked(None, None)), ""),
        "gateway.user": "0",
        "gateway.packages": "apt",
        "gateway.modules": MACHINE.modules_dir,
        **service_answers("gateway", services, common_files()),
        **certificates(gateway_places(plan), folder),
        "acme.renewal": "",
    }


def _hop_answers(plan: HostPlan, folder: Path) -> dict[str, str]:
    hardware = read_hardware({name: Answer(text) for name, text in HARDWARE.items()})
    lines = [
        f"{file.path}:{line}"
        for file in render_host(plan, bind(plan, hardware)).files
        if file.path.endswith(".service")
        for line in file.text.splitlines()
        if re.match('Description=|Environment="OLLAMA_HOST=', line)
    ]
    return {
        **_firewall_answers(plan),
        "hop.packages": "apt",
        "gateway.modules": MACHINE.modules_dir,
        "rollout.places": "\n".join(lines),
        **service_answers("hop", hop_services(plan, MACHINE), []),
        **certificates(hop_places(plan.hop), folder),
    }


def _firewall_answers(plan: HostPlan) -> dict[str, str]:
    rules, unit = rules_file(plan.firewall, Found({}, (22,))), unit_file()
    ours = [f"{RULES_FILE} {digest(rules)}", f"{UNIT_FILE} {digest(unit)}"]
    ours += [f"proved {digest(rules)} {TABLE}", "enabled", "active", f"table {TABLE}"]
    return {
        **dict.fromkeys(firewall.asked(plan), ""),
        "firewall.user": "0",
        "firewall.os": "ID=debian\nVERSION_ID=12",
        "firewall.ours": "\n".join(ours),
        "firewall.ssh": "connection 10.0.0.1 50000 10.0.0.11 22\nport 22",
    }


def certificates(places: Sequence[Place], folder: Path) -> dict[str, str]:
    """Answers about places that have what they need."""
    authority = read_authority(folder) or made_authority(folder)
    answers = {}
    for place in places:
        files = dict.fromkeys((place.certificate, place.key))
        text = _issued(authority, place.leaf) + "\n".join([f"640 root:{place.group}"] * len(files))
        answers |= dict(zip(questions([place]), [text, authority.bundle], strict=False))
    return answers


def _issued(authority: Authority, leaf: Leaf) -> str:
    """A certificate, and the public part of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return sign(authority, request.decode(), leaf, datetime.now(UTC)) + public.decode()
