"""`fleet export`: the fleet's pools for an engine that a site runs already."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ollama_fleet.cli.ending import BadOptionError, JsonOption, answering, print_json

if TYPE_CHECKING:
    from ollama_fleet.export.files import Exported, ExportedFile

Engine = Literal["haproxy", "prometheus-sd", "kubernetes"]


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
            help="Write it into this file, and what belongs to it beside it; default: print it.",
        ),
    ] = None,
    certificates: Annotated[
        str, typer.Option(help="Folder of hop.pem and hop-ca.pem on HAProxy's machine (haproxy).")
    ] = "/etc/haproxy/ollama",
    namespace: Annotated[
        str, typer.Option(help="Namespace of the Services (kubernetes).")
    ] = "default",
    json: JsonOption = False,
) -> None:
    """Write the slices of each model for an engine of your own; touches no host.

    haproxy: a backend for each model, with queue, weights, health and drain as the gateway has them.
    prometheus-sd: gateways, hosts and slices with their labels, for file_sd_configs.
    kubernetes: Services through which pods reach the gateways and the hosts.
    Example: fleet export inventory/prod.yml --to haproxy --out /etc/haproxy/ollama.cfg

    JSON: to, files (name to text; with --out the paths that were written).
    """
    with answering(json):
        from ollama_fleet.export.files import ExportError

        path = inventory.with_suffix(".yml") if inventory.suffix == ".py" else inventory
        try:
            files = _files(_exported(path), to, certificates, namespace)
        except ExportError as error:
            raise BadOptionError(str(error)) from None
        named = {_name(out or Path(_default(to)), file): file.text for file in files}
        if out:
            for name, text in named.items():
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
    fleet: "Exported", to: Engine, certificates: str, namespace: str
) -> "list[ExportedFile]":
    from ollama_fleet.export.haproxy import haproxy_files
    from ollama_fleet.export.kubernetes import kubernetes_files
    from ollama_fleet.export.prometheus import prometheus_files

    if to == "haproxy":
        return haproxy_files(fleet, _plain(certificates, r"/[A-Za-z0-9._/-]+", "--certificates"))
    if to == "kubernetes":
        form = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
        return kubernetes_files(fleet, _plain(namespace, form, "--namespace"))
    return prometheus_files(fleet)


def _plain(text: str, form: str, option: str) -> str:
    import re

    if not re.fullmatch(form, text):
        raise BadOptionError(f"{option} '{text}' has another form than {form}")
    return text


def _default(to: Engine) -> str:
    return {"haproxy": "ollama.cfg", "prometheus-sd": "ollama.json", "kubernetes": "ollama.yml"}[to]


def _name(first: Path, file: "ExportedFile") -> Path:
    return first.with_suffix(file.suffix) if file.suffix else first
