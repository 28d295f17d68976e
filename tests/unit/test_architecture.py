"""The house keeps its shape: which way imports point, files that one reader can hold, and two habits:
nothing is fetched and run unseen, and a distribution is a row of a table."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ollama_fleet"

# Room: the rooms that it may import (its own always); a row may go on in the next line.
ROOMS = """
problems:
yamlfile: problems
questions:
sources:
catalogue:
vram: catalogue
speed: catalogue
sizing: catalogue
spec: catalogue sources
layout_files: catalogue mig problems spec yamlfile
key_files: problems spec yamlfile
certificate_files: authority problems spec yamlfile
custom_files: catalogue problems spec yamlfile
model_errors: problems yamlfile
load: certificate_files custom_files key_files layout_files model_errors problems spec yamlfile
services: catalogue packaging questions templating
monitor: gateway planner questions services templating
authority: gateway metrics monitor packaging planner problems questions services templating
hardware: questions
mig: draining gpu_settings hardware planner problems questions
gpu_settings: hardware planner questions
containers: catalogue hardware planner questions templating
claim: questions
firewall: catalogue claim packaging planner questions templating
controller:
removal: claim convergence draining firewall gateway metrics mig monitor planner questions
    selfcheck templating watching
rollout: convergence draining planner questions store templating
store:
draining:
driver: catalogue draining hardware planner questions rollout templating
planner: catalogue hardware problems sources spec speed vram yamlfile
export: monitor planner templating
host_lists: problems yamlfile
preflight: catalogue hardware planner questions room
room: catalogue planner questions sizing store
fetching: planner store
templating:
render_store: fetching planner templating
warm: fetching planner store templating
client: planner templating
selfcheck: checks claim planner questions templating
render: hardware mig planner render_store selfcheck templating
convergence: render templating
owned: client convergence fetching firewall gateway metrics mig monitor planner render selfcheck
    templating warm watching
mirrors: catalogue packaging planner questions sources templating
packaging: catalogue
metrics: catalogue draining gateway planner questions services templating watching
gateway: draining keys planner questions services templating watching
watch_services: hardware planner questions services watching
watching: claim draining fetching hardware planner questions templating
checks: authority catalogue claim containers convergence driver firewall gateway gpu_settings
    hardware keys metrics mig mirrors monitor planner questions render rollout selfcheck services
    sources speed store templating warm watch_services watching
kept_plan: planner problems
release: catalogue fetching planner preflight questions web
model_lock: planner problems store
file_digests: planner problems
custom_state: fetching planner questions store templating
keys: model_errors planner problems spec templating yamlfile
run_limits: problems
inventory: authority catalogue file_digests kept_plan keys load model_lock planner problems
    reaching release run_limits sources spec yamlfile
reaching: problems spec
originals: spec
web:
registry: store
pgp:
bundle: catalogue containers driver locking pgp planner preflight registry sources store
    templating web
locking: fetching model_lock planner registry store
recommend: catalogue speed vram
top: checks draining gateway hardware planner questions watching
report: catalogue checks planner recommend sizing vram yamlfile
"""
MAY_IMPORT = {
    row.partition(":")[0]: set(row.partition(":")[2].split())
    for row in re.sub(r"\n +", " ", ROOMS).split("\n")
    if row
}
FILES = sorted(PACKAGE.rglob("*.py"))
# Everything that has a part in what happens on a host.
DEPLOYED = sorted(
    path
    for place in ("templates", "tasks", "ollama_fleet", "scripts", "deploy.py")
    for path in (ROOT / place, *(ROOT / place).rglob("*"))
    if path.is_file() and path.suffix not in (".pyc", ".ttf")
)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    here = path.relative_to(PACKAGE).with_suffix("").parts[0]
    names = imports(path)
    if here not in ("host", "__init__"):
        assert not [name for name in names if name.split(".")[0].startswith("pyinfra")]
    if here in MAY_IMPORT:
        ours = {room(name) for name in names if name.startswith("ollama_fleet.")}
        assert ours <= MAY_IMPORT[here] | {here}


def test_no_way_leads_back_to_a_room() -> None:
    """But one: the host's own look asks what the checks ask, and they compare all that was rendered."""
    follows = {**MAY_IMPORT, "selfcheck": MAY_IMPORT["selfcheck"] - {"checks"}}
    TopologicalSorter(follows).prepare()


def test_every_room_has_a_row() -> None:
    """But those that nothing imports: they tie all others together."""
    rooms = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in FILES}
    assert rooms - MAY_IMPORT.keys() == {"__init__", "cli", "host"}


