"""What pyinfra's look at its own call stack may cost."""

import inspect
import sys
from pathlib import Path

from ollama_fleet.host.call_stack import show_as_module


def test_a_deploy_file_is_found_without_a_search_among_all_modules(tmp_path: Path) -> None:
    path = tmp_path / "deploy.py"
    path.write_text("frame = sys._getframe()")
    values = {"sys": sys}
    exec(compile(path.read_text(), path, "exec"), values)
    assert inspect.getmodule(values["frame"]) is None

    show_as_module(str(path))

    found = inspect.getmodule(values["frame"])
    assert found and found.__file__ == str(path)


def test_a_run_without_a_deploy_file_needs_nothing() -> None:
    before = set(sys.modules)
    show_as_module(None)
    assert set(sys.modules) == before
