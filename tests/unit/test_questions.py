"""Questions and answers, through a real shell."""

import os
import subprocess
from pathlib import Path

import pytest

from ollama_fleet.questions import Answer, Slow, json_object, question_script, read_answers


def asked(**questions: str) -> dict[str, Answer]:
    done = subprocess.run(["sh", "-c", question_script(questions)], capture_output=True, text=True)
    return read_answers(done.stdout.splitlines())


def test_each_question_gets_its_own_text_and_code() -> None:
    answers = asked(
        a="echo one; echo two", b="echo bad >&2; exit 3", c="printf 'no newline'", d="true"
    )
    assert answers["a"] == Answer("one\ntwo", 0)
    assert answers["b"] == Answer("bad", 3)
    assert answers["c"] == Answer("no newline", 0)
    assert answers["d"] == Answer("", 0)


def test_a_question_cannot_end_or_disturb_the_next() -> None:
    answers = asked(a="set -e; cd /; x=1; false; echo never", b='echo "${x:-unset}"; cat')
    assert answers["a"].code == 1
    assert answers["b"] == Answer("unset", 0)


def test_a_slow_question_is_asked_beside_the_others(tmp_path: Path) -> None:
    """Each waits for the other: one after the other they would never end."""
    meeting = tmp_path / "meeting"
    os.mkfifo(meeting)
    answers = asked(
        slow=Slow(f"timeout 5 sh -c 'echo here >{meeting}'; seq 20000; exit 4"),
        quick=f"timeout 5 cat {meeting}; seq 20000",
    )
    assert answers["quick"].lines[:2] == ["here", "1"]
    assert (len(answers["slow"].lines), answers["slow"].code) == (20000, 4)


def test_blank_lines_in_an_answer_stay() -> None:
    assert asked(a="printf 'x\\n\\ny\\n'")["a"].text == "x\n\ny"


def test_an_answer_that_broke_off_is_an_error() -> None:
    with pytest.raises(ValueError, match="stopped answering at 'b'"):
        read_answers(["\001a", "one", "\0010", "\001b", "tw"])


@pytest.mark.parametrize("lines", [[], ["Welcome to gpu01!"], ["\001a", "one", "\0010"]])
def test_an_answer_without_its_end_is_an_error(lines: list[str]) -> None:
    with pytest.raises(ValueError, match="stopped answering"):
        read_answers(lines)


def test_a_greeting_before_the_answers_is_passed_over() -> None:
    done = subprocess.run(
        ["sh", "-c", question_script({"a": "echo x"})], capture_output=True, text=True
    )
    assert read_answers(["Welcome!", *done.stdout.splitlines()])["a"].text == "x"


@pytest.mark.parametrize(
    "text", ["", "no", '{"a": ', "[1]", "null", '{"a":' * 100_000, "[" * 100_000]
)
def test_what_is_no_json_object_is_an_empty_one(text: str) -> None:
    assert json_object(text) == {}


def test_a_json_object_is_read() -> None:
    assert json_object('{"a": {"b": [1]}}') == {"a": {"b": [1]}}
