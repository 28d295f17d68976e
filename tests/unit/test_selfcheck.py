"""The host's own look at itself: what of an answer counts, and when a deploy has it keep a new state."""

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ollama_fleet.checks.quick import quick_questions
from ollama_fleet.convergence import Difference
from ollama_fleet.host.converge import remove
from ollama_fleet.questions import Answer
from ollama_fleet.selfcheck.files import KEEP, files, keeps_what_was_proved
from ollama_fleet.selfcheck.places import KEEP as KEEP_WISH
from ollama_fleet.selfcheck.places import KEPT_DIR, METRICS, METRICS_DIR, PROVED, RUN_DIR, SCRIPT
from ollama_fleet.selfcheck.steady import STEADY
from tests.unit.test_checks import PLAN

# Question, what it answers, what it may answer later, and what it answers when something is wrong.
ANSWERS = [
    (
        "smi",
        "0, GPU-1, NVIDIA A100, 00000000:17:00.0, 580.95.05, 40960, 1463, 8.6, 57, Enabled, 0, 0, 0",
        "0, GPU-1, NVIDIA A100, 00000000:17:00.0, 580.95.05, 40960, 9000, 8.6, 81, Enabled, 0, 0, 0",
        "0, GPU-1, NVIDIA A100, 00000000:17:00.0, 580.95.05, 40960, 1463, 8.6, 57, Disabled, 0, 0, 0",
    ),
    (
        "health.gpus",
        "#clocks_event_reasons.active,pcie.link.width.current\nGPU-1, 0x0000000000000001, 16",
        "#clocks_event_reasons.active,pcie.link.width.current\nGPU-1, 0x0000000000000024, 8",
        "#clocks_event_reasons.active,pcie.link.width.current\nGPU-1, 0x0000000000000040, 16",
    ),
    (
        "health.xids",
        "nvidia: loading NVIDIA open module",
        "nvidia: loading NVIDIA open module\n[ 12.1] usb 1-1: new device",
        "[ 99.1] NVRM: Xid (PCI:0000:17:00): 79, GPU has fallen off the bus.",
    ),
    (
        "units",
        "MainPID=11\nControlGroup=/x\nId=ollama-chat.service\nActiveState=active",
        "MainPID=99\nControlGroup=/x\nId=ollama-chat.service\nActiveState=active",
        "MainPID=0\nControlGroup=\nId=ollama-chat.service\nActiveState=failed",
    ),
    (
        "environments",
        "/proc/11/environ:A=1\n/proc/12/environ:B=2",
        "/proc/98/environ:B=2\n/proc/99/environ:A=1",
        "/proc/11/environ:A=1\n/proc/12/environ:B=3",
    ),
    (
        "owned.files",
        "644 /etc/a\n644 /etc/b\n11  /etc/a\n22  /etc/b",
        "644 /etc/b\n644 /etc/a\n22  /etc/b\n11  /etc/a\n5  /etc/ollama/gateway/keys.conf",
        "644 /etc/a\n644 /etc/b\n11  /etc/a\n33  /etc/b",
    ),
    (
        "drift.units",
        "Id=ollama-chat.service\nActiveState=active\nDropInPaths=\n1.5 /run/a",
        "Id=ollama-chat.service\nActiveState=inactive\nDropInPaths=\n2.5 /run/a",
        "Id=ollama-chat.service\nActiveState=active\nDropInPaths=/etc/x.conf\n1.5 /run/a",
    ),
    (
        "driver.kernels",
        "6.1.0-1 no 580.95.05 Dual MIT/GPL",
        "6.1.0-1 no 580.95.05 Dual MIT/GPL\n6.1.0-2 no 580.95.05 Dual MIT/GPL",
        "6.1.0-1 no 580.95.05 Dual MIT/GPL\n6.1.0-2 none",
    ),
    (
        "api",
        '{"version":"0.32.15"}\n#http://127.0.0.1:1/api/version\n'
        '{"models":[{"name":"a:1","model":"a:1","size":7,"digest":"d1"}]}\n#http://127.0.0.1:1/api/tags\n'
        '{"models":[{"name":"a:1","expires_at":"1"}]}\n#http://127.0.0.1:1/api/ps',
        '{"version":"0.32.15"}\n#http://127.0.0.1:1/api/version\n'
        '{"models":[{"name":"a:1","model":"a:1","size":7,"digest":"d1"}]}\n#http://127.0.0.1:1/api/tags\n'
        '{"models":[]}\n#http://127.0.0.1:1/api/ps',
        '{"version":"0.32.15"}\n#http://127.0.0.1:1/api/version\n'
        '{"models":[{"name":"a:1","model":"a:1","size":7,"digest":"d2"}]}\n#http://127.0.0.1:1/api/tags\n'
        '{"models":[]}\n#http://127.0.0.1:1/api/ps',
    ),
]


