"""Proof that a mirror is what was planned: its unit, its configuration, its answers, its disk."""

from ollama_fleet.checks.model import CheckResult, Status
from ollama_fleet.mirrors.nginx import ERROR_LOG, configuration_digest
from ollama_fleet.mirrors.state import MirrorState
from ollama_fleet.planner.mirror import MirrorPlan
from ollama_fleet.sources import REGISTRY_PATH

# Below it a download may end in an error at any time.
LEAST_FREE_MIB = 1024
MIB = 1024


def judge_mirror(mirror: MirrorPlan, state: MirrorState) -> list[CheckResult]:
    """Results of every check of a mirror."""
    return [check(mirror, state) for check in (_unit, _configuration, _answers, _disk)]


def _result(
    mirror: MirrorPlan, check: str, status: Status, expected: str, found: str, remedy: str
) -> CheckResult:
    subject = f"mirror {mirror.name}"
    said = "" if status == "ok" else remedy
    return CheckResult(mirror.host, subject, check, status, expected, found, said)


def _good(good: bool) -> Status:
    return "ok" if good else "failed"


def _unit(mirror: MirrorPlan, state: MirrorState) -> CheckResult:
    is_, will = ("" if state.is_active else "not "), ("" if state.is_enabled else "not ")
    return _result(
        mirror,
        "unit",
        _good(state.is_active and state.is_enabled),
        "nginx active, enabled",
        f"{is_}active, {will}enabled",
        "`systemctl enable --now nginx`, or deploy again",
    )


def _configuration(mirror: MirrorPlan, state: MirrorState) -> CheckResult:
    """By what the running nginx answers, not by what lies in its files."""
    good = state.in_force == configuration_digest(mirror, state.machine)
    found = "in force" if good else "another one is in force, or none"
    remedy = f"deploy again; see {ERROR_LOG} there"
    return _result(mirror, "configuration", _good(good), "the planned one", found, remedy)


def _answers(mirror: MirrorPlan, state: MirrorState) -> CheckResult:
    good = state.registry_status == "200"
    return _result(
        mirror,
        "answers",
        _good(good),
        f"200 at {mirror.own_url}{REGISTRY_PATH}/",
        f"200, hosts use {mirror.url}" if good else state.registry_status or "nothing",
        f"see {ERROR_LOG} there",
    )


def _disk(mirror: MirrorPlan, state: MirrorState) -> CheckResult:
    """Whether the cache may grow as large as it is allowed to."""
    cached, free = state.cache_mib or 0, state.free_mib or 0
    wanted = mirror.max_gib * MIB
    status: Status = "ok" if cached + free >= wanted or mirror.offline else "warning"
    if free < LEAST_FREE_MIB and status != "ok":
        status = "failed"
    return _result(
        mirror,
        "cache disk",
        status,
        f"room for {mirror.max_gib} GiB in {mirror.cache_path}",
        f"{cached / MIB:.1f} GiB cached, {free / MIB:.0f} GiB free",
        f"set `cache: {{max_gib: {max(1, (cached + free) // MIB * 9 // 10)}}}` or less, or another "
        "`path:`; a full disk ends downloads",
    )
