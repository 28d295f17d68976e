"""Prometheus on a monitor's machine: configuration, rules and unit, as one service."""

import hashlib
import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import yaml

from ollama_fleet.monitor import places
from ollama_fleet.monitor.targets import Job, jobs_of
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.services.service import Service
from ollama_fleet.templating import MARKER, TEMPLATES, UNIT_DIR, HostFile, render

# Of a scrape; an exporter that hangs is down.
SCRAPE_TIMEOUT_S = 10
# A label that no series gets: by it a running Prometheus tells which configuration it has.
DIGEST_LABEL = "__configuration__"
CURL = "curl --noproxy '*' -sS --max-time 10"


def rule_files() -> list[HostFile]:
    """The alert rules, as they lie in templates/monitor/rules."""
    found = sorted((TEMPLATES / "monitor/rules").glob("*.yml"))
    return [
        HostFile(f"{places.RULES}/{path.name}", path.read_text(encoding="utf-8")) for path in found
    ]


def prometheus_service(plan: MonitorPlan) -> Service:
    """A new configuration is reloaded: what was seen stays, and nothing is missed meanwhile."""
    digest = configuration_digest(plan)
    return Service(
        places.UNIT,
        configuration=(
            HostFile(places.CONFIGURATION, configuration(plan, digest)),
            *rule_files(),
        ),
        others=(HostFile(f"{UNIT_DIR}/{places.UNIT}", unit_text(plan)),),
        digest=digest,
        asks=in_force_question(plan),
        test=f"{places.PROMTOOL} check config {places.CONFIGURATION}",
    )


def configuration_digest(plan: MonitorPlan) -> str:
    """Of the configuration and all rules."""
    texts = [configuration(plan, ""), *(file.text for file in rule_files())]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def configuration(plan: MonitorPlan, digest: str) -> str:
    """prometheus.yml; the same plan gives the same bytes."""
    document = {
        "global": {
            "scrape_interval": f"{plan.interval_s}s",
            "scrape_timeout": f"{min(plan.interval_s, SCRAPE_TIMEOUT_S)}s",
            "evaluation_interval": f"{plan.interval_s}s",
            "external_labels": {"monitor": plan.name},
        },
        **({"alerting": _alerting(plan)} if plan.alertmanagers else {}),
        "rule_files": [file.path for file in rule_files()],
        "scrape_configs": [_itself(plan, digest), *map(scrape_config, jobs_of(plan))],
    }
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return f"# {MARKER}; changes here are undone by the next deploy.\n{text}"


def scrape_config(job: Job, tls: str = places.TLS) -> dict[str, Any]:
    """One machine's metrics of one kind: each has a certificate for its own name. `tls`: the folder of
    the monitor's certificate."""
    return {
        "job_name": f"{job.name} {job.machine}",
        "scheme": "https",
        "metrics_path": job.path,
        "tls_config": {
            "ca_file": f"{tls}/machines-ca.pem",
            "cert_file": f"{tls}/client.pem",
            "key_file": f"{tls}/client.key",
            "server_name": job.machine,
        },
        "static_configs": [{"targets": [job.target], "labels": job.labels}],
    }


def _itself(plan: MonitorPlan, digest: str) -> dict[str, Any]:
    labels = {"host": plan.host, "instance": plan.host, DIGEST_LABEL: digest}
    return {
        "job_name": "ollama-monitor",
        "static_configs": [{"targets": [own_address(plan)], "labels": labels}],
    }


def _alerting(plan: MonitorPlan) -> dict[str, Any]:
    return {"alertmanagers": list(_alertmanagers(plan))}


def _alertmanagers(plan: MonitorPlan) -> Iterator[dict[str, Any]]:
    for url in plan.alertmanagers:
        parts = urlsplit(url)
        prefix = {"path_prefix": parts.path} if parts.path.strip("/") else {}
        yield {
            "scheme": parts.scheme,
            **prefix,
            "static_configs": [{"targets": [parts.netloc]}],
        }


def own_address(plan: MonitorPlan) -> str:
    """Where Prometheus listens: on loopback, whoever else may look."""
    host = plan.listen if plan.is_loopback else "127.0.0.1"
    return f"[{host}]:{plan.port}" if ":" in host else f"{host}:{plan.port}"


def in_force_question(plan: MonitorPlan) -> str:
    """Shell that prints the digest of the running configuration."""
    url = shlex.quote(f"http://{own_address(plan)}/api/v1/status/config")
    return f"{CURL} -f {url} | sed -n 's/.*{DIGEST_LABEL}: \\([0-9a-f]*\\).*/\\1/p'"


def unit_text(plan: MonitorPlan) -> str:
    """The unit of Prometheus."""
    return render(
        "monitor/ollama-prometheus.service.j2",
        marker=MARKER,
        user=places.USER,
        prometheus=places.PROMETHEUS,
        promtool=places.PROMTOOL,
        configuration=places.CONFIGURATION,
        data=places.DATA,
        listen=own_address(plan),
        retention_days=plan.retention_days,
        retention_gib=plan.retention_gib,
    )
