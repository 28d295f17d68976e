"""What pyinfra's look at its own call stack costs, which it takes for the order of operations.

Python's `inspect` looks for the module of every frame. A deploy file is none, and is searched for among
all modules of the process anew: for 22 operations that takes longer than all the rest of preparing a host.
"""

import sys
from functools import cache
from pathlib import Path
from types import ModuleType


@cache
def show_as_module(deploy_file: str | None) -> None:
    """Let `inspect` find this file at once; under a name that nobody can import."""
    if deploy_file:
        module = ModuleType(f"deploy file {deploy_file}")
        module.__file__ = str(Path(deploy_file).absolute())
        sys.modules[module.__name__] = module
