"""What `lab` answers to requests that cannot be met: a sentence, exit code 2, no traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lab.profile import profile_names


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from lab.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("up", "gpu01", "--profile", "2x-rtx309"), "did you mean '2x-rtx3090'"),
        (("up", "GPU_1"), "no host name"),
        (("fault", "no-such-host", "gpu-lots"), "did you mean 'gpu-lost'"),
        (("fault", "no-such-host", "gpu-lost"), "no host named 'no-such-host'"),
        (("fault", "no-such-host", "gpu-lost", "--set", "gpu"), "KEY=VALUE"),
        (("reboot", "no-such-host"), "no host named"),
        (("remove", "no-such-host"), "no host named"),
        (("ssh", "no-such-host", "--", "true"), "no host named"),
    ],
)
def test_request_that_cannot_be_met(arguments: tuple[str, ...], message: str) -> None:
    answer = lab(*arguments)

    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("verb", ["profiles", "faults"])
def test_tables_list_every_row(verb: str) -> None:
    answer = lab(verb)

    wanted = {"profiles": "8x-h100", "faults": "network-cut"}[verb]
    assert answer.returncode == 0
    assert wanted in answer.stdout


def test_a_profile_is_one_line_with_its_whole_name() -> None:
    names = [line.split()[0] for line in lab("profiles").stdout.splitlines()[1:]]
    assert names == profile_names()
