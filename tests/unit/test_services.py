"""Steps of a service: what a run that was cut off leaves is seen by the next, and brought into force."""

from dataclasses import replace

from ollama_fleet.services.service import Found, Service, Step, as_found, is_right, service_steps
from ollama_fleet.templating import UNIT_DIR, HostFile

UNIT = HostFile(f"{UNIT_DIR}/ollama-health.service", "[Service]\n")
JOB = HostFile("/etc/ollama/health", "chat 11434 warm\n")
SCRIPT = HostFile("/opt/ollama/libexec/ollama-health", "#!/bin/sh\n", mode="0755")
HEALTH = Service("ollama-health.service", configuration=(), others=(JOB, SCRIPT, UNIT))
UP = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
AS_WANTED = Found({file.path: as_found(file) for file in HEALTH.others}, {HEALTH.unit: UP})


def has(found: Found, *files: HostFile) -> Found:
    """The same machine with other files."""
    return replace(found, files={**found.files, **{file.path: as_found(file) for file in files}})


def position(steps: list[Step], words: str) -> int:
    return next(n for n, step in enumerate(steps) if isinstance(step, str) and words in step)


def test_nothing_is_done_to_one_that_is_right() -> None:
    assert is_right(HEALTH, AS_WANTED) and service_steps([HEALTH], [], AS_WANTED) == []


def test_a_run_that_ends_between_writing_and_restarting_is_made_good() -> None:
    """The new job is there, the process has the old one, and nothing else would tell."""
    before = has(AS_WANTED, replace(JOB, text="code 11435 warm\n"))
    steps = service_steps([HEALTH], [], before)
    marks = position(steps, f"chmod 0444 {UNIT.path}")
    restarts = position(steps, "systemctl restart ollama-health.service")
    assert marks < steps.index(JOB) < restarts < position(steps, f"chmod 0644 {UNIT.path}")
    cut_off = has(AS_WANTED, replace(UNIT, mode="0444"))
    assert not is_right(HEALTH, cut_off)
    assert position(service_steps([HEALTH], [], cut_off), "systemctl restart ollama-health")


def test_a_unit_s_own_file_is_written_unfinished_and_finished_when_it_runs() -> None:
    steps = service_steps([HEALTH], [], has(AS_WANTED, replace(UNIT, text="old\n")))
    assert replace(UNIT, mode="0444") in steps and UNIT not in steps
    assert position(steps, "systemctl restart") < position(steps, f"chmod 0644 {UNIT.path}")


def test_one_that_is_only_stopped_or_reloaded_is_not_marked() -> None:
    stopped = replace(AS_WANTED, units={HEALTH.unit: {**UP, "ActiveState": "inactive"}})
    assert not [step for step in service_steps([HEALTH], [], stopped) if "chmod" in str(step)]
    settings = HostFile("/etc/ollama/gateway/nginx.conf", "a\n")
    gateway = replace(HEALTH, configuration=(settings,))
    steps = service_steps([gateway], [], AS_WANTED)
    assert "chmod" not in "".join(map(str, steps))
    assert position(steps, "systemctl reload-or-restart ollama-health.service") > 0
