"""The files of Ollama's release: root's, writable for nobody else, not written to since they were put there.

The archive was checked against its pin before it was unpacked; hashing gigabytes of libraries at each look
would cost too much, so it is owners, modes and times that are looked at.
"""

from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.wording import listed, plain
from ollama_fleet.planner.plan import HostPlan

QUESTION = "release.files"
# Where there is no mark the release is not installed, and the step that installs it says so.
_ASK = """[ -f {prefix}/.sha256 ] || exit 0
find {prefix} ! -type l '(' ! -user root -o -perm /6022 -o -type f -newer {prefix}/.sha256 ')' | head -n 20"""


def _questions(plan: HostPlan) -> dict[str, str]:
    return {QUESTION: _ASK.format(prefix=plan.ollama.prefix)} if plan.slices else {}


def _release(subject: Subject) -> Iterator[CheckResult]:
    if QUESTION not in subject.answers:
        return
    prefix = subject.plan.ollama.prefix
    wrong = [plain(path) for path in subject.answers[QUESTION].lines]
    yield subject.result(
        "host",
        "release files",
        good=not wrong,
        expected="as they were unpacked: root's, writable for root alone",
        found=f"{listed(wrong)}: written since, or another's to write" if wrong else f"{prefix} is",
        remedy=f"`rm -r {prefix}` and deploy: it is unpacked anew, and checked; if it was you, and is to "
        f"stay: owner and mode as before, and `touch {prefix}/.sha256`",
    )


CHECK = Check("release files", _release, _questions)
