"""Many questions to a host in one shell script, and its answers taken apart again.

Pure text: knows no transport. The same questions go over pyinfra's connection, over testinfra or to
the machine itself, which is why a check can be tested on recorded answers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# No command that we ask prints this at the start of a line, and no splitlines() splits at it.
MARK = "\001"
END = "end of answers"


@dataclass(frozen=True)
class Answer:
    """What one question printed (both streams) and its exit code."""

    text: str = ""
    code: int = 0

    @property
    def lines(self) -> list[str]:
        """Its lines that are not blank."""
        return [line for line in self.text.splitlines() if line.strip()]


Answers = Mapping[str, Answer]


class Slow(str):
    """A question that takes its time and needs nothing of the others: it is asked beside them."""

    __slots__ = ()


def question_script(questions: Mapping[str, str]) -> str:
    """A POSIX shell script that asks `questions` (name to command) in order.

    Each runs in a subshell of its own, so that none can end or disturb the others. Slow ones run one
    after the other, beside the rest. All is printed at once at the end: line by line it would travel
    in hundreds of packets.
    """
    path = "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    slow = {name: text for name, text in questions.items() if isinstance(text, Slow)}
    rest = {name: text for name, text in questions.items() if name not in slow}
    return f"""{path}
slow() {{
{_ask(slow)}
}}
rest() {{
{_ask(rest)}
}}
printf '%s\\n' "$(slow)" &
answers=$(rest)
wait
printf '%s\\n\\001{END}\\n' "$answers\""""


def _ask(questions: Mapping[str, str]) -> str:
    asked = [
        f"printf '\\001%s\\n' '{name}'\n(\n{command}\n) </dev/null 2>&1\nprintf '\\n\\001%s\\n' $?"
        for name, command in questions.items()
    ]
    return "\n".join(asked) or ":"


def read_answers(lines: Iterable[str]) -> dict[str, Answer]:
    """Output of `question_script` as name to Answer. Raises ValueError when its end is missing."""
    answers: dict[str, Answer] = {}
    name: str | None = None
    text: list[str] = []
    for line in lines:
        if not line.startswith(MARK):
            text.append(line)
        elif line[1:] == END:
            return answers
        elif name is None:
            name, text = line[1:], []
        else:
            answers[name] = Answer("\n".join(text).removesuffix("\n"), int(line[1:]))
            name = None
    where = f" at '{name}'" if name else f": {' '.join(text)[:200]}" if text else ""
    raise ValueError(f"the host stopped answering{where}")
