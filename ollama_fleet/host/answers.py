"""Facts made of questions: one exec, however many are asked, and none for what is known."""

from collections.abc import Iterable, Mapping

from pyinfra import host
from pyinfra.api import FactBase, FunctionCommand
from pyinfra.api.exceptions import FactProcessError

from ollama_fleet.host.memory import forget, remembered
from ollama_fleet.host.scripts import fail_host
from ollama_fleet.questions import Answer, question_script, read_answers

__all__ = ["HostAnswers", "ask", "forget", "no_answer", "recall"]


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


def ask(questions: Mapping[str, str], ahead: Iterable[Mapping[str, str]] = ()) -> dict[str, Answer]:
    """Answers of the host that this operation runs on; names are missing where it gave none.

    What was asked before, in the same words, is not asked again while nothing changed the host; the
    rest costs one exec. `ahead` is asked with it, for operations that come later.
    """
    known = remembered(host)
    unknown: dict[str, str] = {}
    for group in (questions, *ahead):
        for name, text in group.items():
            if text not in known and text not in unknown.values():
                unknown[_free_name(name, unknown)] = text
    answers = host.get_fact(HostAnswers, questions=unknown) if unknown else {}
    known.update((unknown[name], answers[name]) for name in unknown.keys() & answers.keys())
    return recall(questions)


def recall(questions: Mapping[str, str]) -> dict[str, Answer]:
    """Those answers that the host gave and that still hold; asks nothing."""
    known = remembered(host)
    return {name: known[text] for name, text in questions.items() if text in known}


def _free_name(name: str, taken: Mapping[str, str]) -> str:
    """Two steps may call different questions by one name."""
    while name in taken:
        name += "+"
    return name


def no_answer() -> FunctionCommand:
    """Fails a host that did not answer what was asked: its login shell is not what it says."""
    said = "the host gave no answer; is its login shell a POSIX shell, with no forced command?"
    return FunctionCommand(fail_host, ([said],), {})
