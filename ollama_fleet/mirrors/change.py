"""What keeps a mirror from its machine, and the shell that puts its configuration into force.

Other sites of the same nginx go on: it is reloaded, never restarted, and a configuration that it does
not take is taken back.
"""

import hashlib
import re
from urllib.parse import urlsplit

from ollama_fleet.mirrors.nginx import (
    CONFIGURATION,
    STATUS_PATH,
    configuration_digest,
    mirror_file,
)
from ollama_fleet.mirrors.state import MirrorState
from ollama_fleet.packaging import install_packages
from ollama_fleet.planner.mirror import MirrorPlan
from ollama_fleet.templating import HostFile

# Shell, or a file to write.
Step = str | HostFile
# Configure arguments of an nginx that can be a mirror, and what they are for.
MODULES = {
    "http_slice_module": "big files are cached in slices",
    "http_ssl_module": "the upstreams speak TLS",
}


def problems(mirror: MirrorPlan, state: MirrorState) -> list[str]:
    """Everything that keeps `mirror` from this machine, each with what to do; empty when all is well."""
    found = []
    if not state.is_root:
        found.append("not root on this machine; log in as root or set `ssh: {sudo: true}`")
    if not state.has_systemd:
        found.append("systemd is not running; a mirror's nginx is a systemd unit")
    if state.missing_packages and state.packager is None:
        missing = ", ".join(state.missing_packages)
        found.append(f"{missing} missing and no apt or dnf known; install them")
    if state.nginx is not None:
        found += [unsuitable(name) for name in MODULES if f"--with-{name}" not in state.nginx]
    if mirror.folder and not state.has_folder:
        found.append(
            f"there is no directory {mirror.folder}; copy the bundle there, or drop `folder:`"
        )
    if not mirror.offline:
        found += _cannot_fetch(mirror, state)
    return found


def unsuitable(module: str) -> str:
    """Why an nginx without this module cannot be a mirror."""
    return (
        f"this nginx is built without {module} (see `nginx -V`), and {MODULES[module]}; install the "
        "distribution's package, or nginx.org's"
    )


def _cannot_fetch(mirror: MirrorPlan, state: MirrorState) -> list[str]:
    found = []
    named = sorted(
        host
        for host in {urlsplit(url).hostname or "" for url in vars(mirror.upstreams).values()}
        if not re.fullmatch(r"[0-9.]+|.*:.*", host)
    )
    if named and not state.machine.resolvers:
        found.append(
            f"no nameserver in /etc/resolv.conf, and the mirror fetches from {', '.join(named)}; name "
            "one there, or give `upstreams:` by address"
        )
    if state.selinux_refuses:
        found.append(
            "SELinux keeps nginx from fetching; run `setsebool -P httpd_can_network_connect on`, and "
            f"`semanage port -a -t http_port_t -p tcp {mirror.port}-{mirror.port + 1}`, then deploy again"
        )
    return found


def change_steps(mirror: MirrorPlan, state: MirrorState) -> list[Step]:
    """What brings the mirror into force; empty when it is."""
    file = mirror_file(mirror, state.machine)
    digest = configuration_digest(mirror, state.machine)
    runs = state.is_active and state.is_enabled and state.in_force == digest
    if (
        state.file == _as_found(file)
        and runs
        and not state.missing_packages
        and state.cache_mib is not None
    ):
        return []
    prepare = _PREPARE.format(
        folder=mirror.cache_path.rpartition("/")[0],
        configuration=CONFIGURATION,
        status=STATUS_PATH,
        modules="\n".join(
            f"nginx -V 2>&1 | grep -q -e --with-{name} || fail '{unsuitable(name)}'"
            for name in MODULES
        ),
    )
    install = install_packages(state.packager, state.missing_packages)
    return [*install, prepare, file, _APPLY]


def _as_found(file: HostFile) -> tuple[str, str]:
    return file.mode.lstrip("0"), hashlib.sha256(file.text.encode()).hexdigest()


_PREPARE = """
conf={configuration}
{modules}
mkdir -p {folder} || fail 'cannot write to {folder} (is the disk full?)'
kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT
[ ! -f $conf ] || cp -p $conf "$kept/old"
in_force() {{ # in_force FILE: until the running nginx has this very configuration
    where=$(sed -n 's/^ *listen \\([^;]*\\);/\\1/p' "$1" | head -n 1)
    case $where in *:*) ;; *) where=127.0.0.1:$where ;; esac
    digest=$(sed -n "s/^ *return 200 '\\([0-9a-f]*\\)';/\\1/p" "$1")
    tries=0
    until [ "$(curl --noproxy '*' -fsS --max-time 5 "http://$where{status}" 2>/dev/null)" = "$digest" ]; do
        tries=$((tries + 1))
        [ $tries -lt 25 ] || return 1
        sleep 0.2
    done
}}
take_back() {{ # take_back WHY: the file as it was before, and in force again
    if [ -f "$kept/old" ]; then cp -p "$kept/old" $conf; else rm -f $conf; fi
    nginx -t -q 2>"$kept/said" || fail "nginx does not take its configuration without the mirror's either:
$(cat "$kept/said")"
    ! systemctl is-active -q nginx || systemctl reload nginx
    [ ! -f $conf ] || in_force $conf || say "and the mirror as it was does not answer either"
    fail "$1; the configuration is as it was"
}}
"""
_APPLY = """
nginx -t -q 2>"$kept/said" || take_back "nginx does not take the mirror's configuration:
$(cat "$kept/said")"
nginx -T 2>/dev/null | grep -qF "# configuration file $conf:" ||
    take_back "/etc/nginx/nginx.conf does not include ${conf%/*}/*.conf; add that to its http block"
systemctl enable -q nginx
if systemctl is-active -q nginx; then
    systemctl reload nginx
else
    systemctl start nginx || take_back "nginx does not start: $(journalctl -u nginx -n 5 -o cat)"
fi
# An address that overlaps one that it has can only be taken when that one was let go.
in_force $conf || {
    mv "$conf" "$kept/new"
    systemctl reload nginx
    sleep 1
    mv "$kept/new" "$conf"
    systemctl reload nginx
    in_force $conf
} || take_back "nginx runs, but not with the mirror's configuration: $(tail -qn 3 /var/log/nginx/error.log)"
say 'the mirror serves'
"""