def steady(question: str, answer: str, awk: str) -> str:
    done = subprocess.run(
        [awk, STEADY[question]], input=f"{answer}\n", capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("question", "now", "later", "wrong"), ANSWERS, ids=[row[0] for row in ANSWERS]
)
@pytest.mark.parametrize("awk", ["mawk", "gawk"])
def test_what_comes_and_goes_is_no_difference_and_what_is_wrong_is_one(
    question: str, now: str, later: str, wrong: str, awk: str
) -> None:
    if subprocess.run(["which", awk], capture_output=True).returncode:
        pytest.skip(f"{awk} is not installed")
    assert steady(question, now, awk) == steady(question, later, awk)
    assert steady(question, now, awk) != steady(question, wrong, awk)


def test_what_counts_of_an_answer_is_of_a_question_that_is_asked() -> None:
    # Only with instances, with a gateway, with NVSwitches.
    elsewhere = {"rights", "ways"}
    assert set(STEADY) - elsewhere <= set(quick_questions(PLAN))


def test_the_script_is_one_that_a_shell_reads(tmp_path: Path) -> None:
    script = tmp_path / "look"
    script.write_text(files(PLAN)[0].text)
    subprocess.run(["dash", "-n", script], check=True)
    assert "generate" not in script.read_text(), "it is to load and to generate nothing"


def test_a_host_that_is_told_so_has_nothing_of_it() -> None:
    assert files(replace(PLAN, selfcheck_min=0)) == []


def kept_by(tmp_path: Path, asks: str, minutes: int = 0) -> tuple[int, str]:
    """What a look answers and keeps, with `asks` in place of its questions and a wish of `minutes` ago."""
    text = files(PLAN)[0].text
    begin, end = text.index("ask() {"), text.index("differing() {")
    text = f"{text[:begin]}ask() {{ {asks}; }}\n{text[end:]}"
    text = text.replace(METRICS_DIR, f"{tmp_path}{METRICS_DIR}")
    for path in (KEPT_DIR, RUN_DIR):
        text = text.replace(path, f"{tmp_path}{path}")
        Path(f"{tmp_path}{path}").mkdir(parents=True, exist_ok=True)
    wish = Path(f"{tmp_path}{KEEP_WISH}")
    wish.touch()
    os.utime(wish, (time.time() - 60 * minutes,) * 2)
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, cwd=tmp_path)
    proved = Path(f"{tmp_path}{PROVED}")
    return done.returncode, proved.read_text() if proved.exists() else ""


def test_a_wish_to_keep_that_a_deploy_left_behind_proves_nothing(tmp_path: Path) -> None:
    assert kept_by(tmp_path, "echo broken", minutes=30) == (0, "")
    assert kept_by(tmp_path, "echo proved") == (0, "proved\n")


def test_a_proof_that_cannot_be_kept_whole_leaves_the_old_one_and_fails(tmp_path: Path) -> None:
    assert kept_by(tmp_path, "echo old") == (0, "old\n")
    full = 'cp() { command cp "$@"; echo half >"$2"; return 1; }; echo new'
    assert kept_by(tmp_path, full) == (1, "old\n")


def test_metrics_of_a_look_follow_no_link(tmp_path: Path) -> None:
    """Their folder belongs to the exporters' account; a look is root's."""
    folder, secret = tmp_path / METRICS_DIR.strip("/"), tmp_path / "secret"
    folder.mkdir(parents=True)
    secret.write_text("root's")
    secret.chmod(0o600)
    (folder / "selfcheck.prom.new").symlink_to(secret)
    (folder / "selfcheck.prom").symlink_to(secret)
    assert kept_by(tmp_path, "printf '\\001units\\nall\\n'")[0] == 0
    written = folder / "selfcheck.prom"
    assert not written.is_symlink() and written.stat().st_mode & 0o777 == 0o644
    assert 'ollama_selfcheck_changed{question="units"} 0' in written.read_text()
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("root's", 0o600)


def test_a_host_that_looks_no_more_tells_no_last_look() -> None:
    (step,) = [step for step in remove(Difference(delete=(SCRIPT,))) if "-rf" in step]
    assert METRICS in step and KEPT_DIR in step
    assert not [step for step in remove(Difference(delete=("/etc/x",))) if "-rf" in step]


def test_a_look_that_was_on_its_way_is_no_proof_for_the_deploy(tmp_path: Path) -> None:
    """`systemctl start` joins one that runs: it has to be started anew, and not to be believed."""
    script = KEEP.replace(RUN_DIR, str(tmp_path))
    joins = (
        "systemctl() { echo started; [ -e once ] && rm -f keep; : >once; }; fail() { exit 9; }; "
    )
    done = subprocess.run(
        ["sh", "-c", joins + script], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, "started\nstarted\n")
    never = "systemctl() { :; }; fail() { exit 9; }; "
    assert subprocess.run(["sh", "-c", never + script], cwd=tmp_path).returncode == 9
    assert not (tmp_path / "keep").exists()


@pytest.mark.parametrize(
    ("said", "keeps"),
    [
        ("time 1\nnow 2", True),
        ("now 2", True),
        ("never", False),
        ("older\ntime 1\nnow 2", False),
        ("time 1\nchanged units\nnow 2", False),
        ("", True),
    ],
)
def test_a_deploy_has_the_host_keep_a_new_state_where_it_has_another(
    said: str, keeps: bool
) -> None:
    assert keeps_what_was_proved({"selfcheck": Answer(said)}) is keeps
