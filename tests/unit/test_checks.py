"""Judgement of recorded answers: a healthy host passes, each fault fails the check that is for it."""

import json

import pytest

from ollama_fleet.checks import units
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.registry import judge, verification_questions
from ollama_fleet.hardware.found import HARDWARE_QUESTIONS
from ollama_fleet.questions import Answer
from tests.unit.drift_answers import clean
from tests.unit.examples import UUIDS, host_plan, watch_answers

PLAN = host_plan(
    {"name": "chat", "gpus": [0], "models": ["qwen3:8b"]},
    {"name": "code", "gpus": [1], "models": ["qwen2.5-coder:7b"]},
    gpus=[{"model": "RTX 3090", "count": 2}],
)
SIZE = 6_000 * 2**20


def row(position: int, memory: str = "24576", ecc: str = "[N/A]", driver: str = "580.95.05") -> str:
    return (
        f"{position}, {UUIDS[position]}, NVIDIA GeForce RTX 3090, 00000000:1{position}:00.0, {driver}, "
        f"{memory}, 100, 8.6, 40, Enabled, {ecc}, [N/A], [N/A]"
    )


def generation(tokens_per_s: float = 90) -> str:
    count = 16
    duration = int(count / tokens_per_s * 1e9)
    answer = {
        "response": "Yes, I am.",
        "done": True,
        "eval_count": count,
        "eval_duration": duration,
    }
    return json.dumps(answer)


def ps(position: int, on_gpu: int = SIZE, **changes: object) -> str:
    loaded = {
        "name": PLAN.slices[position].models[0],
        "size": SIZE,
        "size_vram": on_gpu,
        "context_length": 4096,
        "expires_at": "2318-03-04T12:00:00.123456789Z",
    }
    models = {"models": [loaded | changes]}
    return f"{json.dumps(models)}\n#{PLAN.slices[position].url}/api/ps\n"


HEALTHY_DRIVER = {
    **{
        name: ""
        for name in verification_questions(PLAN)
        if name.startswith(("driver.", "health.", "containers"))
    },
    "driver.os": "ID=debian\nVERSION_ID=12",
    "driver.machine": "x86_64",
    "driver.kernel": "6.1.0-42-amd64",
    "driver.pci": "0000:10:00.0 0x2204 0x030000\n0000:11:00.0 0x2204 0x030000",
    "driver.loaded": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release",
    "driver.kernels": "6.1.0-42-amd64 yes 580.95.05 Dual MIT/GPL",
    "driver.library": "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05",
    "health.gpus": "#retired_pages.pending,clocks_event_reasons.active\n"
    + "\n".join(f"{uuid}, [N/A], 0x0000000000000001" for uuid in UUIDS[:2]),
}


