"""What a host is asked: once for all steps, again after a change, and never twice the same."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from pyinfra.api import FunctionCommand
from pyinfra.api.state import StateStage

from ollama_fleet.hardware.found import HARDWARE_QUESTIONS
from ollama_fleet.host import answers, memory, requirements
from ollama_fleet.host.ahead import ahead
from ollama_fleet.host.answers import ask, recall
from ollama_fleet.host.scripts import Script
from ollama_fleet.preflight import QUESTIONS
from ollama_fleet.questions import Answer
from tests.unit.examples import host_plan
from tests.unit.test_checks import PLAN, healthy


class Host:
    """A host that counts its execs and answers every question with its own text."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = SimpleNamespace(current_stage=StateStage.Execute, print_input=False)
        self.asked: list[dict[str, str]] = []
        self.mute = False
        self.said: list[str] = []

    def get_fact(self, fact: type, questions: dict[str, str]) -> dict[str, Answer]:
        self.asked.append(questions)
        return {} if self.mute else {name: Answer(text) for name, text in questions.items()}

    def noop(self, why: str) -> None:
        self.said.append(why)

    def run_shell_command(self, command: object, **arguments: object) -> tuple[bool, str]:
        return True, ""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    one = Host("one")
    monkeypatch.setattr(answers, "host", one)
    yield one
    memory.forget(one)


def test_what_was_asked_ahead_costs_no_exec_later(host: Host) -> None:
    ask({"user": "id -u"}, ahead=[{"machine": "uname -m"}, {"kernel": "uname -r"}])
    assert ask({"machine": "uname -m"})["machine"].text == "uname -m"
    assert ask({"k": "uname -r"})["k"].text == "uname -r", "known by its words, not its name"
    assert len(host.asked) == 1


def test_one_name_for_two_questions_loses_none(host: Host) -> None:
    ask({"files": "ls a"}, ahead=[{"files": "ls b"}, {"files": "ls b"}])
    assert sorted(host.asked[0].values()) == ["ls a", "ls b"]
    assert ask({"files": "ls b"})["files"].text == "ls b"
    assert len(host.asked) == 1


def test_only_what_is_unknown_is_asked(host: Host) -> None:
    ask({"a": "1"})
    ask({"a": "1", "b": "2"})
    ask({"a": "1 # in other words"})
    assert host.asked == [{"a": "1"}, {"b": "2"}, {"a": "1 # in other words"}]


def test_a_script_that_changed_the_host_makes_everything_unknown(host: Host) -> None:
    ask({"a": "1"})
    Script("true").execute(host.state, host, {})
    assert recall({"a": "1"}) == {}
    ask({"a": "1"})
    assert len(host.asked) == 2


def test_what_was_seen_when_a_change_was_shown_is_asked_again_when_it_is_made(host: Host) -> None:
    host.state.current_stage = StateStage.Prepare
    ask({"a": "1"})
    host.state.current_stage = StateStage.Execute
    ask({"a": "1"})
    assert len(host.asked) == 2


def test_no_host_is_taken_for_another(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    ask({"a": "1"})
    other = Host("two")
    monkeypatch.setattr(answers, "host", other)
    assert recall({"a": "1"}) == {}
    ask({"a": "1"})
    assert len(other.asked) == 1
    memory.forget(other)


def test_a_host_that_says_nothing_is_asked_again_not_believed(host: Host) -> None:
    host.mute = True
    assert ask({"a": "1"}) == {}
    host.mute = False
    assert ask({"a": "1"})


def test_every_step_is_asked_ahead_in_one_exec(host: Host) -> None:
    plan = host_plan({"name": "chat", "gpus": [0], "models": ["qwen3:8b"]})
    ask(QUESTIONS, ahead=ahead(plan))
    for questions in ahead(plan):
        assert ask(questions).keys() == questions.keys()
    assert len(host.asked) == 1


class Found(Host):
    """A host that answers the questions about its GPUs with `texts`."""

    def __init__(self, texts: dict[str, str]) -> None:
        super().__init__("found")
        self.texts = {text: texts[name] for name, text in HARDWARE_QUESTIONS.items()}

    def get_fact(self, fact: type, questions: dict[str, str]) -> dict[str, Answer]:
        super().get_fact(fact, questions)
        return {name: Answer(self.texts[text]) for name, text in questions.items()}


def matches(host: Found, monkeypatch: pytest.MonkeyPatch) -> list[FunctionCommand]:
    """What `hardware_matches` would have executed."""
    monkeypatch.setattr(answers, "host", host)
    monkeypatch.setattr(requirements, "host", host)
    return list(requirements.hardware_matches._inner(plan=PLAN))


def test_gpus_are_judged_again_when_the_driver_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"smi": healthy()["smi"].replace("RTX 3090", "RTX 4090")}
    host = Found(healthy() | other)
    (command,) = matches(host, monkeypatch)
    assert "the inventory expects GPUs" in command.args[0][0]
    memory.forget(host)


def test_gpus_that_were_judged_are_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Found(healthy())
    monkeypatch.setattr(answers, "host", host)
    ask(HARDWARE_QUESTIONS)
    assert matches(host, monkeypatch) == []
    assert len(host.asked) == 1 and host.said == ["the GPUs are as planned"]
    memory.forget(host)


def test_a_dry_run_does_not_judge_gpus_whose_driver_is_still_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Found(healthy() | {"smi": ""})
    host.state.current_stage = StateStage.Prepare
    assert matches(host, monkeypatch) == [] and host.asked == []
