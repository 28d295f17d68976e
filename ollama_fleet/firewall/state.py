"""What a machine is asked about its firewall, and the answers as one value."""

import hashlib
import re
import shlex
from dataclasses import dataclass, field

from ollama_fleet.catalogue.distribution import packager_of
from ollama_fleet.claim import RUN_DIR
from ollama_fleet.firewall.rules import (
    IN_FORCE_FILE,
    RULES_FILE,
    TABLE,
    UNIT,
    UNIT_FILE,
    Found,
    unit_file,
)
from ollama_fleet.planner.firewall import FirewallPlan
from ollama_fleet.questions import Answers
from ollama_fleet.templating import HostFile

# What is under way: a ruleset that is tried, and the way back.
TRIAL_DIR = f"{RUN_DIR}/firewall"

# Its own sockets (sshd's parent is PID 1; those of sessions are forwarded ports), what it is told, those that
# systemd holds for it, and the port of the connection that asks, which sudo hides from its children.
_SSH = """pid=$$
while [ "${pid:-0}" -gt 1 ]; do
    said=$(tr '\\0' '\\n' 2>/dev/null <"/proc/$pid/environ" | sed -n 's/^SSH_CONNECTION=//p' | head -n 1)
    [ -z "$said" ] || { echo "connection $said"; break; }
    pid=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$pid/status" 2>/dev/null)
done
sshd -T 2>/dev/null | sed -n 's/^port \\([0-9]*\\)$/port \\1/p'
ss -Hltnp 2>/dev/null | grep -E '"(sshd|dropbear)"' | while read -r _ _ _ own _ users; do
    pid=${users#*pid=}
    parent=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/${pid%%[!0-9]*}/status" 2>/dev/null)
    case $own in 127.* | '[::1]'*) continue ;; esac
    [ "$parent" != 1 ] || echo "port ${own##*:}"
done
for socket in ssh.socket sshd.socket; do
    ! systemctl is-active -q $socket 2>/dev/null || systemctl show -p Listen --value $socket |
        sed -nE 's/^(.*:)?([0-9]+) \\(Stream\\).*/port \\2/p'
done
true"""
_OTHERS = """if [ -x /usr/sbin/ufw ] && grep -qs '^ENABLED=yes' /etc/ufw/ufw.conf; then
    echo 'ufw is on'
    ufw status
fi
if [ -x /usr/sbin/firewalld ] && systemctl is-active -q firewalld 2>/dev/null; then
    echo 'firewalld is on'
    firewall-cmd --list-all
fi
true"""
_OURS = f"""sum() {{ sha256sum | cut -c -64; }}
command -v nft >/dev/null || echo no-nft
[ -e {RULES_FILE} ] || [ -e {UNIT_FILE} ] || [ -e {TRIAL_DIR} ] || exit 0
for file in {RULES_FILE} {UNIT_FILE}; do
    [ ! -f $file ] || echo "$file $(sum <$file)"
done
[ ! -f {IN_FORCE_FILE} ] || echo "proved $(grep -v '^#' {IN_FORCE_FILE})"
systemctl is-enabled -q {UNIT} 2>/dev/null && echo enabled
systemctl is-active -q {UNIT} 2>/dev/null && echo active
[ ! -e {TRIAL_DIR} ] || echo trial
table=$(nft -s list table inet {TABLE} 2>/dev/null) && echo "table $(echo "$table" | sum)"
true"""


