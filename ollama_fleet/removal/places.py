"""Where everything of ours lies on a host, by name. Patterns are the shell's."""

from ollama_fleet.claim import RUN_DIR
from ollama_fleet.convergence import MANIFEST
from ollama_fleet.gateway.places import (
    ACME_DIR,
    ADDRESS_RUN_DIR,
    DRAINED_LONG,
    DRAINED_NOW,
    GATEWAY_TLS,
    HOP_TLS,
    LOG_DIR,
)
from ollama_fleet.gateway.places import RUN_DIR as GATEWAY_RUN_DIR
from ollama_fleet.metrics.places import DOOR_RUN_DIR, METRICS_DIR
from ollama_fleet.metrics.places import RUN_DIR as METRICS_RUN_DIR
from ollama_fleet.metrics.places import TLS as METRICS_TLS
from ollama_fleet.mig.layout import DROP_IN, DROP_INS
from ollama_fleet.monitor import places as monitor
from ollama_fleet.planner.plan import CUDA_CACHE_DIR, HOME_DIR, PREFIX, STATE_DIR
from ollama_fleet.selfcheck.places import KEPT_DIR
from ollama_fleet.selfcheck.places import RUN_DIR as SELFCHECK_RUN_DIR
from ollama_fleet.templating import UNIT_DIR
from ollama_fleet.watching.places import HEALTH_DIR, WATCHDOG_RUN_DIR, WATCHDOG_STATE

__all__ = ["MANIFEST", "PREFIX", "STATE_DIR", "UNIT_DIR"]

SETTINGS_DIR = "/etc/ollama"
# Our units have these kinds.
KINDS = ("service", "target", "timer", "path", "socket", "slice", "mount")
# Places of which only what carries our marker is ours: names there are anybody's.
MARKED = (
    *(f"{UNIT_DIR}/ollama*.{kind}" for kind in KINDS),
    f"{UNIT_DIR}/ollama*.d/*",
    "/etc/sysusers.d/ollama*",
    "/etc/tmpfiles.d/ollama*",
    f"{PREFIX}/libexec/*",
    f"{SETTINGS_DIR}/*",
    f"{SETTINGS_DIR}/gateway/*",
    f"{SETTINGS_DIR}/hop/*",
    f"{monitor.SETTINGS}/*",
    f"{monitor.RULES}/*",
    f"{SETTINGS_DIR}/monitoring/*",
    "/etc/logrotate.d/ollama*",
)
# The same where other people's programs lie: only small files are read.
COMMANDS = ("/usr/local/bin", "/usr/local/sbin", "/etc/profile.d")
# What is staged beside its target, and what a killed change of the GPUs kept.
STAGED = (
    *(f"{folder}/ollama*.fleet-new" for folder in (UNIT_DIR, f"{UNIT_DIR}/ollama*.d")),
    *(f"{folder}/*.fleet-new" for folder in (*COMMANDS, f"{PREFIX}/libexec", SETTINGS_DIR)),
    "/etc/sysusers.d/ollama*.fleet-new",
    "/etc/tmpfiles.d/ollama*.fleet-new",
    f"{SETTINGS_DIR}/*.previous",
    f"{MANIFEST}.fleet-new",
    # Written by the host's own script, for slices on MIG instances.
    f"{DROP_INS}/ollama-*.service.d/{DROP_IN}",
)
# Originals that our files have replaced; each goes back to its place.
ORIGINALS = (
    *(f"{pattern}.before-fleet" for pattern in MARKED),
    *(f"{folder}/*.before-fleet" for folder in COMMANDS),
)
# Folders that a deploy makes; they go when nothing is left in them.
FOLDERS = (
    f"{UNIT_DIR}/ollama*.d",
    f"{UNIT_DIR}/ollama*.wants",
    f"{DROP_INS}/ollama-*.service.d",
    f"{PREFIX}/libexec",
    f"{PREFIX}/download",
    PREFIX,
    f"{SETTINGS_DIR}/gateway",
    f"{SETTINGS_DIR}/hop",
    monitor.RULES,
    monitor.SETTINGS,
    f"{SETTINGS_DIR}/monitoring",
    SETTINGS_DIR,
)
# Below them everything that is left in the end is somebody else's.
OURS_ALONE = (SETTINGS_DIR, PREFIX, STATE_DIR)
# Whatever is in there was written by our servers, or is a certificate or mark of ours.
STATE = (
    *(HOME_DIR, CUDA_CACHE_DIR, DRAINED_LONG, KEPT_DIR, WATCHDOG_STATE),
    *(GATEWAY_TLS, HOP_TLS, LOG_DIR, ACME_DIR, METRICS_TLS, METRICS_DIR),
    *(monitor.TLS, monitor.DATA),
)
# Says whose the store is that stayed: without the manifest nothing else would.
STORE_NOTE = f"{STATE_DIR}/kept-by-ollama-fleet"
# Downloads that go on by themselves.
FETCHING = "ollama-fetch-*.service"
# What runs keep below /run, and downloads and the weekly look at the store, which say how far they are.
RUN_STATE = (
    *(RUN_DIR, "/run/ollama-fetch-*", "/run/ollama-scrub", SELFCHECK_RUN_DIR),
    *(DRAINED_NOW, GATEWAY_RUN_DIR, ADDRESS_RUN_DIR, HEALTH_DIR, WATCHDOG_RUN_DIR),
    *(METRICS_RUN_DIR, DOOR_RUN_DIR, monitor.DOOR_RUN_DIR),
)
# Says where the store lies, which the inventory may have changed since.
TMPFILES = "/etc/tmpfiles.d/ollama.conf"
# Without these nobody would know whose account and store are; they go when those have gone.
ACCOUNT_FILES = ("/etc/sysusers.d/ollama.conf", TMPFILES)
