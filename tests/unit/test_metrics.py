"""Metrics: the writer takes what a host says as text of others, each metric is described, and what a machine
shows goes with its plan."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ollama_fleet.checks.metrics import QUESTION, judge, questions, units_of
from ollama_fleet.metrics.catalogue import METRICS, written_by
from ollama_fleet.metrics.door import shown
from ollama_fleet.metrics.ends import ends_service
from ollama_fleet.metrics.machine import SITE_DCGM_UNITS, Machine, usual_machine
from ollama_fleet.metrics.places import DCGM_UNIT, FILES, SYSUSERS
from ollama_fleet.metrics.services import LEFT, leftover_steps, services
from ollama_fleet.metrics.services import asked as services_asked
from ollama_fleet.metrics.writer import job_of, writer_service
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.monitoring import MonitoringPlan, monitored_machines
from ollama_fleet.questions import Answer
from ollama_fleet.spec.rules import RESERVED_NAMES
from ollama_fleet.templating import MARKER, TEMPLATES
from tests.unit.monitored import fleet

ROOT = Path(__file__).parents[2]
PLAN = plan_fleet(fleet()).required().hosts["gpu01"]
MACHINE = usual_machine()
GPU = "GPU-8e793ae8-3148-53b9-a6b4-c24e4b84606e"
JOB = "chat 11434 1000 *qwen3:8b nomic-embed-text\ncode 11435 - qwen2.5-coder:7b"


def plan_of(machine: str) -> MonitoringPlan:
    return monitored_machines(fleet())[machine]


def program(name: str) -> str:
    """A file of the writer as a host gets it."""
    assert PLAN.monitoring
    files = {file.path: file.text for file in writer_service(PLAN.monitoring, PLAN).others}
    return next(text for path, text in files.items() if path.endswith(name))


@pytest.fixture(params=["awk", "mawk", "gawk"])
def written(request: pytest.FixtureRequest, tmp_path: Path):
    """What the writer's program makes of sections, with each awk that is here."""
    words = request.param.split()
    if subprocess.run(["which", words[0]], capture_output=True).returncode:
        pytest.skip(f"no {words[0]} here")
    (tmp_path / "program.awk").write_text(program("ollama-metrics.awk"))

    def run(**sections: str) -> dict[str, str]:
        text = "".join(f"={name}\n{said}\n" for name, said in {"job": JOB, **sections}.items())
        done = subprocess.run(
            [*words, "-v", "interval=15", "-v", "known=known", "-f", "program.awk"],
            input=text,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
        lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
        for line in lines:
            assert re.fullmatch(r'[a-z_]+(\{([a-z]+="[^"\\\n]*",?)+\})? [0-9.e+-]+', line), line
        return dict(line.rsplit(" ", 1) for line in lines)

    return run


ROW = f'0, {GPU}, 00000001:1A:00.0, 24576, 2048, 38, 57, 147.11, 350.00, 0, 0x0000000000000068, A "B\\'


def test_a_gpu_is_shown_with_its_numbers_and_a_name_cannot_break_out(written) -> None:
    found = written(now="100", bus="0001:1a:00.0", smi=ROW)
    of = f'{{gpu="0",uuid="{GPU}",address="0001:1a:00.0",name="A _B_"}}'
    assert found[f"ollama_gpu_memory_total_bytes{of}"] == "25769803776"
    assert found[f"ollama_gpu_utilization_ratio{of}"] == "0.38"
    assert found[f"ollama_gpu_power_watts{of}"] == "147.11"
    assert found["ollama_gpu_count"] == found["ollama_gpu_pci_count"] == "1"
    throttled = {key for key, value in found.items() if "throttled" in key and value == "1"}
    assert {re.findall('reason="(.*)"', key)[0] for key in throttled} == {
        *("hw_slowdown", "sw_thermal", "hw_thermal"),
    }


def test_what_a_card_does_not_tell_is_not_shown_as_zero(written) -> None:
    row = f"0, {GPU}, 00000000:1A:00.0, 24576, 1, [N/A], 57, [N/A], [N/A], [N/A], [N/A], T4"
    found = written(now="100", bus="0000:1a:00.0", smi=row)
    names = {key.partition("{")[0] for key in found}
    assert "ollama_gpu_temperature_celsius" in names
    assert not names & {"ollama_gpu_utilization_ratio", "ollama_gpu_ecc_uncorrected_total"}


def test_a_gpu_that_is_lost_keeps_its_labels_whatever_the_driver_still_says(written) -> None:
    lost = "0" + ", [GPU is lost]" * 1 + ", 00000000:1A:00.0" + ", [GPU is lost]" * 9
    known = f"0000:1a:00.0 0 {GPU} RTX 3090"
    of = f'{{gpu="0",uuid="{GPU}",address="0000:1a:00.0",name="RTX 3090"}}'
    for smi in (lost, ""):
        found = written(now="1", known=known, bus="0000:1a:00.0", smi=smi)
        assert found[f"ollama_gpu_lost{of}"] == "1" and found["ollama_gpu_count"] == "0"
    silent = written(now="1", known=known, bus="0000:1a:00.0")
    assert silent["ollama_gpu_answers"] == "0" and "ollama_gpu_count" not in silent
    assert not [key for key in silent if key.startswith("ollama_gpu_lost")]


@pytest.mark.parametrize(("field", "lost"), [(1, "1"), (3, "1"), (6, "1"), (8, "0"), (9, "0")])
def test_a_gpu_that_cannot_say_what_every_card_knows_is_lost(
    written, field: int, lost: str
) -> None:
    cells = ROW.split(", ")
    row = ", ".join([*cells[:field], "[Unknown Error]", *cells[field + 1 :]])
    known = f"0001:1a:00.0 0 {GPU} RTX 3090"
    found = written(now="1", known=known, bus="0001:1a:00.0", smi=row)
    (told,) = [value for key, value in found.items() if key.startswith("ollama_gpu_lost")]
    assert told == lost


def test_faults_of_the_driver_are_counted_for_their_gpu(written) -> None:
    found = written(
        now="1", bus="0000:1a:00.0", smi=ROW, xids="xid 0000:1A:00\nxid 0000:1a:00\n=units"
    )
    assert [value for key, value in found.items() if "xid_total" in key and "0000:1a" in key] == [
        "2"
    ]


PS = (
    '{"models":[{"name":"qwen3:8b","model":"qwen3:8b","size":9448928051,"details":{"family":"x"},'
    '"size_vram":9448928050},{"name":"a\\"b","size":1,"size_vram":1}]}'
)


def test_slices_are_shown_with_their_models(written) -> None:
    units = "Id=ollama-chat.service\nActiveState=active\nNRestarts=2\n\n"
    units += "Id=ollama-code.service\nActiveState=failed"
    found = written(
        now="1",
        units=units,
        apps="chat 10\nchat 5\ncode -",
        marks="drained code",
        ps=f"#11434\njson {PS}",
        repairs="12 chat unload\n13 chat unload\n14 chat restart",
    )
    assert (
        found['ollama_slice_up{slice="chat"}'] == found['ollama_slice_serving{slice="chat"}'] == "1"
    )
    assert (
        found['ollama_slice_up{slice="code"}'] == found['ollama_slice_serving{slice="code"}'] == "0"
    )
    assert found['ollama_slice_restarts_total{slice="chat"}'] == "2"
    assert found['ollama_slice_drained{slice="code"}'] == "1"
    assert found['ollama_slice_memory_used_bytes{slice="chat"}'] == str(15 * 2**20)
    assert 'ollama_slice_memory_used_bytes{slice="code"}' not in found
    assert found['ollama_slice_memory_planned_bytes{slice="chat"}'] == "1000"
    assert 'ollama_slice_memory_planned_bytes{slice="code"}' not in found
    of = 'slice="chat",model="qwen3:8b"'
    assert found[f"ollama_slice_model_size_bytes{{{of}}}"] == "9448928051"
    assert found[f"ollama_slice_model_vram_bytes{{{of}}}"] == "9448928050"
    assert found['ollama_slice_model_loaded{slice="chat",model="nomic-embed-text:latest"}'] == "0"
    assert found[f"ollama_slice_model_kept{{{of}}}"] == "1"
    assert found['ollama_slice_model_kept{slice="chat",model="nomic-embed-text:latest"}'] == "0"
    assert found['ollama_watchdog_repairs_total{slice="chat",rung="unload"}'] == "2"
    assert found['ollama_watchdog_repairs_total{slice="code",rung="quarantine"}'] == "0"
    assert 'ollama_slice_model_loaded{slice="chat",model="a' not in "".join(found)


def test_a_slice_speaks_for_itself_alone(written) -> None:
    """Its answer is one line, and no section of ours."""
    found = written(now="1", ps="#11434\njson =units\n#11435\njson {}")
    assert found['ollama_slice_up{slice="code"}'] == "0"


def test_the_watch_has_the_last_word_on_who_serves(written) -> None:
    found = written(
        now="1",
        units="Id=ollama-chat.service\nActiveState=active\nNRestarts=0",
        ps=f"#11434\njson {PS}",
        marks="down chat",
    )
    assert found['ollama_slice_serving{slice="chat"}'] == "0"


def test_every_metric_is_written_and_described() -> None:
    text = program("ollama-metrics.awk")
    for metric in written_by("ollama-metrics"):
        assert f'"{metric.name}"' in text, metric.name
        assert metric.help.endswith(".") and '"' not in metric.help
    rules = (TEMPLATES / "metrics/gateway.mtail.j2").read_text()
    for metric in written_by("ollama-mtail"):
        by = ", ".join(metric.labels)
        assert f"{metric.kind} {metric.name} by {by}" in rules
    page = (ROOT / "docs/monitoring.md").read_text()
    table = page.partition("<!-- metrics -->")[2].partition("<!-- end of metrics -->")[0]
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{name}`' for name in one.labels)} | {one.help} |"
        for one in METRICS
    ]
    assert table.strip().splitlines()[2:] == rows


def test_the_scripts_are_shell() -> None:
    certificates = ends_service([("/etc/x.pem", "certificate for monitors")], True)
    scripts = [
        program("libexec/ollama-metrics"),
        *(file.text for file in certificates.others if file.mode == "0755"),
    ]
    for script in scripts:
        for shell in ("sh", "bash"):
            subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_a_job_says_what_the_plan_knows() -> None:
    lines = job_of(PLAN).splitlines()
    assert lines[0].startswith("chat 11434 ") and lines[0].endswith(
        " *qwen3:8b *nomic-embed-text:latest"
    )
    assert int(lines[0].split()[2]) > 5 * 2**30
    kept = [line.count("*") for line in lines]
    assert kept == [len(item.preload) for item in PLAN.slices] and kept[0]
    leaves = {**PLAN.slices[0].environment, "OLLAMA_KEEP_ALIVE": "5m"}
    chat = replace(PLAN.slices[0], environment=leaves)
    assert "*" not in job_of(replace(PLAN, slices=(chat,)))


def test_each_machine_shows_what_it_has() -> None:
    host, gateway = plan_of("gpu01"), plan_of("gw1")
    assert [path for path, _, _ in shown(host, MACHINE)] == ["/metrics"]
    paths = [path for path, _, _ in shown(gateway, MACHINE)]
    assert paths == ["/metrics", "/metrics/gateway", "/metrics/haproxy", "/metrics/nginx"]
    site = Machine(MACHINE.programs, has_dcgm=True)
    assert ("/metrics/dcgm", 9400, "/metrics") in shown(host, site)
    ours = shown(replace(host, gpu="dcgm"), MACHINE)
    assert ("/metrics/dcgm", host.inside.dcgm, "/metrics") in ours
    assert len(shown(replace(host, gpu="textfile"), site)) == 1


def test_our_own_dcgm_exporter_keeps_off_one_that_is_there() -> None:
    plan = replace(plan_of("gpu01"), gpu="dcgm")
    units = {one.unit for one in services(plan, PLAN, MACHINE)}
    beside = {one.unit for one in services(plan, PLAN, Machine(MACHINE.programs, has_dcgm=True))}
    assert units - beside == {"ollama-dcgm-exporter.service"}


def test_every_file_and_unit_is_known_to_whoever_takes_them_away() -> None:
    for name, plan in monitored_machines(fleet()).items():
        host = PLAN if plan.on_host else None
        every = services(replace(plan, gpu="dcgm"), host, MACHINE)
        files = [file for one in every for file in (*one.configuration, *one.others)]
        assert {file.path for file in files} <= set(FILES), name
        assert all(MARKER in file.text for file in files)
    names = {Path(path).stem.removeprefix("ollama-") for path in FILES if "/system/" in path}
    assert names <= RESERVED_NAMES


def test_what_is_left_goes_with_account_and_keys() -> None:
    left = "/etc/systemd/system/ollama-metrics.service\n/etc/ollama/monitoring/tls\n" + SYSUSERS
    steps = "\n".join(leftover_steps({LEFT: Answer(left)}))
    assert "disable -q --now ollama-metrics.service" in steps
    assert "rm -rf /etc/ollama/monitoring/tls" in steps and "userdel ollama-metrics" in steps
    assert leftover_steps({LEFT: Answer("")}) == []
    assert set(services_asked(None, None)) == {LEFT}


def said(
    age_s: int = 5, broken: int = 0, state: str = "active", **states: str
) -> dict[str, Answer]:
    """What gpu01 answers; `states` are of further units."""
    every = dict.fromkeys(units_of(plan_of("gpu01")), state) | states
    units = "\n\n".join(
        f"Id={unit}\nActiveState={is_}\nUnitFileState=enabled" for unit, is_ in every.items()
    )
    text = f"{units}\nollama_metrics_written_seconds {1000 - age_s}\n"
    return {QUESTION: Answer(f"{text}node_textfile_scrape_error {broken}\nnow 1000")}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (said(), "shown at port 19100, 5 s old"),
        (said(age_s=46), "metrics of GPUs and slices are 46 s old"),
        (said(broken=1), "a file in /var/lib/ollama/metrics is no metrics"),
        (said(state="failed"), "ollama-metrics-door is failed, enabled"),
        ({QUESTION: Answer("curl: (7) refused\nnow 1000")}, "the node exporter does not answer"),
        ({}, "ollama-metrics-door is ?, not installed"),
    ],
)
def test_metrics_that_nobody_writes_any_more_are_found_out(
    answers: dict[str, Answer], words: str
) -> None:
    result = judge("gpu01", "host", plan_of("gpu01"), answers)
    assert words in result.found
    assert result.failed is (words != "shown at port 19100, 5 s old")


WITH_DCGM = replace(plan_of("gpu01"), gpu="dcgm")


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({DCGM_UNIT: "active"}, ""),
        ({DCGM_UNIT: "failed"}, "ollama-dcgm-exporter is failed, enabled"),
        ({}, "ollama-dcgm-exporter is ?, not installed"),
        # Where the site's own runs ours is not brought.
        ({"nvidia-dcgm-exporter.service": "active"}, ""),
        ({"dcgm-exporter.service": "active"}, ""),
        ({"dcgm-exporter.service": "failed"}, "ollama-dcgm-exporter is ?, not installed"),
    ],
)
def test_a_dcgm_exporter_that_the_inventory_asks_for_has_to_run(
    states: dict[str, str], words: str
) -> None:
    result = judge("gpu01", "host", WITH_DCGM, said(**states))
    assert (result.status, result.found) == (
        ("failed", words) if words else ("ok", "shown at port 19100, 5 s old")
    )


def test_every_unit_that_may_have_to_run_is_asked_about() -> None:
    asked = questions(WITH_DCGM)[QUESTION].splitlines()[0].split()
    assert asked.count(DCGM_UNIT) == 1 and {*units_of(WITH_DCGM), *SITE_DCGM_UNITS} < set(asked)
    assert DCGM_UNIT not in questions(plan_of("gpu01"))[QUESTION]
    on_gateway = replace(plan_of("gw1"), gpu="dcgm")
    assert DCGM_UNIT not in units_of(on_gateway), "it has no GPUs to look at"


def test_nobody_is_asked_about_metrics_that_are_not_shown() -> None:
    assert questions(None) == {}
