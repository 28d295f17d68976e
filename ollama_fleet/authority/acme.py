"""A gateway's certificate by ACME: certbot gets and renews it, and nginx shows its challenges.

Pure: what is asked, whether all is as it should be, and the shell that makes it so.
"""

import hashlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from ollama_fleet.authority.leaf import names_of, plain
from ollama_fleet.authority.places import GROUP, gateway_places
from ollama_fleet.authority.state import UNTOLD, Found, questions, read_found
from ollama_fleet.gateway.packages import CERTBOT
from ollama_fleet.gateway.places import (
    ACME_HOOK,
    ACME_NAME,
    ACME_RENEWAL,
    ACME_ROOT,
    GATEWAY_TLS,
    GATEWAY_UNIT,
)
from ollama_fleet.packaging import install_packages
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.questions import Answers
from ollama_fleet.services.packages import missing_question, read_missing
from ollama_fleet.templating import MARKER, HostFile, render

LETSENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LIVE = f"/etc/letsencrypt/live/{ACME_NAME}"
# Of the distributions' packages.
TIMERS = "certbot.timer certbot-renew.timer"


@dataclass(frozen=True)
class AcmeState:
    """certbot on a gateway's machine: what its own file says of our certificate ("" without one), whether
    the gateway has that very certificate, and whether a timer renews it."""

    packager: str
    has_certbot: bool
    renewal: str
    hook: str
    is_placed: bool
    is_renewed: bool
    found: Found | None


def hook_file() -> HostFile:
    """What certbot runs when it has a new certificate."""
    text = render(
        "gateway/acme-deploy.sh.j2",
        marker=MARKER,
        name=ACME_NAME,
        folder=GATEWAY_TLS,
        group=GROUP,
        unit=GATEWAY_UNIT,
        untold=UNTOLD,
    )
    return HostFile(ACME_HOOK, text, mode="0755")


def acme_questions(plan: GatewayPlan) -> dict[str, str]:
    """What to ask a gateway's machine about certbot; little where it is not wanted."""
    ours = {"acme.renewal": f"cat {ACME_RENEWAL} 2>/dev/null; true"}
    if plan.tls.source != "acme":
        return ours
    return {
        **ours,
        "acme.packages": missing_question(CERTBOT),
        "acme.hook": f"sha256sum <{ACME_HOOK} 2>/dev/null; true",
        "acme.placed": f"cmp -s {LIVE}/fullchain.pem {GATEWAY_TLS}/server.pem",
        "acme.timer": f"systemctl is-active {TIMERS}; true",
        **questions(gateway_places(plan)[:1]),
    }


def read_acme(plan: GatewayPlan, answers: Answers) -> AcmeState:
    """Answers to `acme_questions`."""
    renewal = answers["acme.renewal"].text
    if plan.tls.source != "acme":
        return AcmeState("", False, renewal, "", False, False, None)
    packager, missing = read_missing(answers, "acme.packages")
    return AcmeState(
        packager=packager,
        has_certbot=not missing,
        renewal=renewal,
        hook=answers["acme.hook"].text.partition(" ")[0],
        is_placed=answers["acme.placed"].code == 0,
        is_renewed="active" in answers["acme.timer"].lines,
        found=read_found(gateway_places(plan)[0], answers),
    )


def acme_steps(plan: GatewayPlan, state: AcmeState) -> list[str | HostFile]:
    """What makes it so that certbot has a certificate for the gateway and goes on renewing it; or, where
    the gateway has another one, that it does not come in its way. Empty when all is well."""
    if plan.tls.source != "acme":
        return [_FORGET] if state.renewal else []
    if not list(reasons(plan, state)):
        return []
    hook = hook_file()
    return [
        *([] if state.has_certbot else install_packages(state.packager, ["certbot"])),
        hook,
        _GET.format(arguments=shlex.join(_arguments(plan, state)), names=" ".join(plan.names)),
    ]


def reasons(plan: GatewayPlan, state: AcmeState) -> Iterator[str]:
    """What is not as it should be."""
    if not state.has_certbot:
        yield "certbot is not installed"
    if _server(state) != (plan.tls.directory or LETSENCRYPT):
        yield "it has no certificate of this authority"
    certificate = state.found.certificate if state.found else None
    if certificate is None or names_of(certificate) != set(map(plain, plan.names)):
        yield "the gateway's is for other names"
    if not state.is_placed:
        yield "the gateway has another one than certbot"
    if state.hook != hashlib.sha256(hook_file().text.encode()).hexdigest():
        yield "what puts it in its place is missing"
    if not state.is_renewed:
        yield "no timer renews it"


def _server(state: AcmeState) -> str:
    found = re.search(r"^server = (\S+)$", state.renewal, re.M)
    return found[1] if found else ""


def _arguments(plan: GatewayPlan, state: AcmeState) -> list[str]:
    tls, server = plan.tls, _server(state)
    wanted = tls.directory or LETSENCRYPT
    contact = ["--email", tls.email] if tls.email else ["--register-unsafely-without-email"]
    # What another authority gave is not kept until it ends.
    anew = ["--force-renewal"] if server and server != wanted else ["--keep-until-expiring"]
    names = [word for name in plan.names for word in ("-d", name)]
    return [
        *("certbot", "certonly", "--non-interactive", "--agree-tos", *contact),
        *("--server", wanted, "--webroot", "--webroot-path", ACME_ROOT, "--cert-name", ACME_NAME),
        *("--renew-with-new-domains", *anew, "--deploy-hook", ACME_HOOK, *names),
    ]


_GET = f"""
mkdir -p {ACME_ROOT}
chmod 0755 {ACME_ROOT}
said=$(mktemp)
say 'certificate by ACME for {{names}}'
{{arguments}} >"$said" 2>&1 || fail "certbot got no certificate for {{names}}, and the gateway goes on \\
with the one that it has: $(tail -n 12 "$said")
see that these names lead to this machine, that port 80 is open, and /var/log/letsencrypt/letsencrypt.log"
rm -f "$said"
cmp -s {LIVE}/fullchain.pem {GATEWAY_TLS}/server.pem || RENEWED_LINEAGE={LIVE} {ACME_HOOK}
for timer in {TIMERS}; do
    [ ! -f /lib/systemd/system/$timer ] && [ ! -f /usr/lib/systemd/system/$timer ] ||
        systemctl enable -q --now $timer
done
"""
_FORGET = f"""say 'certbot does not get a certificate for the gateway any more'
rm -f {ACME_HOOK}
certbot delete --non-interactive --quiet --cert-name {ACME_NAME} || fail 'certbot does not forget {ACME_NAME}'
"""
