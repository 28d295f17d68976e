"""Sources of the toolkit that somebody else left: the real shell on files of a folder."""

import subprocess
from pathlib import Path

import pytest

from ollama_fleet.containers import sources

NVIDIA = "https://nvidia.github.io/libnvidia-container"
ARCHIVE = "deb http://archive.example/debian bookworm main"
LINE = f"deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] {NVIDIA}/stable/deb/amd64 /"
STANZA = f"Types: deb\nURIs: {NVIDIA}/stable/deb/amd64\nSuites: /\n"
OTHER_STANZA = (
    "Types: deb\nURIs: http://archive.example/debian\nSuites: bookworm\nComponents: main\n"
)
SECTION = f"[toolkit]\nname = x\nbaseurl = {NVIDIA}/stable/rpm/$basearch\nenabled=1\n"
OTHER_SECTION = "[baseos]\nname=y\nmirrorlist=https://mirrors.example/?repo=BaseOS\n"
# How the shell says what it does, and fails.
TOOLS = 'set -eu\nsay() { echo "$*"; }\n'


def look(folder: Path) -> dict[str, str]:
    """What is to be done with each file of the folder, by name."""
    patterns = tuple(f"{folder}/*.{ending}" for ending in ("list", "sources", "repo"))
    asked = sources.question((f"{folder}/ours.list",), patterns)
    done = subprocess.run(["sh"], input=asked, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return sources.read(done.stdout.splitlines())


def clear(folder: Path) -> None:
    script = TOOLS + "\n".join(sources.away_steps(look(folder)))
    subprocess.run(["sh"], input=script, text=True, check=True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("corporate.list", f"{ARCHIVE}\n# {LINE}\n"),
        ("corporate.list", f"{ARCHIVE} # see {NVIDIA}\n"),
        (
            "keyring.list",
            "deb [signed-by=/usr/share/keyrings/libnvidia-container.gpg] http://x y z\n",
        ),
        ("corporate.sources", f"# {NVIDIA}\n{OTHER_STANZA}"),
        ("corporate.sources", f"{OTHER_STANZA}\n{STANZA}Enabled: no\n"),
        (
            "base.repo",
            f"{OTHER_SECTION}excludepkgs=nvidia-container-runtime* libnvidia-container*\n",
        ),
        ("base.repo", f"{OTHER_SECTION}#baseurl={NVIDIA}/stable/rpm\n"),
        ("base.repo", f"{OTHER_SECTION}{SECTION}".replace("enabled=1", "enabled = 0")),
        ("ours.list", f"{LINE}\n"),
    ],
)
def test_what_is_not_in_force_is_left_as_it_is(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert look(tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nvidia-container-toolkit.list", f"{LINE}\n#deb {NVIDIA}/experimental/deb/amd64 /\n"),
        ("nvidia-docker.list", "deb https://nvidia.github.io/nvidia-docker/ubuntu22.04/amd64 /\n"),
        ("toolkit.sources", f"{STANZA}\n{STANZA}"),
        ("toolkit.sources", f"{OTHER_STANZA}Enabled: no\n\n{STANZA}Signed-By:\n -----BEGIN\n .\n"),
        ("toolkit.sources", f"Types: deb\nURIs:\n {NVIDIA}/stable/deb/amd64\nSuites: /\n"),
        # As NVIDIA's own file is: the second repository is off.
        ("toolkit.repo", f"{SECTION}\n{SECTION}".replace("enabled=1", "enabled=0", 1)),
        ("toolkit.repo", f"[main]\n[toolkit]\nbaseurl=\n    {NVIDIA}/stable/rpm/$basearch\n"),
    ],
)
def test_a_file_of_the_toolkit_alone_is_put_aside(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert look(tmp_path) == {str(tmp_path / name): "aside"}

    clear(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.disabled"]


def test_a_list_with_other_entries_loses_the_toolkits_lines_only(tmp_path: Path) -> None:
    corporate, file = tmp_path / "corporate.list", tmp_path / "real"
    file.write_text(
        f"# ours\n{ARCHIVE}\n  {LINE}\ndeb-src {NVIDIA}/stable/deb/amd64 /\n{ARCHIVE} x\n"
    )
    file.chmod(0o640)
    corporate.symlink_to(file)
    assert look(tmp_path) == {str(corporate): "lines"}

    clear(tmp_path)

    taken = "# taken out by Ollama Fleet:"
    assert file.read_text().splitlines() == [
        *("# ours", ARCHIVE, f"{taken}   {LINE}"),
        *(f"{taken} deb-src {NVIDIA}/stable/deb/amd64 /", f"{ARCHIVE} x"),
    ]
    assert corporate.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert look(tmp_path) == {}, "a second run would do it again"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("corporate.sources", f"{OTHER_STANZA}\n{STANZA}"),
        ("corporate.sources", STANZA.replace("URIs:", "URIs: http://archive.example/debian")),
        ("corporate.repo", f"{OTHER_SECTION}\n{SECTION}"),
        ("corporate.repo", f"{SECTION}\n[other]\nbaseurl=http://x\nenabled=1\n"),
        ("corporate.repo", SECTION.replace("baseurl =", "baseurl = http://x,")),
    ],
)
def test_any_other_file_with_more_in_it_is_left_to_a_person(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    found = look(tmp_path)
    assert found == {str(tmp_path / name): "person"}
    (said,) = sources.problems(found)
    assert str(tmp_path / name) in said

    clear(tmp_path)

    assert (tmp_path / name).read_text() == text
