"""Packages of the distribution: shell that installs them, without starting what they bring.

Pure text for the steps of a change script (it uses `say` and `fail` of its prelude).
"""

from collections.abc import Sequence

from ollama_fleet.catalogue.exporters import started_services

# Package to the services that it would start at once, with its own configuration.
SERVICES = {
    "nginx": ("nginx",),
    "haproxy": ("haproxy",),
    "keepalived": ("keepalived",),
    "prometheus": ("prometheus",),
    **started_services(),
}


def install_packages(packager: str | None, packages: Sequence[str]) -> list[str]:
    """Steps that install `packages` by apt or dnf; none where there is nothing to install."""
    if not packages:
        return []
    services = [unit for name in packages for unit in SERVICES.get(name, ())]
    text = _PACKAGES[packager or "apt"]
    return [text.format(packages=" ".join(packages), services=" ".join(services))]


# Masked, so that a new nginx does not start with its welcome page on port 80, which may be taken; what
# the package manager says of that is shown only when it fails.
_INSTALL = """say 'installing {packages}'
new=
for unit in {services}; do
    systemctl -q cat "$unit" >/dev/null 2>&1 || new="$new $unit"
done
[ -z "$new" ] || systemctl -q mask --runtime $new 2>/dev/null || :
said=$(mktemp)
trap 'rm -f "$said"; [ -z "$new" ] || systemctl -q unmask --runtime $new' EXIT
%s || fail "cannot install {packages}: $(tail -n 5 "$said")"
rm -f "$said"
[ -z "$new" ] || {{
    systemctl -q unmask --runtime $new
    # Whoever needs it enables it.
    systemctl -q disable $new 2>/dev/null || :
    case "$new " in *" nginx "*) rm -f /etc/nginx/sites-enabled/default ;; esac
}}"""
_PACKAGES = {
    "apt": _INSTALL
    % """apt-get -qq update -o Acquire::Retries=3 ||
    say "apt could not read all of the machine's lists; going on with those that it could"
apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \\
    --no-install-recommends install {packages} >"$said" 2>&1""",
    "dnf": _INSTALL % """dnf -q -y install {packages} >"$said" 2>&1""",
}
