"""A service that is not a slice's: whether it runs with the files and the configuration that are planned."""

from ollama_fleet.checks.model import CheckResult
from ollama_fleet.services.service import Found, Service, changed, files_of, is_right


def judge_service(host: str, subject: str, service: Service, found: Found) -> CheckResult:
    """One result, named as its unit."""
    unit = found.units.get(service.unit, {})
    state = f"{unit.get('ActiveState', '?')}, {unit.get('UnitFileState') or 'not installed'}"
    good = is_right(service, found)
    return CheckResult(
        host,
        subject,
        service.unit.removesuffix(".service"),
        "ok" if good else "failed",
        "active, enabled, with the planned configuration",
        state if good or state != "active, enabled" else _what_differs(service, found),
        "" if good else f"see `journalctl -u {service.unit}`, then deploy again",
    )


def _what_differs(service: Service, found: Found) -> str:
    """Of a service that runs: what of it is not as planned."""
    if service.asks and found.in_force.get(service.unit) != service.digest:
        return "another configuration is in force"
    if changed(files_of([service]), found):
        return "its files are others; `files` names them"
    return "systemd has not read its files since they were changed"
