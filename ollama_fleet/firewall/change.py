"""What keeps a firewall from a machine, and the shell that brings it into force.

Nobody is locked out: new rules are tried first. A timer of systemd's brings the old ones back by itself,
whatever becomes of the run, unless the run has come through the new ones with a connection of its own
and keeps them. What is loaded at boot changes only then.
"""

import ipaddress
from collections.abc import Iterator

from ollama_fleet.firewall.rules import (
    IN_FORCE_FILE,
    RULES_FILE,
    TABLE,
    UNIT,
    UNIT_FILE,
    numbers,
    unit_file,
)
from ollama_fleet.firewall.state import TRIAL_DIR, FirewallState, digest
from ollama_fleet.packaging import install_packages
from ollama_fleet.planner.firewall import ANYWHERE, FirewallPlan, Opening
from ollama_fleet.templating import MARKER, HostFile

# Shell, or a file to write.
Step = str | HostFile
# After this time untried rules are gone. Longer than a connection may take to fail.
TRIAL_S = 60
UNDO = "ollama-firewall-undo"
_PACKAGE = "nftables"


def problems(plan: FirewallPlan, state: FirewallState) -> list[str]:
    """Everything that keeps the firewall from this machine, each with what to do; empty when all is well."""
    if plan.mode == "off":
        return []
    found = []
    if not state.is_root:
        found.append("not root on this machine; log in as root or set `ssh: {sudo: true}`")
    if not state.has_nft and state.packager is None:
        found.append(f"nft missing and no apt or dnf known; install {_PACKAGE}")
    unknown = [name for name in plan.names if name not in state.found.addresses]
    if unknown:
        found.append(
            f"this host cannot resolve {', '.join(unknown)}, and the firewall lets it in by address; give "
            "its `address:` as a number, or say `firewall: {mode: off}`"
        )
    if state.client and plan.ssh_from != ANYWHERE and not _is_among(state.client, plan.ssh_from):
        found.append(
            f"this run comes from {state.client}, which `ssh_from:` ({', '.join(plan.ssh_from)}) would lock "
            "out; add its network there"
        )
    return found


def _is_among(address: str, networks: tuple[str, ...]) -> bool:
    own = ipaddress.ip_address(address)
    return any(own in ipaddress.ip_network(one) for one in networks)


def advice(plan: FirewallPlan, state: FirewallState) -> Iterator[str]:
    """What a person should know though the deploy goes on: other firewalls that keep our ports closed."""
    for item in plan.openings:
        for name, said in state.others.items():
            if str(item.port) not in said:
                yield (
                    f"{name} is on and says nothing of port {item.port}, which the fleet needs: what it "
                    f"drops stays dropped. Open it there: {_command(name, plan, item, state)}"
                )


def _command(name: str, plan: FirewallPlan, item: Opening, state: FirewallState) -> str:
    source = next(iter(numbers(item.sources, state.found.addresses)), None)
    if name == "ufw":
        return f"`ufw allow proto {item.protocol} from {source or 'any'} to any port {item.port}`"
    if source is None:
        port = f"--add-port={item.port}/{item.protocol}"
    else:
        family = "ipv6" if ":" in source else "ipv4"
        rule = f"rule family={family} source address={source} port port={item.port}"
        port = f"--add-rich-rule='{rule} protocol={item.protocol} accept'"
    return f"`firewall-cmd --permanent {port} && firewall-cmd --reload`"


def closes(plan: FirewallPlan, state: FirewallState) -> list[str]:
    """Ports that others reach by TCP today and no more when it is in force."""
    if plan.mode != "closed":
        return []
    opened = {item.port for item in plan.openings if item.protocol == "tcp"}
    opened.update(state.found.ssh_ports)
    return [f"{port} ({name})" for port, name in state.listening.items() if port not in opened]


