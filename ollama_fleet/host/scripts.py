"""Shell that changes a host: its prelude, files on stdin, and how pyinfra runs it and fails.

The building of scripts is pure text; only `Script` and `fail_host` know pyinfra.
"""

import base64
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from pyinfra.api import Host, State, StringCommand

from ollama_fleet.claim import TAKE_CLAIM
from ollama_fleet.host.claims import introduction
from ollama_fleet.host.memory import forget
from ollama_fleet.host.results import note_words
from ollama_fleet.templating import MARKER, HostFile

# Lines of a failed script that say why, at the end of the run.
LAST_WORDS = 2
NOTHING: Mapping[str, str] = {}

# The whole script is one function, so that the shell has read all of it before it runs any: nothing
# in it can eat the rest as its input, and a lost connection cannot cut it in half. HUP and PIPE are
# ignored for the same reason.
_PRELUDE = f"""
set -eu
umask 022
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap '' HUP PIPE
say() {{ echo "$*" 2>/dev/null || :; }}
fail() {{ echo "$*" >&2; exit 1; }}
put() {{ # put PATH MODE, content base64-coded on stdin: staged beside the target, then moved
    mkdir -p "${{1%/*}}"
    [ ! -d "$1" ] || fail "$1 is a directory; move it away and run again"
    if [ -f "$1" ] && [ ! -L "$1" ] && ! grep -qsF -e '{MARKER}' -e '  /etc/tmpfiles.d/ollama.conf' "$1"; then
        cp -p --remove-destination "$1" "$1.before-fleet"
    fi
    # A link that somebody has put there (our manifest lies in a folder of the service user's) leads nowhere.
    rm -f "$1.fleet-new"
    (set -C && base64 -d >"$1.fleet-new") && chmod "$2" "$1.fleet-new" && mv -fT "$1.fleet-new" "$1" || {{
        rm -f "$1.fleet-new"
        fail "cannot write $1 (is the disk full, or the file immutable?)"
    }}
}}
{TAKE_CLAIM}"""


def change_script(steps: Sequence[str], environment: Mapping[str, str] = NOTHING) -> str:
    """One script of `steps` that claims the host, holds its lock and stops at the first failure.

    `environment`: variables that everything in it sees, such as a proxy's address.
    """
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    body = "\n".join([*exports, *steps])
    return f"{_PRELUDE}\nmain() {{\n{body}\n}}\nmain </dev/null\n"


def put_file(file: HostFile) -> str:
    """A step that writes `file` atomically, with its final mode from the start."""
    content = base64.b64encode(file.text.encode()).decode()
    return f"echo {content} | put {shlex.quote(file.path)} {file.mode}"


class Script(StringCommand):
    """A shell script on the remote shell's standard input, whose output is shown as it comes. It says
    which run it is of.

    What the host answered before it is forgotten.

    On stdin there is no limit of length, and nothing shows in a process list or in -vv.
    """

    def __init__(self, text: str) -> None:
        super().__init__("sh", "-s")
        self.text = text

    def execute(self, state: State, host: Host, connector_arguments: Any) -> Any:
        connector_arguments["_stdin"] = f"{introduction(host)}{self.text}"
        forget(host)
        good, output = host.run_shell_command(
            self, print_output=True, print_input=state.print_input, **connector_arguments
        )
        if not good:
            note_words(host.name, (output.stderr_lines or output.stdout_lines)[-LAST_WORDS:])
        return good, output


def fail_host(state: State, host: Host, messages: Sequence[str]) -> bool:
    """Print why and return False: pyinfra fails this host and goes on with the others."""
    for message in messages:
        host.log_styled(message, fg="red")
    note_words(host.name, messages)
    return False