def test_the_lab_knows_nothing_of_the_deploy() -> None:
    for path in (ROOT / "lab").rglob("*.py"):
        assert not [
            name for name in imports(path) if name.split(".")[0] in ("ollama_fleet", "tasks")
        ]


@pytest.mark.parametrize("folder", ["ollama_fleet", "tasks", "lab"])
def test_files_stay_small_and_say_what_they_hold(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 250, f"{path} has two reasons to change"
        assert ast.get_docstring(ast.parse(text)), f"{path} does not say what it holds"


_SHELL = r"(?:(?:sudo|env|exec)\s+(?:-\S+\s+|\w+=\S*\s+)*)?(?:\S*/)?(?:ba|da|z|k)?sh(?![\w.=/-])"
UNSEEN = re.compile(
    rf"\b(?:curl|wget)\b[^\n]*(?<!\|)\|\s*{_SHELL}"
    rf"|(?:\beval\b|{_SHELL}\s+-\w*c)\s+[\"']?\$\((?:curl|wget)\b"
    rf"|(?:{_SHELL}|\bsource|(?:^|\s)\.)\s+<\((?:curl|wget)\b"
)


def runs_unseen(text: str) -> str | None:
    """The first download that goes straight into a shell."""
    joined = re.sub(r"(?:\\+\n|(?<=\|)[ \t]*\n)\s*", " ", text)
    found = UNSEEN.search(joined)
    return found and found.group()


def constants(tree: ast.AST) -> Iterator[str]:
    """Text of a Python file, put together from its pieces; of f-strings what is not computed."""
    inner = {
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            yield "X".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inner:
            yield node.value


@pytest.mark.parametrize(
    "text",
    [
        "curl -fsSL https://ollama.com/install.sh | sh",
        "curl -fsSL https://x/install.sh \\\n    | sudo -E bash -s -- --yes",
        "wget -qO- https://x |\n    sudo bash",
        "wget -qO - https://x | tee log | /bin/dash",
        "curl https://x | env VERSION=1 sh -",
        'bash -c "$(curl -fsSL https://x)"',
        'eval "$(wget -qO- https://x)"',
        "bash <(curl -s https://x)",
    ],
)
def test_a_download_that_nobody_looks_at_is_known_when_it_is_seen(text: str) -> None:
    assert runs_unseen(f"set -e\n{text}\nexit")


@pytest.mark.parametrize(
    "text",
    [
        "curl -fsS https://x -o key || sh fallback",
        "curl -fsS https://x | sha256sum",
        "curl -fsS http://127.0.0.1/api/ps | tr , '\\n' | grep -q vram",
        "command -v curl\necho x | sh -s",
    ],
)
def test_a_download_that_is_only_read_is_none(text: str) -> None:
    assert not runs_unseen(text)


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_fetched_and_run_in_one_breath(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    pieces = list(constants(ast.parse(text))) if path.suffix == ".py" else []
    assert not [found for piece in (text, *pieces) if (found := runs_unseen(piece))]


# As they stand in os-release; people are told of "Debian" and "RHEL", which is no branch in code.
DISTRIBUTIONS = re.compile(
    r"(?<![a-z])(?:debian|ubuntu|linuxmint|raspbian|rhel|redhat|rocky|almalinux|centos|fedora"
    r"|oracle|ol|amzn|sles|suse|opensuse|alpine|gentoo)(?![a-z])"
)


def code(path: Path) -> Iterator[str]:
    """Names and texts of a file, without its comments and docstrings."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield re.sub(r"(?m)(?:^|(?<=\s))#.*|\{#.*?#\}", "", text)
        return
    tree = ast.parse(text)
    for node in ast.walk(tree):
        yield from (
            name
            for field in ("id", "attr", "arg", "name")
            if isinstance(name := getattr(node, field, None), str)
        )
        # A text that stands alone is a docstring, or nothing.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(0)
    yield from constants(tree)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.py", 'apt = os_id in ("debian", "x")'),
        ("x.py", "is_ubuntu = True"),
        ("x.py", 'ask = f"grep -q rhel {path}"'),
        ("x.sh", "[ $ID = rocky ] || exit # not there"),
        ("x.j2", "url={{ base }}/debian12"),
    ],
)
def test_a_branch_on_a_distribution_is_known_when_it_is_seen(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    assert any(DISTRIBUTIONS.search(piece) for piece in code(tmp_path / name))


@pytest.mark.parametrize(
    "path",
    [path for path in DEPLOYED if PACKAGE / "catalogue" not in path.parents],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_distribution_is_a_row_of_the_catalogue_and_no_branch_in_code(path: Path) -> None:
    assert not [piece for piece in code(path) if DISTRIBUTIONS.search(piece)]