def try_steps(rules: HostFile, state: FirewallState) -> list[Step]:
    """The rules in force for a while; the old ones come back unless `KEEP` says otherwise."""
    install = install_packages(state.packager, [] if state.has_nft else [_PACKAGE])
    trial = HostFile(f"{TRIAL_DIR}/new.nft", rules.text, mode="0600")
    back = HostFile(f"{TRIAL_DIR}/undo", _UNDO, mode="0700")
    return [*install, _PREPARE, trial, back, _TRY]


def keep_steps(rules: HostFile) -> list[Step]:
    """What was tried stays, over the next boot as well."""
    return [_KEEP, rules, unit_file(), _KEPT.format(digest=digest(rules), **_NAMES)]


_NAMES = {
    "in_force": IN_FORCE_FILE,
    "marker": MARKER,
    "table": TABLE,
    "trial": TRIAL_DIR,
    "unit": UNIT,
}
# Whoever renames the mark first decides: the timer or the run.
_UNDO = f"""PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd {TRIAL_DIR} && mv mark undone 2>/dev/null || exit 0
nft -f old.nft || nft delete table inet {TABLE}
rm -rf {TRIAL_DIR}
"""
_PREPARE = f"""
if [ -e {TRIAL_DIR} ]; then
    say 'taking back the rules that a run has left in trial'
    sh {TRIAL_DIR}/undo || :
    systemctl stop {UNDO}.timer 2>/dev/null || :
    rm -rf {TRIAL_DIR}
fi
mkdir -p -m 700 {TRIAL_DIR}
trap 'rm -rf {TRIAL_DIR}' EXIT
"""
# Its clock starts before the rules are in force. Without AccuracySec it may be a minute late.
_TRY = f"""
said=$(nft -c -f {TRIAL_DIR}/new.nft 2>&1) || fail "nft does not take the rules; nothing is changed: $said"
{{
    echo 'table inet {TABLE}'
    echo 'delete table inet {TABLE}'
    nft list table inet {TABLE} 2>/dev/null || :
}} >{TRIAL_DIR}/old.nft
touch {TRIAL_DIR}/mark
systemd-run --quiet --collect --unit={UNDO} --on-active={TRIAL_S} --timer-property=AccuracySec=1s \\
    /bin/sh {TRIAL_DIR}/undo || fail 'systemd does not take the timer that would bring the old rules back'
trap - EXIT
nft -f {TRIAL_DIR}/new.nft || {{
    sh {TRIAL_DIR}/undo
    systemctl stop {UNDO}.timer || :
    fail 'nft does not load the rules; the old ones are back'
}}
say 'trying the new rules for {TRIAL_S} s'
"""
_KEEP = f"""
mv {TRIAL_DIR}/mark {TRIAL_DIR}/kept 2>/dev/null ||
    fail 'the trial of {TRIAL_S} s was over before this run kept the rules; the old ones are back, run again'
systemctl stop {UNDO}.timer 2>/dev/null || :
"""
_KEPT = """
systemctl daemon-reload
systemctl enable -q {unit}
systemctl reload-or-restart {unit} ||
    fail "the rules are in force, but {unit} does not load them: $(journalctl -u {unit} -n 5 -o cat)"
printf '# %s\\n%s %s\\n' '{marker}' {digest} \\
    "$(table=$(nft -s list table inet {table}) && echo "$table" | sha256sum | cut -c -64)" >{in_force}
rm -rf {trial}
say 'the firewall is in force'
"""
DROP_TABLE = f"""
systemctl stop {UNDO}.timer 2>/dev/null || :
nft delete table inet {TABLE} 2>/dev/null || :
rm -rf {TRIAL_DIR}
"""
REMOVE = f"""
systemctl disable -q --now {UNIT} 2>/dev/null || :
{DROP_TABLE}
rm -f {RULES_FILE} {UNIT_FILE} {IN_FORCE_FILE}
systemctl daemon-reload
! nft list table inet {TABLE} >/dev/null 2>&1 || fail 'nft does not let go of the table {TABLE}'
say 'the firewall is gone'
"""
