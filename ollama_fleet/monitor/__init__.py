"""The machine that looks at all others: Prometheus with its targets, alert rules, and dashboards.

- `places`      where everything of it lies, by name
- `prepare`     packages, account and folders
- `prometheus`  its configuration, rules and unit
- `door`        how others than the machine itself look at it
- `proof`       what is asked of one that runs
- `dashboards`  Grafana's dashboards, and how Grafana finds them
- `leftovers`   what goes where a host runs none any more

Pure text of the monitor's plan; knows no pyinfra.
"""
