"""What goes wrong around the workflows: killed runners, files without an end, odd names, long plans."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.unit.test_ci import CI, run, secrets

__all__ = ["secrets"]


def stand_in(folder: Path, name: str) -> Path:
    """A project whose `name` says what it was called with."""
    binary = folder / ".venv/bin" / name
    binary.parent.mkdir(parents=True, exist_ok=True)
    binary.write_text('#!/bin/sh\necho "$@"\n')
    binary.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    "given", ["./inventory/prod", "./inventory/prod.yml", "inventory/prod.py", "inventory/prod.eu"]
)
def test_any_way_to_name_an_inventory_names_it(given: str, tmp_path: Path) -> None:
    stem = given.removesuffix(".yml").removesuffix(".py")
    stand_in(stand_in(tmp_path, "pyinfra"), "fleet")
    assert f"{stem}.py deploy.py" in run(str(CI / "deploy"), given, "out", cwd=tmp_path).stdout
    assert f"verify {stem}.yml " in run(str(CI / "verify"), given, "out", cwd=tmp_path).stdout


def test_nothing_stays_when_the_runner_kills_it(secrets: dict[str, str], tmp_path: Path) -> None:
    command = [str(CI / "with-secrets"), "sh", "-c", 'echo "$SSH_AUTH_SOCK"; exec sleep 60']
    started = subprocess.Popen(
        command, env=os.environ | secrets, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert started.stdout
    agent = Path(started.stdout.readline().strip())
    authority = tmp_path / "inventory/prod.ca"
    assert agent.is_socket() and authority.is_dir()
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    until = time.monotonic() + 20
    while (agent.parent.exists() or authority.exists()) and time.monotonic() < until:
        time.sleep(0.2)
    assert not agent.parent.exists() and not authority.exists()


def test_lines_without_an_end_are_not_glued_together(
    secrets: dict[str, str], tmp_path: Path
) -> None:
    known = tmp_path / "home/.ssh/known_hosts"
    known.parent.mkdir()
    known.write_text("other ssh-ed25519 AAAA")
    key = tmp_path / "short"
    key.write_text(secrets["FLEET_SSH_KEY"].rstrip("\n"))
    done = run(str(CI / "with-secrets"), "ssh-add", "-l", **secrets | {"FLEET_SSH_KEY": str(key)})
    assert done.returncode == 0, done.stderr
    assert known.read_text().split("\n")[:2] == [
        "other ssh-ed25519 AAAA",
        "gpu01 ssh-ed25519 AAAAC3Nz",
    ]


def test_a_long_plan_with_many_changes_is_still_one_comment(tmp_path: Path) -> None:
    """GitHub takes 65,536 characters."""
    program = tmp_path / "fleet"
    program.write_text(
        "#!/bin/sh\ni=0; while [ $i -lt 900 ]; do i=$((i+1)); "
        'echo "$i $(cat $2) ########################################################"\ndone\n'
    )
    program.chmod(0o755)
    (tmp_path / "a.yml").write_text("old")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path))
    for words in (("init", "-q"), ("add", "a.yml"), ("commit", "-qm", "a")):
        assert run(*git, *words).returncode == 0
    (tmp_path / "a.yml").write_text("new")
    done = run(
        str(CI / "plan"), "./a.yml", "plan.md", cwd=tmp_path, FLEET=str(program), BASE="HEAD"
    )
    text = (tmp_path / "plan.md").read_text()
    assert done.returncode == 0 and "What changes" in text
    assert len(text) < 65_000


def test_a_foreign_comment_that_looks_like_ours_does_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_text("<!-- mark -->\nplan\n")
    said = tmp_path / "said"
    program = tmp_path / "gh"
    note = json.dumps([{"id": 7, "body": "<!-- mark -->"}])
    program.write_text(
        f"#!/bin/sh\necho \"$@\" >>{said}\ncase $* in *PATCH*) exit 1;; *paginate*) echo '{note}';; esac\n"
    )
    program.chmod(0o755)
    path = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "GITHUB_REPOSITORY": "a/b",
        "PR_NUMBER": "1",
    }
    done = run(str(CI / "comment"), "github", str(tmp_path / "plan.md"), **path)
    assert done.returncode == 0, done.stderr
    assert "POST" in said.read_text()
