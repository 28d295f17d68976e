"""What a run with --diff shows: every file that changes, as text."""

import difflib
import shlex
from collections.abc import Sequence

from pyinfra import host, logger

from ollama_fleet.host.answers import HostAnswers
from ollama_fleet.templating import HostFile


def show_files(write: Sequence[HostFile], delete: Sequence[str] = ()) -> None:
    """Files that will be written and deleted, against what they are. Only with --diff are the old texts
    fetched."""
    if not host.state.config.DIFF:
        return
    paths = [*(file.path for file in write), *delete]
    texts = {path: f"cat {shlex.quote(path)} 2>/dev/null; true" for path in paths}
    old = host.get_fact(HostAnswers, questions=texts)
    new = {file.path: file.text for file in write}
    for path in paths:
        before = old[path].text.splitlines() if path in old else []
        lines = difflib.unified_diff(
            before, new.get(path, "").splitlines(), f"{path} (is)", f"{path} (will be)", lineterm=""
        )
        for line in lines:
            logger.info(f"{host.print_prefix}{line}")
