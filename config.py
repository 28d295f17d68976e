"""pyinfra's settings for this project, read before the inventory."""

from pyinfra import config

from ollama_fleet.host.terminal import guard_terminal

config.REQUIRE_PYINFRA_VERSION = "~=3.10.0"
config.CONNECT_TIMEOUT = 10

guard_terminal()