@dataclass(frozen=True)
class FirewallState:
    """A machine as it was found.

    `digests` are of our files by path, `table` that of our table as nft lists it (None: there is none),
    `proved` what it was when the rules were last brought into force. `is_trial`: rules are tried at this
    moment, or were when a run died. `client` is the address from which this run comes, None where it
    comes from none. `listening` maps ports that others reach by TCP to the program. `others` are other
    firewalls that are on, with what they say of themselves.
    """

    is_root: bool
    has_nft: bool
    packager: str | None
    digests: dict[str, str] = field(default_factory=dict)
    table: str | None = None
    proved: str | None = None
    is_enabled: bool = False
    is_active: bool = False
    is_trial: bool = False
    client: str | None = None
    found: Found = field(default_factory=lambda: Found({}, ()))
    listening: dict[int, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    @property
    def is_untouched(self) -> bool:
        """Whether nothing of ours is here."""
        return not (self.digests or self.table or self.is_trial or self.is_enabled)

    def has(self, rules: HostFile) -> bool:
        """Whether these very rules are in force, now and after a boot."""
        files = {file.path: digest(file) for file in (rules, unit_file())}
        runs = self.is_enabled and self.is_active and not self.is_trial
        return (
            runs and self.digests == files and self.table is not None and self._is_as_proved(rules)
        )

    def _is_as_proved(self, rules: HostFile) -> bool:
        return self.proved == f"{digest(rules)} {self.table}"


def digest(file: HostFile) -> str:
    """sha256 of a file's text."""
    return hashlib.sha256(file.text.encode()).hexdigest()


def questions(plan: FirewallPlan) -> dict[str, str]:
    """Everything that a machine is asked; little where it is to have no firewall."""
    asked = {"firewall.user": "id -u", "firewall.ours": _OURS}
    if plan.mode == "off":
        return asked
    names = "\n".join(
        f"getent ahosts {name} | sed 's/ .*//' | sort -u | sed 's/^/'{name}' /'"
        for name in map(shlex.quote, plan.names)
    )
    return {
        **asked,
        "firewall.os": "cat /etc/os-release",
        "firewall.ssh": _SSH,
        "firewall.listening": "ss -Hltnp; true",
        "firewall.others": _OTHERS,
        "firewall.names": names or "true",
    }


def read_state(answers: Answers) -> FirewallState:
    """Answers to `questions`."""
    ours = [line.split(maxsplit=1) for line in answers["firewall.ours"].lines]
    said = {words[0]: words[1] if len(words) > 1 else "" for words in ours}
    rest = {name: answer.text for name, answer in answers.items()}
    ports, client = _ssh(rest.get("firewall.ssh", ""))
    return FirewallState(
        is_root=rest.get("firewall.user", "").strip() == "0",
        has_nft="no-nft" not in said,
        packager=_packager(rest.get("firewall.os", "")),
        digests={path: said[path] for path in (RULES_FILE, UNIT_FILE) if path in said},
        table=said.get("table"),
        proved=said.get("proved"),
        is_enabled="enabled" in said,
        is_active="active" in said,
        is_trial="trial" in said,
        client=client,
        found=Found(_addresses(rest.get("firewall.names", "")), ports),
        listening=_listening(rest.get("firewall.listening", "")),
        others=_others(rest.get("firewall.others", "")),
    )


def _packager(os_release: str) -> str | None:
    found = dict(re.findall(r'^(ID|ID_LIKE)="?([^"\n]*)"?$', os_release, re.M))
    return packager_of(found.get("ID", ""), found.get("ID_LIKE", ""))


def _ssh(text: str) -> tuple[tuple[int, ...], str | None]:
    """The ports on which SSH answers, and where this run comes from."""
    ports = {int(port) for port in re.findall(r"^port (\d+)$", text, re.M)}
    connection = re.search(r"^connection (\S+) \d+ \S+ (\d+)$", text, re.M)
    if connection is None:
        return tuple(sorted(ports)), None
    client = connection.group(1).partition("%")[0].removeprefix("::ffff:")
    return tuple(sorted({*ports, int(connection.group(2))})), client


def _addresses(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, address in re.findall(r"^(\S+) ([0-9A-Fa-f.:]+)$", text, re.M):
        found[name] = (*found.get(name, ()), address)
    return found


def _listening(text: str) -> dict[int, str]:
    """Of `ss -Hltnp`: what is bound to more than loopback."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 4 or re.match(r"127\.|\[::1\]", words[3]):
            continue
        port = words[3].rpartition(":")[2]
        program = re.search(r'\("([^"]*)"', line)
        if port.isdigit():
            found[int(port)] = program.group(1) if program else "?"
    return dict(sorted(found.items()))


def _others(text: str) -> dict[str, str]:
    parts = re.split(r"^(ufw|firewalld) is on$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
