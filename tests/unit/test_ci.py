"""The ready workflows and what they run: valid, quiet about secrets, right about exit codes."""

import base64
import io
import json
import os
import re
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CI = ROOT / "ci"
GITHUB = yaml.safe_load((CI / "github-actions.yml").read_text("utf-8"))
GITLAB = yaml.safe_load((CI / "gitlab-ci.yml").read_text("utf-8"))
SCRIPTS = sorted(path for path in CI.iterdir() if not path.suffix)


def run(*words: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLEET_")}
    return subprocess.run(
        words, cwd=cwd, env=environment | variables, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("schema", "file"),
    [("vendor.github-workflows", "github-actions.yml"), ("vendor.gitlab-ci", "gitlab-ci.yml")],
)
def test_workflows_are_valid_by_their_makers_schema(schema: str, file: str) -> None:
    checker = ROOT / ".venv" / "bin" / "check-jsonschema"
    done = run(str(checker), "--builtin-schema", schema, str(CI / file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_actions_are_pinned_to_commits() -> None:
    used = [
        step["uses"] for job in GITHUB["jobs"].values() for step in job["steps"] if "uses" in step
    ]
    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)


def test_both_workflows_run_the_same_programs() -> None:
    ours = re.compile(r"\bci/[a-z-]+")
    github = " ".join(s.get("run", "") for job in GITHUB["jobs"].values() for s in job["steps"])
    gitlab = " ".join(
        line for job in GITLAB.values() if isinstance(job, dict) for line in job.get("script", [])
    )
    assert set(ours.findall(github)) == set(ours.findall(gitlab))
    assert set(ours.findall(github)) == {f"ci/{path.name}" for path in SCRIPTS}


def test_a_merge_request_is_linted_by_both() -> None:
    steps = [step["run"] for step in GITHUB["jobs"]["lint"]["steps"] if "run" in step]
    assert steps == GITLAB["lint"]["script"]
    assert steps == ["make lint", '.venv/bin/fleet check "$INVENTORY.yml"']
    assert run("make", "-n", "lint").returncode == 0


def test_a_nightly_look_ends_no_deploy_that_waits_for_approval() -> None:
    groups = [GITHUB["jobs"][job]["concurrency"]["group"] for job in ("provision", "verify")]
    assert len(set(groups)) == 2


def test_nothing_from_outside_is_put_into_a_script() -> None:
    """Branch names and inputs are anybody's text: they go by the environment."""
    runs = [step.get("run", "") for job in GITHUB["jobs"].values() for step in job["steps"]]
    assert not [line for line in runs if "${{" in line]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_say_how_they_are_called(script: Path) -> None:
    done = run(str(script))
    assert done.returncode != 0 and f"ci/{script.name}" in done.stderr
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    """A key, hosts' keys and an authority as a CI would have them, and a home of their own."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "id"], check=True
    )
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        inside = tmp_path / "prod.ca"
        inside.mkdir()
        (inside / "ca.key").write_text("authority-secret")
        archive.add(inside, "prod.ca")
    (tmp_path / "inventory").mkdir()
    (tmp_path / "home").mkdir()
    return {
        "HOME": str(tmp_path / "home"),
        "FLEET_SSH_KEY": (tmp_path / "id").read_text(),
        "FLEET_KNOWN_HOSTS": "gpu01 ssh-ed25519 AAAAC3Nz",
        "FLEET_CA": base64.b64encode(packed.getvalue()).decode(),
        "FLEET_CA_DIR": str(tmp_path / "inventory"),
    }


def test_the_command_has_the_key_by_an_agent_and_no_secret_in_its_environment(
    secrets: dict[str, str], tmp_path: Path
) -> None:
    look = 'ssh-add -l; cat "$AUTHORITY/prod.ca/ca.key"; cat ~/.ssh/known_hosts; env'
    authority = tmp_path / "inventory"
    done = run(str(CI / "with-secrets"), "sh", "-c", look, AUTHORITY=str(authority), **secrets)
    assert done.returncode == 0, done.stderr
    assert "(ED25519)" in done.stdout and "authority-secret" in done.stdout
    assert "gpu01 ssh-ed25519 AAAAC3Nz" in done.stdout
    assert "FLEET_SSH_KEY" not in done.stdout and "PRIVATE KEY" not in done.stdout + done.stderr


@pytest.mark.parametrize(("ends", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_nothing_of_it_stays_however_the_command_ends(
    ends: str, code: int, secrets: dict[str, str], tmp_path: Path
) -> None:
    done = run(
        str(CI / "with-secrets"),
        "sh",
        "-c",
        f'echo "$SSH_AUTH_SOCK $SSH_AGENT_PID"; {ends}',
        **secrets,
    )
    socket, pid = done.stdout.split()
    assert done.returncode == code
    assert not Path(socket).exists()
    stat = Path(f"/proc/{pid}/stat")
    for _ in range(100):  # it was told to end, and does so in its own time
        if not stat.exists() or ") Z " in stat.read_text():
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the agent still runs")
    assert not list((tmp_path / "inventory").iterdir())


def test_an_authority_that_was_there_before_stays(secrets: dict[str, str], tmp_path: Path) -> None:
    kept = tmp_path / "inventory" / "prod.ca"
    kept.mkdir()
    (kept / "ca.key").write_text("kept")
    assert run(str(CI / "with-secrets"), "true", **secrets).returncode == 0
    assert (kept / "ca.key").read_text() == "kept"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"FLEET_SSH_KEY": ""}, "FLEET_SSH_KEY is not set"),
        ({"FLEET_KNOWN_HOSTS": ""}, "FLEET_KNOWN_HOSTS is not set"),
        ({"FLEET_SSH_KEY": "hunter2"}, "no private key"),
        ({"FLEET_CA": "aGVsbG8="}, "FLEET_CA is not"),
    ],
)
def test_a_secret_that_cannot_be_used_is_named_and_not_shown(
    changed: dict[str, str], words: str, secrets: dict[str, str]
) -> None:
    done = run(str(CI / "with-secrets"), "true", **{**secrets, **changed})
    assert done.returncode == 2 and words in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("inventory", "code", "verdict"),
    [
        ("inventory/examples/2x3090-b.yml", 0, "fits"),
        ("inventory/examples/1xa100-40-a.yml", 3, "**does not fit**"),
        ("inventory/none.yml", 2, "**is not valid**"),
    ],
)
def test_the_plan_for_a_comment_says_the_verdict_and_ends_as_the_plan_does(
    inventory: str, code: int, verdict: str, tmp_path: Path
) -> None:
    out = tmp_path / "plan.md"
    done = run(str(CI / "plan"), inventory, str(out))
    text = out.read_text("utf-8")
    assert done.returncode == code and f"`{inventory}`: {verdict}" in text
    assert text.startswith(f"<!-- ollama-fleet plan {inventory} -->\n")


def test_the_comment_shows_what_a_change_does_to_the_plan(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main", tmp_path], check=True)
    prod = tmp_path / "inventory" / "prod.yml"
    prod.parent.mkdir()
    text = (ROOT / "inventory" / "examples" / "2x3090-b.yml").read_text("utf-8")
    prod.write_text(text)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    prod.write_text(text.replace("context: 8192", "context: 4096"))
    fleet = str(ROOT / ".venv" / "bin" / "fleet")
    done = run(str(CI / "plan"), "inventory/prod.yml", cwd=tmp_path, BASE="main", FLEET=fleet)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^-.*codellama:34b +8192", done.stdout, re.M), done.stdout
    assert re.search(r"^\+.*codellama:34b +4096", done.stdout, re.M)


class Notes(BaseHTTPRequestHandler):
    """As much of GitLab as keeps notes of one merge request."""

    notes: list[dict[str, Any]]
    tokens: set[str]

    def do_GET(self) -> None:
        self._answer(self.notes)

    def do_POST(self) -> None:
        self.notes.append({"id": len(self.notes) + 1, **self._body()})
        self._answer(self.notes[-1])

    def do_PUT(self) -> None:
        note = self.notes[int(self.path.rpartition("/")[2]) - 1]
        note.update(self._body())
        self._answer(note)

    def _body(self) -> dict[str, Any]:
        return dict(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, value: object) -> None:
        self.tokens.add(self.headers["PRIVATE-TOKEN"])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def gitlab() -> Iterator[tuple[str, type[Notes]]]:
    handler = type("Handler", (Notes,), {"notes": [{"id": 1, "body": "hello"}], "tokens": set()})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api/v4", handler
    server.shutdown()
    server.server_close()


def test_a_merge_request_has_one_comment_however_often_it_is_planned(
    gitlab: tuple[str, type[Notes]], tmp_path: Path
) -> None:
    url, server = gitlab
    variables = {
        "FLEET_GITLAB_TOKEN": "glpat-secret",
        "CI_API_V4_URL": url,
        "CI_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_IID": "3",
    }
    plan = tmp_path / "plan.md"
    for text in ("first", "second `$(id)` \" '"):
        plan.write_text(f"<!-- ollama-fleet plan a -->\n{text}\n")
        done = run(str(CI / "comment"), "gitlab", str(plan), **variables)
        assert done.returncode == 0, done.stderr
        assert "glpat-secret" not in done.stdout + done.stderr
    assert [note["body"] for note in server.notes] == ["hello", plan.read_text()]
    assert server.tokens == {"glpat-secret"}
