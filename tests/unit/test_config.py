"""pyinfra's settings for this project, as its command line reads them before anything else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What pyinfra's `main` has done by then.
READ = """
import runpy, sys
from pyinfra.api import Config
from pyinfra.context import ctx_config
sys.dont_write_bytecode = True
ctx_config.set(Config())
runpy.run_path("config.py")
print(sys.dont_write_bytecode)
"""


@pytest.mark.parametrize(("asked", "forbidden"), [("", "False"), ("1", "True")])
def test_what_python_compiles_is_kept_for_the_next_run_unless_the_user_forbids_it(
    asked: str, forbidden: str
) -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": asked}
    done = subprocess.run(
        [sys.executable, "-c", READ], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == forbidden, done.stderr
