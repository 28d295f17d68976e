"""`fleet export`: the fleet's pools for an engine that a site runs already."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ollama_fleet.cli.ending import BadOptionError, JsonOption, answering, print_json

if TYPE_CHECKING:
    from ollama_fleet.export.files import Exported, ExportedFile

Engine = Literal["haproxy", "prometheus-sd", "kubernetes", "prometheus", "grafana"]
# These are several files, in a folder.
FOLDERS = ("prometheus", "grafana")


def export(
    inventory: Annotated[
        Path, typer.Argument(help="An inventory file such as inventory/prod.yml.")
    ],
    to: Annotated[Engine, typer.Option(help="Whose configuration to write.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write it into this file, and what belongs to it beside it; default: print it. "
            "prometheus, grafana: into this folder.",
        ),
    ] = None,
    certificates: Annotated[
        str | None,
        typer.Option(
            help="Folder of its certificate on the engine's machine (haproxy: hop.pem, hop-ca.pem, by "
            "default in /etc/haproxy/ollama; prometheus: client.pem, client.key, machines-ca.pem, in "
            "/etc/prometheus/ollama)."
        ),
    ] = None,
    namespace: Annotated[
        str, typer.Option(help="Namespace of the Services (kubernetes).")
    ] = "default",
    json: JsonOption = False,
) -> None:
    """Write the slices of each model for an engine of your own; touches no host.

    haproxy: a backend for each model, with queue, weights, health and drain as the gateway has them.
    prometheus-sd: gateways, hosts and slices with their labels, for file_sd_configs.
    kubernetes: Services through which pods reach the gateways and the hosts.
    prometheus: what a Prometheus of yours scrapes, and the alert rules, in a folder.
    grafana: dashboards, and how Grafana finds them and Prometheus, in a folder.
    Example: fleet export inventory/prod.yml --to haproxy --out /etc/haproxy/ollama.cfg

    JSON: to, files (name to text; with --out the paths that were written).
    """
    with answering(json):
        from ollama_fleet.export.files import ExportError

        path = inventory.with_suffix(".yml") if inventory.suffix == ".py" else inventory
        try:
            if to in FOLDERS:
                files = _folder(path, to, certificates)
            else:
                files = _files(_exported(path), to, certificates, namespace)
        except ExportError as error:
            raise BadOptionError(str(error)) from None
        if to in FOLDERS and not (out or json):
            raise BadOptionError(f"{to} is {len(files)} files; name a folder: --out FOLDER")
        named = {_name(out or Path(_default(to)), file): file.text for file in files}
        if out:
            for name, text in named.items():
                name.parent.mkdir(parents=True, exist_ok=True)
                name.write_text(text, encoding="utf-8")
        if json:
            print_json({"to": to, "files": {str(name): text for name, text in named.items()}})
        elif out:
            print("\n".join(f"{name} is written" for name in named))
        else:
            print(files[0].text, end="")


def _exported(path: Path) -> "Exported":
    from ollama_fleet.export.files import Exported, require_gateway
    from ollama_fleet.kept_plan import read_kept
    from ollama_fleet.load import load_fleet
    from ollama_fleet.planner.fleet import plan_fleet
    from ollama_fleet.planner.gateway import engines_of, gateways_of

    fleet = load_fleet(path)
    plans = plan_fleet(fleet, previous=read_kept(path)).required(path.name).hosts
    made = Exported(gateways_of(fleet, plans), engines_of(fleet, plans), plans)
    require_gateway(made, path.name)
    return made


def _files(
    fleet: "Exported", to: Engine, certificates: str | None, namespace: str
) -> "list[ExportedFile]":
    from ollama_fleet.export.haproxy import haproxy_files
    from ollama_fleet.export.kubernetes import kubernetes_files
    from ollama_fleet.export.prometheus import prometheus_files

    if to == "haproxy":
        return haproxy_files(fleet, _folder_of(certificates, "/etc/haproxy/ollama"))
    if to == "kubernetes":
        form = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
        return kubernetes_files(fleet, _plain(namespace, form, "--namespace"))
    return prometheus_files(fleet)


def _folder(path: Path, to: Engine, certificates: str | None) -> "list[ExportedFile]":
    from ollama_fleet.export.monitoring import grafana_files, site_prometheus_files
    from ollama_fleet.load import load_fleet
    from ollama_fleet.planner.monitor import monitors_of, targets_of

    fleet = load_fleet(path)
    if to == "prometheus":
        own = [name for name, spec in fleet.monitors.items() if not spec.manage]
        folder = _folder_of(certificates, "/etc/prometheus/ollama")
        return site_prometheus_files(targets_of(fleet), own, folder)
    urls = [plan.url for plan in monitors_of(fleet).values()]
    return grafana_files(*urls[:1])


def _folder_of(certificates: str | None, default: str) -> str:
    return _plain(certificates or default, r"/[A-Za-z0-9._/-]+", "--certificates")


def _plain(text: str, form: str, option: str) -> str:
    import re

    if not re.fullmatch(form, text):
        raise BadOptionError(f"{option} '{text}' has another form than {form}")
    return text


def _default(to: Engine) -> str:
    names = {"haproxy": "ollama.cfg", "prometheus-sd": "ollama.json", "kubernetes": "ollama.yml"}
    return names.get(to, ".")


def _name(first: Path, file: "ExportedFile") -> Path:
    if file.name:
        return first / file.name
    return first.with_suffix(file.suffix) if file.suffix else first
