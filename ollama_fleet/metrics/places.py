"""Where everything of monitoring lies on a machine that shows metrics, by name."""

from ollama_fleet.planner.plan import PREFIX, STATE_DIR
from ollama_fleet.templating import UNIT_DIR

USER = "ollama-metrics"
SYSUSERS = "/etc/sysusers.d/ollama-metrics.conf"

DOOR_UNIT = "ollama-metrics-door.service"
WRITER_UNIT = "ollama-metrics.service"
NODE_UNIT = "ollama-node-exporter.service"
MTAIL_UNIT = "ollama-mtail.service"
NGINX_UNIT = "ollama-nginx-exporter.service"
DCGM_UNIT = "ollama-dcgm-exporter.service"
CERTIFICATES_UNIT = "ollama-certificates.service"
CERTIFICATES_TIMER = "ollama-certificates.timer"
UNITS = (
    *(DOOR_UNIT, WRITER_UNIT, NODE_UNIT, MTAIL_UNIT, NGINX_UNIT, DCGM_UNIT),
    *(CERTIFICATES_UNIT, CERTIFICATES_TIMER),
)

DIR = "/etc/ollama/monitoring"
TLS = f"{DIR}/tls"
DOOR_CONF = f"{DIR}/nginx.conf"
PROGRAM = f"{DIR}/gateway.mtail"
JOB = f"{DIR}/slices"
WRITER_SCRIPT = f"{PREFIX}/libexec/ollama-metrics"
AWK_SCRIPT = f"{WRITER_SCRIPT}.awk"
CERTIFICATES_SCRIPT = f"{PREFIX}/libexec/ollama-certificates"
CERTIFICATES_JOB = f"{DIR}/certificates"

# Of node exporter's textfile collector: one file for each who writes there.
METRICS_DIR = f"{STATE_DIR}/metrics"
METRICS_FILE = f"{METRICS_DIR}/slices.prom"
CERTIFICATES_FILE = f"{METRICS_DIR}/certificates.prom"
RUN_DIR = "/run/ollama-metrics"
DOOR_RUN_DIR = "/run/ollama-metrics-door"
DOOR_SOCKET = f"{DOOR_RUN_DIR}/door.sock"
STATUS_PATH = "/fleet/configuration"

# Of the watchdog: which slices it gave up, and a line `TIME SLICE RUNG` for each repair.
WATCHDOG_DIR = f"{STATE_DIR}/watchdog"

# Files with our marker that monitoring's own step writes and compares.
FILES = (
    *(f"{UNIT_DIR}/{unit}" for unit in UNITS),
    *(DOOR_CONF, PROGRAM, JOB, WRITER_SCRIPT, AWK_SCRIPT, CERTIFICATES_SCRIPT, CERTIFICATES_JOB),
)
