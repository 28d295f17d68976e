"""The command line of nvidia-smi: which output the arguments ask for.

Every branch imports its own output, so that a query does not pay for the report.
"""

from __future__ import annotations

import os

from . import exits, view

TAKES_VALUE = {
    "-i": "--id", "--id": "--id", "-d": "--display", "--display": "--display",
    "-pm": "-pm", "--persistence-mode": "-pm", "-mig": "-mig", "--multi-instance-gpu": "-mig",
    "--format": "--format", "--query-gpu": "--query-gpu",
    "--query-compute-apps": "--query-compute-apps",
    "--query-remapped-rows": "--query-remapped-rows",
    "--query-retired-pages": "--query-retired-pages",
}  # fmt: skip
FLAGS = {
    "-L": "-L", "--list-gpus": "-L", "-q": "-q", "--query": "-q", "-x": "-x", "--xml-format": "-x",
    "-h": "-h", "--help": "-h", "--version": "--version", "-r": "-r", "--gpu-reset": "-r",
}  # fmt: skip
Options = dict[str, str]


def main(arguments: list[str]) -> int:
    try:
        return _run(arguments)
    except exits.Exit as end:
        print(end.text, end="")
        return end.status


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["topo"]:
        from . import topology

        return topology.show(view.look(), arguments[1:])
    if arguments[:1] == ["mig"]:
        from . import mig

        return mig.show(view.look(), arguments[1:])
    return _show(_parse(arguments))


def _show(options: Options) -> int:
    if "-h" in options:
        return _help()
    host, wanted = view.look(), options.get("--id")
    query = next((name for name in options if name.startswith("--query-")), None)
    if query:
        from . import query as query_output

        return query_output.show(host, query, options[query], options.get("--format"), wanted)
    if "-L" in options:
        from . import listing

        return listing.show(host, wanted)
    if "-q" in options:
        from . import report

        return report.show(host, wanted, xml="-x" in options)
    if options.keys() & {"-pm", "-mig", "-r"}:
        return _change(host, options)
    return _plain(host, options)


def _plain(host: view.Host, options: Options) -> int:
    if "--version" in options:
        version = host.driver_version
        print(f"NVIDIA-SMI version  : {version}\nNVML version        : {version[:6]}")
        print(f"DRIVER version      : {version}\nCUDA Version        : {host.cuda_version}")
        return exits.OK
    from . import table

    return table.show(host, options.get("--id"))


def _change(host: view.Host, options: Options) -> int:
    from . import change

    chosen = host.select(options.get("--id"))
    if "-pm" in options:
        return change.persistence_mode(chosen, options["-pm"])
    if os.geteuid() != 0:
        raise exits.Exit(exits.NO_PERMISSION, "Unable to change: [Insufficient Permissions]\n")
    return change.mig_mode(chosen) if "-mig" in options else change.reset(chosen)


def _parse(arguments: list[str]) -> Options:
    options: Options = {}
    rest = list(arguments)
    while rest:
        name, has_value, value = rest.pop(0).partition("=")
        if name in FLAGS and not has_value:
            options[FLAGS[name]] = ""
        elif name in TAKES_VALUE and (has_value or rest):
            options[TAKES_VALUE[name]] = value if has_value else rest.pop(0)
        else:
            raise exits.invalid_option(name)
    return options


def _help() -> int:
    print("NVIDIA System Management Interface (simulated by the lab)\n")
    print("nvidia-smi [-i GPU] [-L | -q [-x] | -pm 0|1 | --query-gpu=FIELDS --format=csv]")
    print("nvidia-smi topo -m\nnvidia-smi mig -lgi | -lci | -lgip")
    return exits.OK
