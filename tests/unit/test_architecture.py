"""The house keeps its shape: which way imports point, files that one reader can hold, and two habits:
nothing is fetched and run unseen, and a distribution is a row of a table."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ollama_fleet"

# Room to the rooms that it may import (its own always).
MAY_IMPORT = {
    "problems": set(),
    "yamlfile": {"problems"},
    "questions": set(),
    "sources": set(),
    "catalogue": set(),
    "vram": {"catalogue"},
    "speed": {"catalogue"},
    "sizing": {"catalogue"},
    "spec_rules": {"spec", "spec_servers"},
    "spec_servers": {"spec_rules", "spec_warm_rules"},
    "spec_warm_rules": {"spec", "spec_known", "spec_rules", "spec_servers"},
    "spec_delivery": {"spec_rules", "spec_servers"},
    "spec_addresses": {"spec_rules"},
    "spec_ssh": {"spec_addresses", "spec_servers"},
    "spec_mirrors": {
        *("sources", "spec", "spec_addresses", "spec_rules", "spec_servers", "spec_ssh"),
    },
    "spec_firewall": {"spec_addresses", "spec_rules", "spec_servers"},
    "spec_gateway": {
        *("spec", "spec_firewall", "spec_removal", "spec_rules", "spec_servers", "spec_ssh"),
        *("spec_addresses", "spec_gateway_ports", "spec_virtual_address"),
    },
    "spec_gateway_ports": {"spec", "spec_rules"},
    "spec_virtual_address": {"spec", "spec_rules", "spec_servers"},
    "spec_rollout": {"spec", "spec_rules", "spec_servers"},
    "spec_custom": {"spec_rules", "spec_servers"},
    "spec_custom_rules": {"catalogue", "spec", "spec_known", "spec_rules"},
    "spec_nvidia": {"spec_nvidia_rules", "spec_servers"},
    "spec_nvidia_rules": {"spec", "spec_nvidia", "spec_rules"},
    "spec_known": {"catalogue", "spec", "spec_custom", "spec_servers"},
    "spec_ollama": {"catalogue", "spec", "spec_rules", "spec_servers"},
    "spec_fleet_rules": {
        *("catalogue", "spec", "spec_known", "spec_rules", "spec_servers"),
        *("spec_custom_rules", "spec_nvidia_rules", "spec_ollama", "spec_warm_rules"),
    },
    "spec": {
        *("catalogue", "spec_fleet_rules", "spec_rules", "spec_servers"),
        *(
            "spec_custom",
            "spec_delivery",
            "spec_firewall",
            "spec_gateway",
            "spec_mirrors",
            "spec_nvidia",
        ),
        *("spec_nvidia_rules", "spec_ollama", "spec_removal", "spec_rollout", "spec_ssh"),
    },
    "spec_removal": {"spec", "spec_rules", "spec_servers"},
    "layout_files": {"catalogue", "mig", "problems", "spec", "spec_known", "yamlfile"},
    "key_files": {"problems", "spec", "yamlfile"},
    "certificate_files": {"authority", "problems", "spec", "yamlfile"},
    "custom_files": {"catalogue", "problems", "spec_custom", "spec_known", "yamlfile"},
    "model_errors": {"problems", "yamlfile"},
    "load": {
        *("certificate_files", "custom_files", "key_files", "layout_files", "model_errors"),
        *("problems", "spec", "yamlfile"),
    },
    "authority": {"gateway", "packaging", "planner", "problems", "questions", "templating"},
    "hardware": {"mig", "questions"},
    "mig": {"draining", "gpu_settings", "hardware", "planner", "problems", "questions", "yamlfile"},
    "gpu_settings": {"hardware", "planner", "questions"},
    "containers": {"catalogue", "hardware", "planner", "questions", "templating"},
    "claim": {"questions"},
    "firewall": {"catalogue", "claim", "packaging", "planner", "questions", "templating"},
    "controller": set(),
    "removal": {
        *("claim", "convergence", "draining", "firewall", "gateway", "mig", "planner"),
        "questions",
        "templating",
    },
    "rollout": {"convergence", "draining", "planner", "questions", "store", "templating"},
    "store": set(),
    "draining": set(),
    "driver": {
        *("catalogue", "draining", "hardware", "planner", "questions", "rollout", "templating"),
    },
    "planner": {
        *("catalogue", "hardware", "problems", "sources", "speed", "vram", "yamlfile"),
        *(
            "spec",
            "spec_custom",
            "spec_firewall",
            "spec_known",
            "spec_mirrors",
            "spec_nvidia",
            "spec_rules",
        ),
        *("spec_gateway_ports", "spec_servers", "spec_virtual_address", "spec_warm_rules"),
    },
    "export": {"planner", "templating"},
    "preflight": {"catalogue", "hardware", "planner", "questions", "room"},
    "room": {"catalogue", "planner", "questions", "sizing", "store"},
    "fetching": {"planner", "store"},
    "templating": set(),
    "render_store": {"fetching", "planner", "templating"},
    "warm": {"fetching", "planner", "store", "templating"},
    "client": {"planner", "templating"},
    "render": {"client", "hardware", "mig", "planner", "render_store", "templating", "warm"},
    "convergence": {"render", "templating"},
    "mirrors": {"catalogue", "packaging", "planner", "questions", "sources", "templating"},
    "packaging": set(),
    "gateway": {
        *("catalogue", "draining", "keys", "packaging", "planner", "questions", "templating"),
    },
    "checks": {
        *("authority", "catalogue", "containers", "driver", "firewall", "gateway"),
        *("gpu_settings", "hardware", "mig"),
        *("mirrors", "planner", "questions", "rollout", "sources", "speed", "store", "warm"),
    },
    "kept_plan": {"planner", "problems"},
    "release": {"catalogue", "fetching", "planner", "preflight", "questions", "web"},
    "model_lock": {"planner", "problems", "store"},
    "file_digests": {"planner", "problems"},
    "custom_state": {"fetching", "planner", "questions", "store", "templating"},
    "keys": {
        *("model_errors", "planner", "problems", "spec_known", "spec_rules", "spec_servers"),
        *("templating", "yamlfile"),
    },
    "run_limits": {"problems"},
    "inventory": {
        *(
            "authority",
            "catalogue",
            "file_digests",
            "kept_plan",
            "keys",
            "load",
            "model_lock",
            "planner",
        ),
        *("problems", "release", "run_limits", "sources", "spec", "yamlfile"),
    },
    "originals": {"spec", "spec_mirrors"},
    "web": set(),
    "registry": {"store", "web"},
    "pgp": set(),
    "bundle": {
        *("catalogue", "containers", "driver", "locking", "pgp", "planner", "preflight"),
        *("registry", "sources", "store", "templating", "web"),
    },
    "locking": {"fetching", "model_lock", "planner", "registry", "store"},
    "recommend": {"catalogue", "speed", "vram"},
    "report": {"catalogue", "checks", "planner", "recommend", "sizing", "vram"},
}
FILES = sorted(PACKAGE.rglob("*.py"))
# Everything that has a part in what happens on a host.
DEPLOYED = sorted(
    path
    for place in ("templates", "tasks", "ollama_fleet", "scripts", "deploy.py")
    for path in (ROOT / place, *(ROOT / place).rglob("*"))
    if path.is_file() and path.suffix != ".pyc"
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
