"""The recipes, read and filled in: which packages exist, with which relations and files."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.network import MIRROR_ADDRESS

HERE = Path(__file__).resolve().parent
RECIPES = HERE / "recipes"
NEXT_KERNEL_NUMBER = "6.99.0-1"
# How a package relates to others; all of a recipe's other keys are about what it holds.
RELATIONS = (
    *("depends", "pre-depends", "recommends", "provides", "conflicts", "breaks", "replaces"),
    *("requires", "obsoletes"),
)


@dataclass(frozen=True)
class Package:
    """One package of one version; `files` maps its paths to what payload.py makes of them."""

    repository: str
    kind: str
    name: str
    version: str
    summary: str
    architecture: str
    relations: Mapping[str, tuple[str, ...]]
    files: Mapping[str, Mapping[str, str]]
    scripts: Mapping[str, str]

    @property
    def label(self) -> str:
        return f"{self.name} {self.version}"


class _Values(dict[str, str]):
    def __missing__(self, key: str) -> str:
        raise KeyError(f"a recipe names {{{key}}}, which nothing defines")


def load_packages(kernel: str | None = None) -> list[Package]:
    """All packages of all recipes; `kernel` is the running one."""
    return [
        package
        for path in sorted(RECIPES.glob("*.yml"))
        for package in _of_recipe(_yaml(path), kernel or platform.release())
    ]


def load_repositories() -> dict[str, dict[str, Any]]:
    """Path below the mirror's root → how it is made."""
    found: dict[str, dict[str, Any]] = _yaml(HERE / "repositories.yml")
    return found


def _of_recipe(recipe: dict[str, Any], kernel: str) -> Iterator[Package]:
    repositories = load_repositories()
    for row in recipe.get("each", [{}]):
        for repository in row.get("repositories", recipe["repositories"]):
            values = _values(row, repositories[repository], kernel)
            values["repository_url"] = f"http://{MIRROR_ADDRESS}/{repository}/"
            for name, body in recipe["packages"].items():
                yield _package(repository, recipe, name, body or {}, values)


def _values(row: dict[str, Any], repository: dict[str, Any], kernel: str) -> _Values:
    """What {names} in a recipe stand for."""
    given = {**repository.get("values", {}), **row}
    values = _Values({key: str(value) for key, value in given.items() if key != "repositories"})
    if "driver" in values:
        values.setdefault("branch", values["driver"].split(".")[0])
    values["kernel"] = kernel
    values["kernel_rpm_version"], _, release = kernel.partition("-")
    values["kernel_rpm_release"] = release.replace("-", "_") or "1"
    values["next_kernel"] = NEXT_KERNEL_NUMBER + values.get("kernel_suffix", "")
    _add_metapackages(values)
    return values


def _add_metapackages(values: _Values) -> None:
    """What a distribution's kernel metapackages lead to, before and in its updates.

    There is no package of the running kernel: it is the outer machine's.
    """
    if "next" in values:
        kernel, version = values["next_kernel"], NEXT_KERNEL_NUMBER
        values["meta_image"] = f"linux-image-{kernel}"
    else:
        kernel, version = values["kernel"], "6.1.1-1"
        values["meta_image"] = "kmod"
    values["meta_kernel"], values["meta_version"] = kernel, version


def _package(
    repository: str, recipe: dict[str, Any], name: str, body: dict[str, Any], common: _Values
) -> Package:
    own = {key: str(value).format_map(common) for key, value in body.get("values", {}).items()}
    values = _Values({**common, **own})
    version = body.get("version", recipe["version"])
    values["version"] = version.format_map(values)
    values["name"] = name.format_map(values)
    relations = {
        relation: tuple(text.format_map(values) for text in body[relation])
        for relation in RELATIONS
        if relation in body
    }
    return Package(
        repository=repository,
        kind=load_repositories()[repository]["kind"],
        name=values["name"],
        version=values["version"],
        summary=body.get("summary", "stand-in for the package of this name").format_map(values),
        architecture=body.get("architecture", "amd64"),
        relations=relations,
        files=_files(body.get("files", []), values),
        scripts=_scripts(body.get("scripts", []), values),
    )


def _files(names: list[str], values: _Values) -> dict[str, dict[str, str]]:
    known, found = _yaml(HERE / "payloads.yml"), {}
    for name in names:
        for path, content in known[name].items():
            if "when" not in content or content["when"] in values:
                found[path.format_map(values)] = {
                    key: _filled(value, values) for key, value in content.items() if key != "when"
                }
    return found


def _scripts(names: list[str], values: _Values) -> dict[str, str]:
    """Several scripts of one moment run after each other."""
    known: dict[str, dict[str, str]] = _yaml(HERE / "scripts.yml")
    found: dict[str, str] = {}
    for name in names:
        for moment, text in known[name].items():
            found[moment] = found.get(moment, "") + _filled(text, values)
    return found


def _filled(text: str, values: _Values) -> str:
    """Shell and settings have braces of their own: here only <name> is a place to fill."""
    for key, value in values.items():
        text = text.replace(f"<{key}>", value)
    return text


_read: dict[Path, Any] = {}


def _yaml(path: Path) -> Any:
    if path not in _read:
        _read[path] = yaml.safe_load(path.read_text())
    return _read[path]
