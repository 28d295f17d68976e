"""Many questions to a host in one shell script, and its answers taken apart again.

Pure text: knows no transport. The same questions go over pyinfra's connection, over testinfra or to
the machine itself, which is why a check can be tested on recorded answers.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# What starts a line of ours, with a word behind it that nobody on the host can know before: a process may
# bear any name, and be listed. No splitlines() splits at it.
MARK = "\001"
WORD = "word "
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


def json_object(text: str) -> dict[str, Any]:
    """A JSON object that a machine printed; anything else is an empty one, brackets in brackets as well."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


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
word=
read -r word </proc/sys/kernel/random/uuid
printf '\\001{WORD}%s\\n' "$word"
slow() {{
{_ask(slow)}
}}
rest() {{
{_ask(rest)}
}}
printf '%s\\n' "$(slow)" &
answers=$(rest)
wait
printf '%s\\n\\001%s\\n' "$answers" "${{word}}{END}\""""


def _ask(questions: Mapping[str, str]) -> str:
    asked = [
        f"printf '\\001%s\\n' \"$word\"'{name}'\n(\n{command}\n) </dev/null 2>&1\n"
        "printf '\\n\\001%s\\n' \"$word\"$?"
        for name, command in questions.items()
    ]
    return "\n".join(asked) or ":"


def read_answers(lines: Iterable[str]) -> dict[str, Answer]:
    """Output of `question_script` as name to Answer. Raises ValueError when its end is missing."""
    answers: dict[str, Answer] = {}
    mark = MARK
    name: str | None = None
    text: list[str] = []
    for line in lines:
        marked = line.removeprefix(mark) if line.startswith(mark) else None
        if marked is None:
            text.append(line)
        elif mark == MARK and marked.startswith(WORD):
            mark += marked.removeprefix(WORD)
        elif marked == END:
            return answers
        elif name is None:
            name, text = marked, []
        elif marked.isdecimal():
            answers[name] = Answer("\n".join(text).removesuffix("\n"), int(marked))
            name = None
        else:
            break
    where = f" at '{name}'" if name else f": {' '.join(text)[:200]}" if text else ""
    raise ValueError(f"the host stopped answering{where}")
