"""daemon.json gets the NVIDIA runtime, and keeps everything else that people have put there."""

import json

import pytest

from ollama_fleet.containers.daemon_json import BadDaemonJsonError, merge

RUNTIME = {"nvidia": {"path": "nvidia-container-runtime", "args": []}}
OTHERS = """{
  "log-driver": "journald",
  "features": {"containerd-snapshotter": true},
  "data-root": "/srv/döcker"
}
"""
COMMENTED = """{
    // moved by ops, see /* the wiki */
    "data-root": "/srv/docker", /* big
    disk */
    "registry-mirrors": ["https://mirror.example//path"], // not a comment in the string
}
"""


def merged(text: str | None, cdi: bool = False) -> dict[str, object]:
    found = merge(text, cdi)
    assert found is not None
    value = json.loads(found)  # what Docker reads: strict JSON
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    "text", [None, "", " \n\t\n", "{}", "\ufeff", "\ufeff{}\n", "// later\n{}"]
)
def test_pain_14_a_file_without_anything_gets_the_runtime(text: str | None) -> None:
    assert merged(text) == {"runtimes": RUNTIME}


def test_pain_14_other_settings_stay_in_their_order() -> None:
    found = merged(OTHERS, cdi=True)
    assert list(found) == ["log-driver", "features", "data-root", "runtimes"]
    assert found["data-root"] == "/srv/döcker"


def test_pain_14_features_are_merged_not_replaced() -> None:
    assert merged(OTHERS, cdi=True)["features"] == {"containerd-snapshotter": True, "cdi": True}
    assert merged(OTHERS, cdi=False)["features"] == {"containerd-snapshotter": True}


def test_a_feature_that_a_person_switched_off_stays_off() -> None:
    assert merged('{"features": {"cdi": false}}', cdi=True)["features"] == {"cdi": False}


def test_null_counts_as_not_there() -> None:
    found = merged('{"runtimes": null, "features": null}', cdi=True)
    assert found == {"runtimes": RUNTIME, "features": {"cdi": True}}


def test_other_runtimes_stay() -> None:
    text = '{"runtimes": {"kata": {"path": "/opt/kata"}}, "default-runtime": "kata"}'
    assert merged(text)["runtimes"] == {"kata": {"path": "/opt/kata"}, **RUNTIME}


def test_pain_14_comments_and_trailing_commas_are_understood() -> None:
    found = merged(COMMENTED)
    assert found["registry-mirrors"] == ["https://mirror.example//path"]
    assert found["data-root"] == "/srv/docker"
    assert found["runtimes"] == RUNTIME


@pytest.mark.parametrize("indent", ["\t", "  ", "        "])
def test_the_indentation_stays(indent: str) -> None:
    found = merge(f'{{\n{indent}"debug": true\n}}\n', cdi=False)
    assert found is not None
    assert found.splitlines()[1] == f'{indent}"debug": true,'
    assert found.splitlines()[2] == f'{indent}"runtimes": {{'


def test_a_file_on_one_line_is_written_with_four_spaces() -> None:
    assert '\n    "runtimes"' in (merge('{"debug": true}', cdi=False) or "")


@pytest.mark.parametrize(
    "path",
    [
        "nvidia-container-runtime",
        "/usr/bin/nvidia-container-runtime",
        "/opt/x/nvidia-container-runtime.cdi",
    ],
)
def test_a_configured_file_is_not_written_again(path: str) -> None:
    text = json.dumps(
        {"runtimes": {"nvidia": {"path": path, "args": ["--x"]}}, "features": {"cdi": True}}
    )
    assert merge(text, cdi=True) is None
    assert merge(text, cdi=False) is None


def test_what_we_wrote_is_not_written_again() -> None:
    for text in (None, "", OTHERS, COMMENTED):
        once = merge(text, cdi=True)
        assert merge(once, cdi=True) is None


def test_a_configured_file_that_docker_cannot_read_is_written_as_json() -> None:
    text = json.dumps({"runtimes": RUNTIME})[:-1] + ",}"
    assert merged(text) == {"runtimes": RUNTIME}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n  "debug": true\n  "hosts": []\n}', "line 3"),
        ('{"debug": yes}', "line 1"),
        ("/* a\n b */\n{\n oops", "line 4"),
        ("[]", "a list, not an object"),
        ('{"a":' * 100_000, "recursion"),
        ('"text"', "a string"),
        ('{"runtimes": []}', "`runtimes` is a list"),
        ('{"features": "cdi"}', "`features` is a string"),
    ],
)
def test_pain_14_what_cannot_be_understood_is_named(text: str, said: str) -> None:
    with pytest.raises(BadDaemonJsonError, match=said):
        merge(text, cdi=True)
