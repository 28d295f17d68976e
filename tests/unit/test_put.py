"""How files are put onto a host: the very step, run by a real shell below a folder of this machine."""

import subprocess
from pathlib import Path

import pytest

from ollama_fleet.host.scripts import change_script, put_file
from ollama_fleet.templating import HostFile


def put(folder: Path, path: Path, text: str) -> None:
    script = change_script([put_file(HostFile(str(path), text))])
    script = script.replace("/run/ollama-fleet", str(folder / "run"))
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_was_there_is_kept_and_what_a_cut_run_left_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("theirs")
    (tmp_path / "x.fleet-new").write_text("half of it, and much longer than what comes now")
    put(tmp_path, path, "ours")
    assert path.read_text() == "ours"
    assert (tmp_path / "x.before-fleet").read_text() == "theirs"


@pytest.mark.parametrize("ending", ["", ".fleet-new", ".before-fleet"])
def test_a_link_leads_no_file_elsewhere(tmp_path: Path, ending: str) -> None:
    """Our manifest lies in a folder of the service user's."""
    shadow, path = tmp_path / "shadow", tmp_path / "x"
    shadow.write_text("root:secret")
    shadow.chmod(0o600)
    if ending:
        path.write_text("theirs")
    Path(f"{path}{ending}").symlink_to(shadow)
    put(tmp_path, path, "ours")
    assert path.read_text() == "ours" and not path.is_symlink()
    assert shadow.read_text() == "root:secret" and shadow.stat().st_mode & 0o777 == 0o600
