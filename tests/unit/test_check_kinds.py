"""Every name that a check can give its result has a row in the table of kinds, a line in the docs and a
test that breaks it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ollama_fleet.authority import places as authority
from ollama_fleet.checks import kinds
from ollama_fleet.checks.health import ASPECTS
from ollama_fleet.checks.kinds import KINDS, kind_of
from ollama_fleet.firewall import rules as firewall
from ollama_fleet.gateway import places as gateway
from ollama_fleet.monitor import places as monitor
from ollama_fleet.report.junit import REACHED
from ollama_fleet.watching.places import HEALTH_UNIT, WATCHDOG_UNIT

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/verify.md"
MODULES = sorted((ROOT / "ollama_fleet").rglob("*.py"))

# Where a name is no literal: file and expression, and all that it can become.
UNITS_OF_GATEWAY = {
    getattr(gateway, name).removesuffix(".service")
    for name in dir(gateway)
    if name.endswith("_UNIT")
}
NAMED_ELSEWHERE = {
    "certificates.py: place.what": set(
        re.findall(r'"(certificate [a-z ]+)"', Path(authority.__file__).read_text())
    ),
    "of_services.py: service.unit.removesuffix('.service')": UNITS_OF_GATEWAY
    | {unit.removesuffix(".service") for unit in (monitor.UNIT, monitor.DOOR_UNIT)},
    "ways.py: unit.removesuffix('.service')": {
        *(unit.removesuffix(".service") for unit in (gateway.HOP_UNIT, HEALTH_UNIT, WATCHDOG_UNIT)),
        firewall.UNIT.removesuffix(".service"),
    },
    "metrics.py: NAME": {"metrics"},
    "sarif.py: REACHED": {REACHED},
    "health.py: aspect.check": {aspect.check for aspect in ASPECTS},
    "containers.py: f'{name} container'": {"docker container", "podman container"},
}
# Functions that hand a name on, which their callers gave them.
HANDED_ON = "check"


def givers(tree: ast.Module) -> dict[str, int]:
    """Functions of a module that take a check's name, by the position of that argument."""
    found = {"CheckResult": 2, "result": 1}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [argument.arg for argument in node.args.args if argument.arg != "self"]
            if HANDED_ON in names and node.returns and "CheckResult" in ast.unparse(node.returns):
                found[node.name] = names.index(HANDED_ON)
    return found


def named(path: Path) -> Iterator[tuple[str, ast.expr]]:
    """What a module gives as names of checks."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at = givers(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func.attr if isinstance(node.func, ast.Attribute) else None
        function = node.func.id if isinstance(node.func, ast.Name) else function
        if function not in at or (
            function == "result" and not isinstance(node.func, ast.Attribute)
        ):
            continue
        given = {word.arg: word.value for word in node.keywords}.get(HANDED_ON)
        if given is None and len(node.args) > at[function]:
            given = node.args[at[function]]
        if given is not None and ast.unparse(given) != HANDED_ON:
            yield f"{path.name}: {ast.unparse(given)}", given


def names() -> dict[str, str]:
    """Every name that a result can have, and where it comes from."""
    found: dict[str, str] = {}
    modules = [path for path in MODULES if "CheckResult" in path.read_text(encoding="utf-8")]
    for path in modules:
        for where, given in named(path):
            if isinstance(given, ast.Constant):
                found[str(given.value)] = where
                continue
            assert where in NAMED_ELSEWHERE, f"say above what this can be: {where}"
            found |= dict.fromkeys(NAMED_ELSEWHERE[where], where)
    return found


def test_every_result_is_of_a_known_kind() -> None:
    assert {name: where for name, where in names().items() if name not in KINDS} == {}


def test_no_kind_is_left_of_a_check_that_is_gone() -> None:
    assert set(KINDS) - set(names()) == set()


def test_every_kind_says_what_it_proves_and_of_which_step() -> None:
    steps = set()
    for path in (ROOT / "tasks").glob("*.py"):
        steps |= set(re.findall(r'^@(?:step|deploy)\("([^"]+)"\)', path.read_text(), re.M))
    known = {step.lower() for step in steps}
    for kind in KINDS.values():
        assert kind.step in known, f"{kind.name}: no step of a deploy is called {kind.step}"
        assert kind.what and not kind.what.endswith("."), kind.name


def test_a_name_stands_once_in_the_table() -> None:
    text = Path(kinds.__file__).read_text(encoding="utf-8")
    written = [
        node.args[0].value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Kind"
        and isinstance(node.args[0], ast.Constant)
    ]
    assert len([name for name in written if name]) == len(KINDS)


def broken_by() -> dict[str, list[str]]:
    """Kind to the lab files of which a test breaks what it is for: what stands in any `breaks(…)` there."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests/lab").glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("breaks"):
                words = [word for given in node.args for word in ast.walk(given)]
                for word in words:
                    if isinstance(word, ast.Constant):
                        found.setdefault(str(word.value), []).append(path.name)
    return found


def test_every_check_is_seen_to_fail_on_a_lab_host() -> None:
    """By a lab test with `@pytest.mark.breaks(…)`."""
    assert set(KINDS) - set(broken_by()) == set()


def test_what_the_lab_breaks_are_checks() -> None:
    assert set(broken_by()) - set(KINDS) == set()


def documented() -> dict[str, set[str]]:
    """Check to the severities that its lines in the docs say."""
    found: dict[str, set[str]] = {}
    rows = re.findall(
        r"^\| ([^|]+?) \| (critical|major|minor) \|", DOCS.read_text(encoding="utf-8"), re.M
    )
    for names, severity in rows:
        for name in names.split(", "):
            found.setdefault(name, set()).add(severity)
    return found


def test_the_docs_have_every_check_with_its_severity_and_no_other() -> None:
    assert documented() == {name: {kind.severity} for name, kind in KINDS.items()}


def test_what_nobody_knows_is_taken_seriously_all_the_same() -> None:
    assert kind_of("something of tomorrow").severity == "major"
