"""A machine's clock: set by a server, and not far from the clock of the machine that asks.

The way there takes time, and so does asking. Both clocks are read before and after: the machine's is
wrong only if it shows less than what the asking machine's showed before, or more than it shows after.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from ollama_fleet.checks.model import Asked, Check, CheckResult, Subject
from ollama_fleet.checks.programs import TIMEKEEPERS, running

# Beyond it apt refuses lists of packages that are newer than "now" (Acquire::Max-FutureTime), and logs of
# hosts cannot be put in order any more.
WORTH_A_LOOK_S = 10
# Beyond it certificates that were signed just now and answers of registries are refused.
WRONG_S = 300
STARTS, ENDS = "clock", "clock end"
_NOW = "date +%s"
# chronyd and timesyncd tell whether they reached a server; of the others it is known that they run.
_KEPT = f"""{_NOW}
[ ! -e /run/systemd/container ] || echo container
[ ! -e /run/systemd/timesync/synchronized ] || echo synchronized
[ ! -S /run/chrony/chronyd.sock ] || chronyc -n tracking 2>/dev/null | grep '^Leap status'; true"""


def first_questions() -> dict[str, str]:
    """What to ask before everything else."""
    now_s = int(datetime.now(UTC).timestamp())
    return {STARTS: f"echo {now_s}\n{_KEPT}"}


def last_questions() -> dict[str, str]:
    """What to ask after all."""
    return {ENDS: _NOW}


def skew_s(answers_start: str, answers_end: str, now_s: float) -> int | None:
    """Seconds by which the host's clock is surely ahead (negative: behind), None where nobody told."""
    first = answers_start.split()[:2]
    last = answers_end.strip()
    if len(first) != 2 or not all(word.isdigit() for word in (*first, last)):
        return None
    before, host_first, host_last = (*map(int, first), int(last))
    return max(0, int(host_last - now_s)) or min(0, host_first - before)


def _kept(asked: Asked) -> tuple[bool, str]:
    """Whether something sets the clock, and what."""
    said, keepers = asked.text(STARTS), running(asked) & set(TIMEKEEPERS)
    if "container" in said.split():
        return True, "set by the machine that the container runs on"
    if "Leap status" in said:
        good = "Not synchronised" not in said
        return good, f"chronyd {'follows' if good else 'has reached no'} server"
    if "systemd-timesyn" in keepers:
        good = "synchronized" in said.split()
        return good, f"systemd-timesyncd {'follows' if good else 'has reached no'} server"
    return bool(keepers), f"set by {', '.join(sorted(keepers))}" if keepers else "nothing sets it"


def judge(asked: Asked, subject: str) -> Iterator[CheckResult]:
    """The result about a machine's clock, as soon as it has answered."""
    now_s = datetime.now(UTC).timestamp()
    skew = skew_s(asked.text(STARTS), asked.text(ENDS), now_s)
    if skew is None:
        return
    kept, by = _kept(asked)
    far = f"{abs(skew)} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    yield asked.result(
        subject,
        "clock",
        good=kept and abs(skew) <= WORTH_A_LOOK_S,
        expected=f"set by a server, within {WORTH_A_LOOK_S} s of this machine's",
        found=f"{far if abs(skew) > WORTH_A_LOOK_S else 'as this machine'}; {by}",
        remedy="run chrony or systemd-timesyncd there, with a server that it reaches; see "
        "`chronyc sources` or `timedatectl timesync-status`",
        warns=abs(skew) <= WRONG_S,
    )


def _clock(subject: Subject) -> Iterator[CheckResult]:
    return judge(subject.asked, "host")


CHECK = Check("clock", _clock, lambda plan: first_questions())
# The last thing that is asked.
END = Check("clock end", lambda subject: (), lambda plan: last_questions())