def healthy() -> dict[str, str]:
    """Answers of a host on which everything is right."""
    answers = HEALTHY_DRIVER | {
        "smi": f"{row(0)}\n{row(1)}",
        "minors": "\n".join(
            f"/proc/driver/nvidia/gpus/0000:1{n}:00.0/information:Device Minor: \t {n}"
            for n in (0, 1)
        ),
        "driver": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release",
        "uvm": "",
        "pci": "0000:10:00.0 0x10de 0x030000\n0000:11:00.0 0x10de 0x030000",
        "units": "\n\n".join(
            f"Id=ollama-{name}.service\nActiveState=active\nUnitFileState=enabled\nMainPID={pid}\nNRestarts=0\n"
            + "\n".join(f"{key}={value}" for key, value in units.HARDENING.items())
            for name, pid in (("chat", 11), ("code", 12))
        ),
        "quarantine": "",
        "ways": "\n\n".join(
            f"Id=ollama-{name}.service\nActiveState=active\nUnitFileState=enabled"
            for name in ("health", "watchdog")
        ),
        "start": "",
        "clock": "1764345600\n1764345601\nsynchronized",
        "clock end": "1764345602",
        "programs": "/proc/11/comm:ollama\n/proc/12/comm:ollama\n/proc/9/comm:systemd-timesyn",
        "file systems": "ab0 4096 25000000 20000000 6000000 5000000 /\n"
        "ab1 4096 250000000 200000000 0 0 /var/lib/ollama/models",
        "ports": "unit ollama-chat.service 11\nunit ollama-chat.service 101\nunit ollama-code.service 12\n"
        "program 11\nprogram 101\nprogram 12\n"
        "listens 11 0100007F:2CAA\nlistens 101 0100007F:C001\nlistens 12 0100007F:2CAB",
        "discovery": "holds ollama-chat.service 1\nholds ollama-code.service 1",
        "tidy": "",
        "release.files": "",
        "selfcheck": "time 100\nnow 160",
        "wait": "",
        "warm": "",
        "environments": "",
        "api": "",
        "ps": "",
        "apps": f"{UUIDS[0]}, 101, llama-server, 6100\n{UUIDS[1]}, 102, llama-server, 5100",
        "owners": "/proc/101/cgroup:0::/system.slice/ollama-chat.service\n"
        "/proc/102/cgroup:0::/system.slice/ollama-code.service",
    }
    answers |= watch_answers(PLAN, answers)
    for position, item in enumerate(PLAN.slices):
        environment = {"CUDA_VISIBLE_DEVICES": UUIDS[position], **item.environment}
        answers |= {
            f"devices {item.name}": f"open /dev/nvidia{position}\nrefused /dev/nvidia{1 - position}",
            f"generation {item.name}": generation(),
        }
        answers["environments"] += "".join(
            f"/proc/{11 + position}/environ:{name}={value}\n" for name, value in environment.items()
        )
        tags = json.dumps({"models": [{"name": model} for model in PLAN.models]})
        version = '{"version":"0.32.15"}'
        answers["api"] += f"{version}\n#{item.url}/api/version\n{tags}\n#{item.url}/api/tags\n"
        answers["ps"] += ps(position)
    return answers | clean(PLAN, answers)


def assembled(texts: dict[str, str]) -> dict[str, str]:
    """What is told of each slice by itself above comes in one answer for all."""
    kept = ("contain", "clock", "file")
    whole = {name: text for name, text in texts.items() if " " not in name or name.startswith(kept)}
    whole |= {"devices": "", "generations": "", "api": whole["api"] + whole.pop("ps", "")}
    for name, text in texts.items():
        kind, _, item = name.partition(" ")
        if kind == "devices":
            whole[kind] += "".join(f"ollama-{item}.service {row}\n" for row in text.splitlines())
        elif kind == "generation":
            whole["generations"] += "".join(f"{item}:{row}\n" for row in text.splitlines())
    return whole


def judged(changes: dict[str, str] | None = None, codes: dict[str, int] | None = None):
    texts = assembled({**healthy(), **(changes or {})})
    answers = {name: Answer(text, (codes or {}).get(name, 0)) for name, text in texts.items()}
    return judge(PLAN, answers)


def failures(results: list[CheckResult]) -> list[tuple[str, str]]:
    return [(result.subject, result.check) for result in results if result.failed]


def test_a_healthy_host_passes_every_check() -> None:
    results = judged()
    assert {result.status for result in results} == {"ok"}
    per_slice = {result.check for result in results if result.subject == "chat"}
    assert per_slice == {
        "unit", "restarts", "hardening", "environment", "isolation", "ports", "api", "models", "warm",
        "inference", "speed", "gpu discovery", "weights on gpu",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("time 100\nchanged units\nchanged api\nnow 160", "units, api not as when all was proved"),
        ("time 100\nnow 7300", "looked 120 min ago"),
    ],
)
def test_a_host_that_noticed_something_by_itself_is_worth_a_look(said: str, words: str) -> None:
    (found,) = [result for result in judged({"selfcheck": said}) if result.check == "self check"]
    assert found.status == "warning" and words in found.found and found.remedy


