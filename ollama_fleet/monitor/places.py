"""Where everything of a monitor lies on its machine, by name."""

from ollama_fleet.templating import UNIT_DIR

USER = "ollama-monitor"
UNIT = "ollama-prometheus.service"
DOOR_UNIT = "ollama-monitor-door.service"

PROMETHEUS, PROMTOOL = "/usr/bin/prometheus", "/usr/bin/promtool"
SETTINGS = "/etc/ollama/monitor"
TLS = f"{SETTINGS}/tls"
RULES = f"{SETTINGS}/rules"
CONFIGURATION = f"{SETTINGS}/prometheus.yml"
DOOR_CONF = f"{SETTINGS}/door.nginx.conf"
DOOR_USERS = f"{SETTINGS}/door.users"
SYSUSERS = "/etc/sysusers.d/ollama-monitor.conf"
# Months of numbers: not below the folder of the slices' user.
DATA = "/var/lib/ollama-monitor"
DOOR_RUN_DIR = "/run/ollama-monitor-door"

# Files with our marker beside the rules, which are compared by the monitor's own steps.
OF_MONITOR = (
    *(f"{UNIT_DIR}/{unit}" for unit in (UNIT, DOOR_UNIT)),
    *(CONFIGURATION, DOOR_CONF, DOOR_USERS),
)
