"""The real command line over pyinfra's @fake connector: the whole deploy in a second, without a host."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = """from tests.deploy.converged import (
    MIRROR, asked_answers, host_data, mirror_answers, transcript
)
"""


def pyinfra(
    folder: Path, hosts: str, *options: str, head: str = ""
) -> tuple[int, dict | None, str]:
    inventory = folder / "fake.py"
    inventory.write_text(
        f"{HEAD}{head}from tests.unit.test_checks import assembled, healthy\nhosts = {hosts}\n"
    )
    done = subprocess.run(
        [str(Path(sys.executable).parent / "pyinfra"), str(inventory), "deploy.py", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYINFRA_PROGRESS": "off"},
    )
    try:
        return done.returncode, json.loads(done.stdout), done.stderr
    except ValueError:
        return done.returncode, None, done.stdout + done.stderr


def successes(report: dict) -> dict[str, list[str]]:
    return {op["name"]: op["success"] for op in report["results"]["operations"] if op["success"]}


def test_a_host_that_is_as_planned_sees_no_change(tmp_path: Path) -> None:
    code, report, said = pyinfra(tmp_path, "[('@fake/a', host_data())]", "-y", "--json")
    assert code == 0, said
    assert report and successes(report) == {}


def test_a_dry_run_of_such_a_host_announces_nothing(tmp_path: Path) -> None:
    code, report, said = pyinfra(tmp_path, "[('@fake/a', host_data())]", "--dry", "--json")
    assert code == 0, said
    assert report and [op["name"] for op in report["plan"] if op["hosts_with_change"]] == []


def test_a_bare_host_is_announced_step_by_step(tmp_path: Path) -> None:
    """Everything but verification, which has nothing to prove before the deploy."""
    bare = """[('@fake/a', host_data(asked=transcript(
        asked_answers(installed='', current='', files='', units='', manifest='', blobs='',
            **{'watch.files': '', 'watch.units': ''})
        )))]"""
    code, report, said = pyinfra(tmp_path, bare, "--dry", "--json")
    assert code == 0, said
    changes = [op["name"].split(" |")[0] for op in report["plan"] if op["hosts_with_change"]]
    assert changes == ["Downloads", "Ollama", "Slices", "Watch", "Models"]
    steps = list(dict.fromkeys(op["name"].split(" |")[0] for op in report["plan"]))
    longest = ("Driver", "Container toolkit", "Ollama", "Slices")
    assert all(steps.index("Downloads") < steps.index(step) for step in longest), steps


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("asked=transcript(asked_answers(smi='no'), {'smi': 9})", "driver is not loaded"),
        ("asked=['garbage']", "the host stopped answering: garbage"),
        ("asked=[]", "the host gave no answer"),
        ("asked=transcript(asked_answers())[:-3]", "the host stopped answering"),
        ("verify=transcript(assembled({**healthy(), 'apps': ''}))", "chat: weights on gpu failed"),
    ],
)
def test_a_bad_host_fails_alone(tmp_path: Path, fault: str, words: str) -> None:
    hosts = f"[('@fake/good', host_data()), ('@fake/bad', host_data({fault}))]"
    code, report, said = pyinfra(tmp_path, hosts, "-y", "--json")
    assert "Traceback" not in said
    assert code == 1 and report, said
    assert report["results"]["failed_hosts"] == ["@fake/bad"]
    assert words in said


def test_a_host_whose_driver_is_missing_is_left_untouched(tmp_path: Path) -> None:
    """Nothing of the later steps runs on it, though the others are deployed."""
    fault = "asked=transcript(asked_answers(smi='no'), {'smi': 9})"
    code, report, said = pyinfra(
        tmp_path,
        f"[('@fake/good', host_data()), ('@fake/bad', host_data({fault}))]",
        "-y",
        "--json",
    )
    assert code == 1 and report, said
    assert successes(report) == {}


def test_containers_keep_their_gpus_before_the_driver_step_reloads_systemd(tmp_path: Path) -> None:
    unknown = "{'containers.unknown-devices': 'docker-ab.scope /dev/nvidia0:rw'}"
    hosts = f"[('@fake/a', host_data(asked=transcript(asked_answers(**{unknown}))))]"
    code, report, said = pyinfra(tmp_path, hosts, "--dry", "--json")
    assert code == 0, said
    assert report
    steps = [op["name"].split(" |")[0] for op in report["plan"] if op["hosts_with_change"]]
    order = [op["name"].split(" |")[0] for op in report["plan"]]
    assert steps[0] == "Containers"
    assert order.index("Containers") < order.index("Driver")


def mirror_host() -> str:
    """Host data of a @fake mirror on which all is as planned; it answers once and nothing else."""
    return (
        "dict(mirror_plan=MIRROR, fake_delay=0.0, fake_delay_jitter=0.0, "
        "fake_responses={'/proc/net/if_inet6': transcript(mirror_answers())})"
    )


def test_a_mirror_gets_no_step_of_a_host_and_a_host_none_of_a_mirrors(tmp_path: Path) -> None:
    hosts = f"[('@fake/depot', {mirror_host()}), ('@fake/a', host_data())]"
    code, report, said = pyinfra(tmp_path, hosts, "-y", "--json")
    assert code == 0, said
    assert report and successes(report) == {}
    steps = {op["name"].split(" |")[0]: op for op in report["results"]["operations"]}
    assert next(iter(steps)) == "Mirror"
    of_depot = {name for name, op in steps.items() if "@fake/depot" in str(op)}
    of_host = {name for name, op in steps.items() if "@fake/a" in str(op)}
    assert of_depot == {"Mirror"} and of_host == set(steps) - {"Mirror"}


def test_a_mirror_that_cannot_be_one_fails_alone(tmp_path: Path) -> None:
    depot = mirror_host().replace("mirror_answers()", "mirror_answers(nginx='no such module')")
    hosts = f"[('@fake/depot', {depot}), ('@fake/a', host_data())]"
    code, report, said = pyinfra(tmp_path, hosts, "-y", "--json")
    assert code == 1 and report, said
    assert report["results"]["failed_hosts"] == ["@fake/depot"]
    assert "built without http_slice_module" in said


CLAIM = (
    "run x\\nwho bob@desk, process 7\\nsince Monday\\ncontroller m b 7 8\\ncarrier 812 9\\nalive"
)


def test_a_host_that_another_run_has_is_left_alone_and_the_others_are_deployed(
    tmp_path: Path,
) -> None:
    """Though much is to be done on it: it has no release and no units yet."""
    bare = f"installed='', current='', command='', files='', units='', manifest='', claim='{CLAIM}'"
    hosts = f"[('@fake/a', host_data()), ('@fake/b', host_data(asked=transcript(asked_answers({bare}))))]"
    code, report, said = pyinfra(tmp_path, hosts, "-y", "--json")
    assert code == 1 and report, said
    assert successes(report) == {} and report["results"]["failed_hosts"] == ["@fake/b"]
    assert (
        "another deploy is changing this host right now: bob@desk, process 7, since Monday" in said
    )
    assert "`kill 812` on the host" in said and "Traceback" not in said

    code, report, said = pyinfra(tmp_path, hosts, "--dry", "--json")
    assert code == 0 and report and "bob@desk" in said, "only a warning where nothing is changed"
    assert [op["name"] for op in report["plan"] if "@fake/b" in op["hosts_with_change"]] != []


GONE = """
from dataclasses import replace
from ollama_fleet.planner.plan import Removal
from ollama_fleet.host.removal import asked

