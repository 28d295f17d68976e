"""pyinfra's settings for this project, read before the inventory."""

import sys

from pyinfra import config

# pyinfra's command line keeps Python from writing what it compiled, so as to leave none of deploy.py
# about; 300 modules of this project would be compiled in each run.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

from ollama_fleet.host.closing import watch_run  # noqa: E402
from ollama_fleet.host.terminal import guard_terminal  # noqa: E402
from ollama_fleet.host.transport import CONNECT_TIMEOUT_S  # noqa: E402

config.REQUIRE_PYINFRA_VERSION = "~=3.10.0"
config.CONNECT_TIMEOUT = CONNECT_TIMEOUT_S

guard_terminal()
watch_run()
