"""Names on the host of its look at itself. Imports none of ours but the planner's names."""

from ollama_fleet.planner.plan import PREFIX, STATE_DIR

SCRIPT = f"{PREFIX}/libexec/ollama-selfcheck"
UNIT = "ollama-selfcheck.service"
TIMER = "ollama-selfcheck.timer"
# What was answered when all was proved; only root reads it.
KEPT_DIR = f"{STATE_DIR}/selfcheck"
PROVED = f"{KEPT_DIR}/proved"
RUN_NAME = "ollama-selfcheck"
RUN_DIR = f"/run/{RUN_NAME}"
STATE = f"{RUN_DIR}/state"
# The next look is kept as proved.
KEEP = f"{RUN_DIR}/keep"
# Where the exporter of metrics finds more; there only with monitoring.
METRICS_DIR = f"{STATE_DIR}/metrics"
METRICS = f"{METRICS_DIR}/selfcheck.prom"