@pytest.mark.parametrize("said", ["", "never", "older\ntime 100\nnow 160"])
def test_a_host_that_has_nothing_to_compare_with_is_not_judged_by_it(said: str) -> None:
    assert not [r for r in judged({"selfcheck": said}) if r.check == "self check"]


def test_answers_of_the_example_are_the_ones_that_are_asked_for() -> None:
    assert set(verification_questions(PLAN)) == set(assembled(healthy()))


FAULTS = {
    "a slice that listens to everybody": (
        {"ports": healthy()["ports"].replace("0100007F:2CAA", "00000000:2CAA")},
        ("chat", "ports"),
    ),
    "a slice at another port": (
        {"ports": healthy()["ports"].replace("7F:2CAA", "7F:2CBB")},
        ("chat", "ports"),
    ),
    "somebody's own Ollama": (
        {"ports": healthy()["ports"] + "\nprogram 77\nlistens 77 00000000:3039"},
        ("host", "ports"),
    ),
    "a full disk": (
        {"file systems": "ab0 4096 25000000 20000 6000000 5000000 /"},
        ("host", "disk"),
    ),
    "a clock that is behind": (
        {"clock": "1764345600\n1764345000\nsynchronized"},
        ("host", "clock"),
    ),
    "a server that found no GPU": (
        {
            "discovery": "holds ollama-chat.service 0\n"
            'said ollama-chat.service msg="inference compute" id=cpu library=cpu'
        },
        ("chat", "gpu discovery"),
    ),
    "a GPU missing from nvidia-smi": ({"smi": row(0) + "\n" + row(1).replace("1, GPU", "x")},),
    "a lost GPU": (
        {"smi": f"{row(0)}\n{row(1, memory='[GPU is lost]')}"},
        ("gpu 0000:11:00.0", "gpu health"),
    ),
    "ECC errors": (
        {"smi": f"{row(0)}\n{row(1, ecc='3')}"},
        ("gpu 0000:11:00.0", "ecc"),
    ),
    "another driver loaded": (
        {"driver": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.1.2  x"},
        ("host", "driver"),
    ),
    "a card more on the bus": (
        {"pci": healthy()["pci"] + "\n0000:12:00.0 0x10de 0x030000"},
        ("host", "gpu count"),
    ),
    "a dead unit": (
        {"units": healthy()["units"].replace("ActiveState=active", "ActiveState=failed", 1)},
        ("chat", "unit"),
    ),
    "a unit that does not survive a reboot": (
        {"units": healthy()["units"].replace("=enabled", "=disabled", 1)},
        ("chat", "unit"),
    ),
    "the stock unit running": (
        {"units": healthy()["units"] + "\n\nId=ollama.service\nActiveState=active"},
        ("host", "stock unit"),
    ),
    "a process with an old environment": (
        {"environments": healthy()["environments"].replace("=4096", "=2048", 1)},
        ("chat", "environment"),
    ),
    "a process with another GPU": (
        {"environments": healthy()["environments"].replace(UUIDS[0], UUIDS[1])},
        ("chat", "environment"),
    ),
    "a slice that can open its neighbour's GPU": (
        {"devices chat": "open /dev/nvidia0\nopen /dev/nvidia1"},
        ("chat", "isolation"),
    ),
    "a slice that cannot open its own GPU": (
        {"devices chat": "refused /dev/nvidia0\nrefused /dev/nvidia1"},
        ("chat", "isolation"),
    ),
    "a sandbox that a drop-in opened": (
        {"units": healthy()["units"].replace("=127.0.0.0/8 ::1/128", "=::/0", 1)},
        ("chat", "hardening"),
    ),
    "another version": (
        {"api": healthy()["api"].replace("0.32.15", "0.30.0", 1)},
        ("chat", "api"),
    ),
    "a model missing": (
        {"api": healthy()["api"].replace("qwen3:8b", "other:8b", 1)},
        ("chat", "models"),
    ),
    "no answer": (
        {"generation chat": "curl: (28) Operation timed out"},
        ("chat", "inference"),
    ),
    "an error instead of an answer": (
        {"generation chat": '{"error":"llama runner process has terminated"}'},
        ("chat", "inference"),
    ),
    "a crawl": ({"generation chat": generation(20)}, ("chat", "speed")),
    "weights on the CPU": (
        {
            "apps": f"{UUIDS[1]}, 102, llama-server, 5100",
            "ps": ps(0, 0) + ps(1),
        },
        ("chat", "weights on gpu"),
    ),
    "weights on the CPU though /api/ps says GPU": (
        {"apps": f"{UUIDS[1]}, 102, llama-server, 5100"},
        ("chat", "weights on gpu"),
    ),
    "weights half on the CPU": (
        {"ps": ps(0, SIZE // 2) + ps(1)},
        ("chat", "weights on gpu"),
    ),
    "weights on a neighbour's GPU": (
        {"apps": f"{UUIDS[1]}, 101, llama-server, 6100\n{UUIDS[1]}, 102, llama-server, 5100"},
        ("chat", "weights on gpu"),
    ),
    "memory held by somebody else's process": (
        {
            "owners": healthy()["owners"].replace(
                "system.slice/ollama-chat.service", "user.slice/x.scope"
            )
        },
        ("chat", "weights on gpu"),
    ),
}


@pytest.mark.parametrize("fault", [name for name, case in FAULTS.items() if len(case) == 2])
def test_a_fault_fails_the_check_that_is_for_it(fault: str) -> None:
    changes, expected = FAULTS[fault]
    assert expected in failures(judged(changes))


def test_the_speed_that_is_asked_for_follows_from_model_and_gpu() -> None:
    """An 8B of 4.9 GB on a card of 936 GB/s must do about 45; one that nobody knows only 3."""
    expected = {r.subject: r.expected for r in judged() if r.check == "speed"}
    assert expected["chat"].startswith("at least 45")
    unknown = {"smi": healthy()["smi"].replace("RTX 3090", "Something 9")}
    assert {r.expected[:10] for r in judged(unknown) if r.check == "speed"} == {"at least 3"}


def test_uvm_missing_is_seen() -> None:
    assert ("host", "nvidia-uvm") in failures(judged(codes={"uvm": 1}))


def test_a_broken_nvidia_smi_is_told_in_its_own_words() -> None:
    results = judged(
        {"smi": "Failed to initialize NVML: Driver/library version mismatch"}, {"smi": 18}
    )
    count = next(result for result in results if result.check == "gpu count")
    assert count.failed and "version mismatch" in count.found


def test_every_failure_says_what_to_do() -> None:
    for case in FAULTS.values():
        for result in judged(case[0]):
            assert bool(result.remedy) == result.failed


def test_a_model_that_is_still_thinking_answers() -> None:
    thinking = {"response": "", "thinking": "Okay, so", "done": True, "eval_count": 16}
    answer = json.dumps({**thinking, "eval_duration": 10**8})
    assert failures(judged({"generation chat": answer})) == []


def test_a_host_without_slices_and_gpus_has_nothing_to_prove_of_them() -> None:
    answers = {name: Answer("", 1) for name in healthy()}
    bare = dict.fromkeys(HARDWARE_QUESTIONS, "")
    answers |= {name: Answer(text) for name, text in clean(host_plan(), bare).items()}
    assert failures(judge(host_plan(), answers)) == []


@pytest.mark.parametrize(
    ("planned", "asked"), [("-1", None), ("0", 900), ("30s", 900), ("5m", 900), ("1h", None)]
)
def test_a_short_keep_alive_is_longer_for_the_proof(planned: str, asked: int | None) -> None:
    plan = host_plan({"name": "a", "gpus": [0], "models": ["m:1"], "keep_alive": planned})
    question = verification_questions(plan)["start"]
    assert (f'"keep_alive": {asked}' in question) == (asked is not None)


def test_a_model_that_embeds_needs_no_tokens() -> None:
    results = judged({"generation chat": '{"embeddings":[[0.1,0.2]]}'})
    assert failures(results) == []
    assert not any(r.check == "speed" and r.subject == "chat" for r in results)