def gone(**answers):
    data = host_data()
    plan = replace(data["plan"], removal=Removal(), release=None)
    told = {name: "" for name in asked(plan)} | {"removal.user": "0"} | answers
    responses = {"planned=/var/lib/ollama/models": transcript(told)}
    return {"plan": plan, "fake_responses": responses, "fake_delay": 0.0, "fake_delay_jitter": 0.0}

"""


def test_a_host_that_is_absent_is_asked_once_and_nothing_else_is_done_there(tmp_path: Path) -> None:
    """A question of any other step would get no answer, and fail it; no release is needed."""
    hosts = "[('@fake/a', host_data()), ('@fake/b', gone())]\n"
    code, report, said = pyinfra(tmp_path, hosts, "-y", "--json", head=GONE)
    assert code == 0 and report, said
    assert successes(report) == {}
    concerned = {op["name"]: op["no_change"] for op in report["results"]["operations"]}
    assert [name for name, names in concerned.items() if "@fake/b" in names] == [
        "Removal | Remove everything of ours"
    ]
    assert "@fake/a" not in concerned["Removal | Remove everything of ours"]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ("**{'removal.user': '1000'}", "not root on this host"),
        (f"claim='{CLAIM}'", "another deploy is changing this host right now: bob@desk"),
        ("**{'removal.ours': 'file /usr/local/bin/ollama'}", "not everything of ours went"),
    ],
)
def test_a_host_whose_removal_cannot_be_or_did_not_work_fails_alone(
    tmp_path: Path, answers: str, words: str
) -> None:
    """In the last one a script that did nothing is found out."""
    hosts = f"[('@fake/a', host_data()), ('@fake/b', gone({answers}))]"
    code, report, said = pyinfra(tmp_path, hosts, "-y", "--json", head=GONE)
    assert code == 1 and report, said
    assert report["results"]["failed_hosts"] == ["@fake/b"]
    assert words in said and "Traceback" not in said


def test_what_would_go_is_shown_and_stays(tmp_path: Path) -> None:
    ours = "{'removal.ours': 'file /etc/systemd/system/ollama-chat.service\\naccount ollama'}"
    code, report, said = pyinfra(
        tmp_path, f"[('@fake/b', gone(**{ours}))]", "--dry", "--json", head=GONE
    )
    assert code == 0 and report, said
    assert [op["name"] for op in report["plan"] if op["hosts_with_change"]] == [
        "Removal | Remove everything of ours"
    ]
    assert "stops and removes ollama-chat.service" in said and "the service user ollama" in said
