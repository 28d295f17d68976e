"""The table of a verification in the terminal: what is wrong stands out, what is well takes little room."""

import io
import re
from dataclasses import replace

from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.outcome import Outcome
from ollama_fleet.report.table import print_results
from tests.unit.outcomes import HOSTILE, hostile, recorded, well


def shown(outcome: Outcome, wide: bool = False) -> str:
    stream = io.StringIO()
    print_results(list(outcome.results), stream, wide)
    return stream.getvalue()


def words(text: str) -> str:
    return " ".join(re.sub("[│┃┏┓┗┛━┳┻╇┡┩└┘┴─]", " ", text).split())


def test_every_failure_and_warning_has_a_row_with_its_severity() -> None:
    said = words(shown(recorded()))
    assert "code unit (critical) failed inactive, enabled" in said
    assert "gpu 0000:b1:00.0 gpu health (critical) failed lost: it does not answer" in said
    assert "chat-b in service warning gpu01.chat-b is drained" in said
    assert said.endswith("138 checks on 2 hosts, 15 failed, 3 worth a look")


def test_eight_gpus_that_are_well_are_one_row() -> None:
    said = shown(well(recorded()))
    assert "gpu01 8 gpus 8 checks ok gpu health" in words(said)
    assert "chat-a 10 checks ok 115.2 tokens/s" in words(said)
    assert len(said.splitlines()) < 35 < len(recorded().hosts[0].results)


def test_wide_shows_every_result() -> None:
    said = words(shown(recorded(), wide=True))
    assert said.count(" ok ") >= 120
    assert "hardening ok in force" in said


def test_markup_and_escapes_of_hosts_are_text() -> None:
    for wide in (False, True):
        said = shown(hostile(), wide)
        assert "\x1b[31m" not in said and "\x00" not in said
        assert "[bold]" in said.replace("\n", "")


def test_a_subject_that_looks_like_a_gpu_may_be_none() -> None:
    odd = CheckResult("a", "gpu ", HOSTILE, "ok", "", HOSTILE)
    print_results([odd, replace(odd, subject="gpu")], io.StringIO())
