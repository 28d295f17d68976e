"""Proof that a gateway is what was planned: its units, its configuration, the way to every slice."""

from collections.abc import Iterator

from ollama_fleet.checks.model import CheckResult, Status
from ollama_fleet.gateway.proof import WELL, Proof, asked_slices, own_url
from ollama_fleet.gateway.service import Found, Service, is_right
from ollama_fleet.planner.gateway import GatewayPlan


def judge_gateway(
    plan: GatewayPlan, services: list[Service], found: Found, proof: Proof
) -> list[CheckResult]:
    """Results of every check of a gateway."""
    return [
        *(_service(plan, service, found) for service in services),
        *_states(plan, proof),
        *_answers(plan, proof),
        _front(plan, proof),
    ]


def _result(
    plan: GatewayPlan, check: str, status: Status, expected: str, found: str, remedy: str
) -> CheckResult:
    subject = f"gateway {plan.name}"
    said = "" if status == "ok" else remedy
    return CheckResult(plan.host, subject, check, status, expected, found, said)


def _service(plan: GatewayPlan, service: Service, found: Found) -> CheckResult:
    unit = found.units.get(service.unit, {})
    state = f"{unit.get('ActiveState', '?')}, {unit.get('UnitFileState') or 'not installed'}"
    good = is_right(service, found)
    return _result(
        plan,
        service.unit.removesuffix(".service"),
        "ok" if good else "failed",
        "active, enabled, with the planned configuration",
        state if good or state != "active, enabled" else "another configuration is in force",
        f"see `journalctl -u {service.unit}`, then deploy again",
    )


def _states(plan: GatewayPlan, proof: Proof) -> Iterator[CheckResult]:
    """One result for all slices that are well, and one for each that is not."""
    well = 0
    for upstream in plan.upstreams:
        state = proof.states.get(upstream.name, "not known")
        if state.startswith("UP"):
            well += 1
            continue
        drained = state.startswith(("NOLB", "DRAIN"))
        yield _result(
            plan,
            "slices",
            "warning" if drained else "failed",
            f"{upstream.name} is up",
            "it is drained" if drained else state,
            f"`fleet undrain` puts it back into service: {upstream.name}"
            if drained
            else f"on {upstream.host}: `cat /run/ollama-health/{upstream.slice}.*`, "
            f"`journalctl -u ollama-hop -u ollama-health -u ollama-{upstream.slice}`",
        )
    yield _result(plan, "slices", "ok", "slices are up", f"{well} of {len(plan.upstreams)}", "")


def _answers(plan: GatewayPlan, proof: Proof) -> Iterator[CheckResult]:
    asked = asked_slices(plan)
    for upstream in asked:
        said = proof.answers.get(upstream.name, "nothing")
        if said != WELL and proof.states.get(upstream.name, "").startswith("UP"):
            yield _result(
                plan,
                "inference",
                "failed",
                f"a token of {upstream.model} from {upstream.name}",
                said,
                f"see `journalctl -u ollama-balancer` here, and on {upstream.host} "
                f"`journalctl -u ollama-hop -u ollama-{upstream.slice}`",
            )
    well = sum(said == WELL for said in proof.answers.values())
    yield _result(plan, "inference", "ok", "slices answer", f"{well} of {len(asked)} asked", "")


def _front(plan: GatewayPlan, proof: Proof) -> CheckResult:
    """Who brings no key is refused, or let in where none is asked for."""
    wanted = "401" if plan.needs_key else "200"
    return _result(
        plan,
        "front",
        "ok" if proof.front == wanted else "failed",
        f"{wanted} without a key at {own_url(plan)}",
        proof.front or "no answer",
        "see `journalctl -u ollama-gateway`",
    )
