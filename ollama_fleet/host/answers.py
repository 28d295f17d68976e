"""Facts made of questions: one exec, however many are asked."""

from collections.abc import Iterable

from pyinfra.api import FactBase, FunctionCommand
from pyinfra.api.exceptions import FactProcessError

from ollama_fleet.host.scripts import fail_host
from ollama_fleet.questions import Answer, question_script, read_answers


class HostAnswers(FactBase[dict[str, Answer]]):
    """
    Answers to several questions, asked in one shell script.

    .. code:: python

        {"machine": Answer(text="x86_64", code=0), ...}
    """

    default = dict

    def command(self, questions: dict[str, str]) -> str:
        return question_script(questions)

    def process(self, output: Iterable[str]) -> dict[str, Answer]:
        try:
            return read_answers(output)
        except ValueError as error:  # fails this host only
            raise FactProcessError(str(error)) from error


def no_answer() -> FunctionCommand:
    """Fails a host that did not answer what was asked: its login shell is not what it says."""
    said = "the host gave no answer; is its login shell a POSIX shell, with no forced command?"
    return FunctionCommand(fail_host, ([said],), {})
