"""What a site's own Prometheus and Grafana need to see the fleet: targets, alert rules, dashboards."""

from collections.abc import Sequence

import yaml

from ollama_fleet.export.files import ExportedFile, ExportError
from ollama_fleet.monitor.dashboards import dashboard_files, provisioning_files
from ollama_fleet.monitor.prometheus import rule_files, scrape_config
from ollama_fleet.monitor.targets import jobs_at
from ollama_fleet.planner.monitor import Target
from ollama_fleet.templating import MARKER

WRITTEN = MARKER.replace("Managed by", "Written by")
LOCAL_URL = "http://127.0.0.1:9090"


def site_prometheus_files(
    targets: Sequence[Target], own: Sequence[str], certificates: str
) -> list[ExportedFile]:
    """For a Prometheus of the site: what it scrapes, and the alert rules.

    `own`: monitors of the inventory that the site runs itself. `certificates` is the folder of its
    client certificate there.
    """
    if not targets:
        raise ExportError("no machine shows metrics; add `monitoring: {}` and deploy")
    if not own:
        raise ExportError(
            "machines let nobody in but monitors of the inventory; name yours: "
            "`monitors: {prom1: {address: 10.0.0.9, manage: false}}`, and deploy"
        )
    jobs = [scrape_config(job, certificates.rstrip("/")) for job in jobs_at(targets)]
    head = (
        f"# {WRITTEN}, for `scrape_config_files:` (Prometheus 2.43 or newer; with an older one, for\n"
        f"# its `scrape_configs:`). The hosts let it in as '{own[0]}'.\n"
    )
    text = head + yaml.safe_dump({"scrape_configs": jobs}, sort_keys=False, allow_unicode=True)
    rules = [
        ExportedFile(
            file.text.replace(
                f"{MARKER}; changes here are undone by the next deploy.", f"{WRITTEN}."
            ),
            name=f"rules/ollama-{file.path.rpartition('/')[2]}",
        )
        for file in rule_files()
    ]
    return [ExportedFile(text, name="ollama-scrape.yml"), *rules]


def grafana_files(url: str = LOCAL_URL) -> list[ExportedFile]:
    """Dashboards, and how a Grafana finds them and the Prometheus at `url`."""
    dashboards = {f"dashboards/{name}": text for name, text in dashboard_files().items()}
    files = dashboards | provisioning_files(url)
    return [ExportedFile(text, name=name) for name, text in files.items()]
