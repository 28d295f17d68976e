"""A plan kept beside its inventory: later plans and deploys move nobody who still fits."""

from pathlib import Path

import pytest
import yaml

from ollama_fleet.inventory import load
from tests.unit.fleet_cli import fleet

FIRST, SECOND = ({"name": name, "model": "qwen3:8b"} for name in ("first", "second"))


def write(folder: Path, *wishes: dict) -> Path:
    host = {"gpus": [{"model": "RTX 3090", "count": 2}], "wishes": list(wishes)}
    path = folder / "prod.yml"
    path.write_text(yaml.safe_dump({"version": 1, "hosts": {"a": host}}))
    path.with_suffix(".py").write_text("")
    return path


def gpus(path: Path) -> dict[str, tuple]:
    """Slice to GPUs, as a deploy would have it."""
    ((_, data),) = load(str(path.with_suffix(".py")))
    return {item.name: item.gpus for item in data["plan"].slices}


def test_a_removed_wish_moves_its_neighbour_only_where_no_plan_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path, FIRST, SECOND)
    before = gpus(path)
    write(tmp_path, SECOND)
    assert gpus(path)["second"] != before["second"]

    write(tmp_path, FIRST, SECOND)
    fleet("plan", path, "--keep")
    write(tmp_path, SECOND)
    assert gpus(path)["second"] == before["second"]


def test_a_refused_plan_is_not_kept(tmp_path: Path) -> None:
    path = write(tmp_path, {"name": "big", "model": "deepseek-r1:671b"})
    fleet("plan", path, "--keep", code=3)
    assert not (tmp_path / "prod.plan.json").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 3}', '{"a": [{"name": 1}]}'])
def test_something_else_in_its_place_is_said(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, FIRST)
    (tmp_path / "prod.plan.json").write_text(text)
    done = fleet("plan", path, code=2)
    assert "is no plan that `fleet plan --keep` wrote" in done.output


def test_a_kept_slice_gives_way_to_one_that_a_person_wrote(tmp_path: Path) -> None:
    """Two units of one name, or two servers on one port, must never be planned."""
    path = write(tmp_path, FIRST)
    fleet("plan", path, "--keep")
    host = {
        "gpus": [{"model": "RTX 3090", "count": 2}],
        "slices": [{"name": "first", "gpus": [1], "port": 11434}],
        "wishes": [FIRST],
    }
    path.write_text(yaml.safe_dump({"version": 1, "hosts": {"a": host}}))
    ((_, data),) = load(str(path.with_suffix(".py")))
    names, ports = zip(*((item.name, item.port) for item in data["plan"].slices), strict=True)
    assert len(set(names)) == len(set(ports)) == 2
