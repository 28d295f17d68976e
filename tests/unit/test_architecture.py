"""The house keeps its shape: which way imports point, and files that one reader can hold."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ollama_fleet"

# Room to the rooms that it may import (its own always).
MAY_IMPORT = {
    "problems": set(),
    "yamlfile": {"problems"},
    "questions": set(),
    "catalogue": set(),
    "vram": {"catalogue"},
    "speed": {"catalogue"},
    "sizing": {"catalogue"},
    "spec_rules": {"spec", "spec_servers"},
    "spec_servers": {"spec_rules"},
    "spec_nvidia": {"spec_nvidia_rules", "spec_servers"},
    "spec_nvidia_rules": {"spec", "spec_nvidia", "spec_rules"},
    "spec_known": {"catalogue", "spec", "spec_servers"},
    "spec_fleet_rules": {
        *("catalogue", "spec", "spec_known", "spec_rules", "spec_servers"),
        "spec_nvidia_rules",
    },
    "spec": {
        *("catalogue", "spec_fleet_rules", "spec_rules", "spec_servers"),
        *("spec_nvidia", "spec_nvidia_rules"),
    },
    "layout_files": {"catalogue", "mig", "problems", "spec", "spec_known", "yamlfile"},
    "key_files": {"problems", "spec", "yamlfile"},
    "load": {"key_files", "layout_files", "problems", "spec", "yamlfile"},
    "hardware": {"mig", "questions"},
    "mig": {"draining", "gpu_settings", "hardware", "planner", "problems", "questions", "yamlfile"},
    "gpu_settings": {"hardware", "planner", "questions"},
    "containers": {"hardware", "planner", "questions", "render"},
    "store": set(),
    "draining": set(),
    "driver": {"catalogue", "draining", "hardware", "planner", "questions", "render"},
    "planner": {
        *("catalogue", "hardware", "problems", "vram", "yamlfile"),
        *("spec", "spec_known", "spec_nvidia", "spec_rules", "spec_servers"),
    },
    "preflight": {"catalogue", "hardware", "planner", "questions", "room"},
    "room": {"catalogue", "planner", "questions", "sizing", "store"},
    "render": {"hardware", "mig", "planner"},
    "convergence": {"render"},
    "checks": {
        *("catalogue", "containers", "driver", "gpu_settings", "hardware", "mig"),
        *("planner", "questions", "speed", "store"),
    },
    "kept_plan": {"planner", "problems"},
    "inventory": {"kept_plan", "load", "planner", "problems", "spec", "yamlfile"},
    "recommend": {"catalogue", "speed", "vram"},
    "report": {"catalogue", "checks", "planner", "recommend", "sizing", "vram"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


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
