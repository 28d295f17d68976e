"""The command line of nvidia-smi: which output the arguments ask for.

Every branch imports its own output, so that a query does not pay for the report.
"""

from __future__ import annotations

import os

from . import exits, view

TAKES_VALUE = {
    "-i": "--id", "--id": "--id", "-d": "--display", "--display": "--display",
    "-pm": "-pm", "--persistence-mode": "-pm", "-mig": "-mig", "--multi-instance-gpu": "-mig",
    "-e": "-e", "--ecc-config": "-e", "-c": "-c", "--compute-mode": "-c",
    "-pl": "-pl", "--power-limit": "-pl", "-lgc": "-lgc", "--lock-gpu-clocks": "-lgc",
    "-lmc": "-lmc", "--lock-memory-clocks": "-lmc",
    "--format": "--format", "--query-gpu": "--query-gpu",
    "--query-compute-apps": "--query-compute-apps",
    "--query-remapped-rows": "--query-remapped-rows",
    "--query-retired-pages": "--query-retired-pages",
}  # fmt: skip
FLAGS = {
    "-L": "-L", "--list-gpus": "-L", "-q": "-q", "--query": "-q", "-x": "-x", "--xml-format": "-x",
    "-h": "-h", "--help": "-h", "--version": "--version", "-r": "-r", "--gpu-reset": "-r",
    "-rgc": "-rgc", "--reset-gpu-clocks": "-rgc",
    "-rmc": "-rmc", "--reset-memory-clocks": "-rmc",
}  # fmt: skip
CHANGES = ("-pm", "-mig", "-r", "-e", "-c", "-pl", "-lgc", "-rgc", "-lmc", "-rmc")
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

        sections = options.get("--display")
        return report.show(host, wanted, xml="-x" in options, sections=sections)
    if options.keys() & set(CHANGES):
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
    from . import change, settings

    chosen = host.select(options.get("--id"))
    if "-pm" in options:
        return change.persistence_mode(chosen, options["-pm"])
    if os.geteuid() != 0:
        raise exits.Exit(exits.NO_PERMISSION, "Unable to change: [Insufficient Permissions]\n")
    if "-r" in options:
        return change.reset(chosen)
    option, value = next((name, options[name]) for name in CHANGES if name in options)
    if option in settings.CLOCKS:
        return settings.lock_clocks(chosen, option, value)
    if option in settings.RESETS:
        return settings.reset_clocks(chosen, option)
    setters = {
        "-mig": change.mig_mode,
        "-e": settings.ecc_mode,
        "-c": settings.compute_mode,
        "-pl": settings.power_limit,
    }
    return setters[option](chosen, value)


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
    print("nvidia-smi [-i GPU] -mig 0|1 | -e 0|1 | -c MODE | -pl W | -lgc A,B | -rgc | -r")
    print("nvidia-smi topo -m")
    print("nvidia-smi mig [-i GPU] -lgi | -lci | -lgip | -lgipp | -lcip | -cgi LIST [-C]")
    print("nvidia-smi mig [-i GPU] [-gi GI] [-ci CI] -cci | -dci | -dgi")
    return exits.OK
