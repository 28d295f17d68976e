"""Any text in any place of an outcome: every form stays what it is, and can be written and read."""

import io
import json
from typing import Any
from xml.etree import ElementTree as Xml

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.outcome import GpuSight, HostOutcome, InstanceSight, Outcome, SliceSight
from ollama_fleet.report.ctrf import ctrf_text
from ollama_fleet.report.fleet_svg import fleet_svg
from ollama_fleet.report.junit import junit_text
from ollama_fleet.report.page import page_html
from ollama_fleet.report.sarif import sarif_text
from ollama_fleet.report.table import print_results
from ollama_fleet.report.verification_json import outcome_text, read_outcome
from tests.unit.test_report_page import Page

# With what means something somewhere among the rest, and halves of characters.
TEXTS = st.text(
    st.one_of(st.characters(), st.sampled_from("<>&'\"`[]\\/\0\x1b\ud800\u202e\ufffe{}%")),
    max_size=12,
)
MIB = st.none() | st.integers(0, 200_000)
TOTAL = st.integers(0, 200_000)
STATUS = st.sampled_from(("ok", "warning", "failed"))


def results() -> st.SearchStrategy[CheckResult]:
    return st.builds(CheckResult, TEXTS, TEXTS, TEXTS, STATUS, TEXTS, TEXTS, TEXTS)


def gpus() -> st.SearchStrategy[GpuSight]:
    instances = st.builds(InstanceSight, TEXTS, MIB, MIB, TEXTS)
    return st.builds(
        GpuSight, st.integers(-1, 9), TEXTS, TEXTS, TEXTS, TOTAL, MIB, MIB, MIB, st.booleans(),
        st.lists(instances, max_size=3).map(tuple),
    )  # fmt: skip


def slices() -> st.SearchStrategy[SliceSight]:
    indices = st.lists(st.integers(0, 9), max_size=3).map(tuple)
    models = st.lists(TEXTS, max_size=2).map(tuple)
    return st.builds(
        SliceSight, TEXTS, indices, st.integers(1, 65535), models, TEXTS, MIB, MIB,
        st.none() | st.floats(0, 1e6), st.booleans(),
    )  # fmt: skip


def several(of: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=4).map(tuple)


HOSTS = st.builds(
    HostOutcome, TEXTS, st.just(("host",)), several(results()), TEXTS, several(gpus()),
    several(slices()), TEXTS, TEXTS, TEXTS,
)  # fmt: skip
OUTCOMES = st.builds(
    Outcome,
    TEXTS,
    st.just("2026-11-28T06:00:04Z"),
    st.floats(0, 1e5),
    st.just("full"),
    several(HOSTS),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(OUTCOMES, several(OUTCOMES))
def test_every_form_can_be_written_and_read(outcome: Outcome, history: tuple[Outcome, ...]) -> None:
    page = Page(page_html(outcome, history).encode().decode())
    assert {tag for tag, _ in page.elements} & {"img", "iframe", "object", "form", "base"} == set()
    for text in (fleet_svg(outcome), junit_text(outcome)):
        Xml.fromstring(text.encode())
    for text in (ctrf_text(outcome), sarif_text(outcome)):
        json.loads(text.encode())
    read = read_outcome(json.loads(outcome_text(outcome).encode()))
    assert [len(host.results) for host in read.hosts] == [
        len(host.results) for host in outcome.hosts
    ]
    print_results(list(outcome.results), io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
