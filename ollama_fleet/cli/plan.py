"""`fleet plan`: which slices an inventory becomes, on which GPUs, and why they fit."""

from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ollama_fleet.cli.ending import REFUSED, BadOptionError, JsonOption, answering, print_json

if TYPE_CHECKING:
    from ollama_fleet.hardware.found import Hardware
    from ollama_fleet.planner.fleet import FleetPlan
    from ollama_fleet.planner.gateway import GatewayPlan
    from ollama_fleet.planner.plan import HostPlan
    from ollama_fleet.sizing import HostNeeds
    from ollama_fleet.spec.fleet import Fleet

    Gateways = tuple[list[GatewayPlan], list[GatewayPlan]]


InventoryArgument = Annotated[
    Path, typer.Argument(help="An inventory file such as inventory/prod.yml.")
]
HostOption = Annotated[
    str | None, typer.Option(help="Show this host only: a name, or a pattern such as gpu0*.")
]
WhyOption = Annotated[bool, typer.Option("--why", help="Show every term's arithmetic.")]
SvgOption = Annotated[Path | None, typer.Option(help="Also draw it into this SVG file.")]
HtmlOption = Annotated[Path | None, typer.Option(help="Also write a page with picture and sums.")]
RenderOption = Annotated[
    Path | None,
    typer.Option(help="Also write every file that a deploy would put on each host, below DIR."),
]
HardwareOption = Annotated[
    list[Path] | None,
    typer.Option(help="JSON of `fleet discover --json`: plan with what that host really has."),
]
PreviousOption = Annotated[
    Path | None,
    typer.Option(
        help="JSON of an earlier `fleet plan --json`: its slices stay where they fit. Default: the "
        "plan kept beside the inventory, if there is one."
    ),
]
TightOption = Annotated[
    bool,
    typer.Option("--tight", help="Use the fewest GPUs, as `packing: tight` in the inventory does."),
]
KeepOption = Annotated[
    bool,
    typer.Option(
        "--keep",
        help="Write the plan beside the inventory (prod.plan.json): later plans and deploys move no "
        "slice of it that still fits.",
    ),
]


def plan(
    inventory: InventoryArgument,
    host: HostOption = None,
    why: WhyOption = False,
    svg: SvgOption = None,
    html: HtmlOption = None,
    render: RenderOption = None,
    hardware: HardwareOption = None,
    previous: PreviousOption = None,
    keep: KeepOption = False,
    tight: TightOption = False,
    json: JsonOption = False,
) -> None:
    """Show per GPU what takes its memory, the slices and ports, and what is refused; touches no host.

    Exit code 3 when something is refused, with the arithmetic and the nearest that would fit.
    Rendered files hold stand-ins such as GPU-0-unknown for what only a host can tell, unless
    --hardware says it.

    JSON: refused; hosts (name to state, slices, gpus with components, margin_mib, free_mib, models and
    their terms, mig, needs, notes); refusals with where, what, arithmetic and would_fit; moved; placements;
    gateways and pools as `fleet check` has them; rendered (files).
    """
    with answering(json):
        from ollama_fleet.cli.plan_inputs import read_hardware_files, read_previous
        from ollama_fleet.kept_plan import keep as keep_plan
        from ollama_fleet.kept_plan import read_kept
        from ollama_fleet.load import load_fleet
        from ollama_fleet.model_lock import read_lock, with_lock
        from ollama_fleet.planner.fleet import plan_fleet

        path = inventory.with_suffix(".yml") if inventory.suffix == ".py" else inventory
        fleet = load_fleet(path)
        found = read_hardware_files(hardware or [], list(fleet.hosts))
        shown = _shown(list(fleet.hosts), host)
        before = read_previous(previous) if previous else read_kept(path)
        planned = plan_fleet(fleet, hardware=found, previous=before, tight=tight)
        if keep:
            keep_plan(path, planned.required(path.name).hosts)
        plans = with_lock({name: planned.hosts[name] for name in shown}, read_lock(path))
        _draw(path.name, plans, planned, svg, html)
        rendered = []
        if render and not planned.refusals:
            present = {name: plan for name, plan in plans.items() if plan.removal is None}
            rendered = _render(fleet, present, found, path.parent, render)
        needs = _needs(fleet, plans)
        gateways = _gateways(fleet, planned)
        if json:
            _print_json(planned, shown, needs, rendered, gateways)
        else:
            _print(planned, plans, needs, why, rendered)
            if host is None:
                _print_gateways(gateways, path)
    if planned.refusals:
        raise typer.Exit(REFUSED)


def _shown(hosts: list[str], wanted: str | None) -> list[str]:
    if wanted is None:
        return hosts
    shown = [name for name in hosts if fnmatch(name, wanted)]
    if not shown:
        import difflib

        near = difflib.get_close_matches(wanted, hosts, n=3, cutoff=0.4) or hosts[:5]
        raise BadOptionError(f"no host is named '{wanted}'; nearest: {', '.join(near)}")
    return shown


def _draw(
    title: str,
    plans: "dict[str, HostPlan]",
    planned: "FleetPlan",
    svg: Path | None,
    html: Path | None,
) -> None:
    if svg:
        from ollama_fleet.report.plan_svg import plan_svg

        svg.write_text(plan_svg(plans), encoding="utf-8")
    if html:
        from ollama_fleet.report.plan_html import plan_html

        page = plan_html(f"Plan of {title}", plans, planned.refusals)
        html.write_text(page, encoding="utf-8")


def _render(
    fleet: "Fleet",
    plans: "dict[str, HostPlan]",
    found: "dict[str, Hardware]",
    folder: Path,
    target: Path,
) -> list[Path]:
    from ollama_fleet.cli.rendering import render_plans

    return render_plans(fleet, plans, found, folder, target)


def _needs(fleet: "Fleet", plans: "dict[str, HostPlan]") -> "dict[str, HostNeeds]":
    """What each host needs beside its GPUs, where all of its models are known."""
    from ollama_fleet.catalogue import UnknownModel
    from ollama_fleet.sizing import host_needs
    from ollama_fleet.spec.known import known_to

    known, needs = known_to(fleet), {}
    for name, planned in plans.items():
        loaded = sum(len(item.models) for item in planned.slices)
        tags = [tag for item in planned.slices for tag in item.models]
        with suppress(UnknownModel):
            extra = [tag for tag in planned.extra_models if tag not in tags]
            needs[name] = host_needs(map(known.model, [*tags, *extra]), loaded=loaded)
    return needs


def _gateways(fleet: "Fleet", planned: "FleetPlan") -> "Gateways":
    """Those that a deploy sets up, and engines of the site's own."""
    from ollama_fleet.planner.gateway import engines_of, gateways_of

    made = gateways_of(fleet, planned.hosts), engines_of(fleet, planned.hosts)
    return list(made[0].values()), list(made[1].values())


def _print_json(
    planned: "FleetPlan",
    shown: list[str],
    needs: "dict[str, HostNeeds]",
    rendered: list[Path],
    gateways: "Gateways",
) -> None:
    from ollama_fleet.report.gateways import gateways_data
    from ollama_fleet.report.plan_json import plan_data

    files = {"rendered": [str(path) for path in rendered]}
    print_json(plan_data(planned, shown, needs) | gateways_data(*gateways) | files)


def _print(
    planned: "FleetPlan",
    plans: "dict[str, HostPlan]",
    needs: "dict[str, HostNeeds]",
    why: bool,
    rendered: list[Path],
) -> None:
    from ollama_fleet.report.plan_table import print_plan, refusal_lines

    print_plan(plans, needs, frozenset(plans) if why else frozenset())
    for name in planned.moved:
        print(f"moved: {name}")
    if rendered:
        print(f"{len(rendered)} files written")
    for line in refusal_lines(planned.refusals):
        typer.echo(line, err=True)


def _print_gateways(gateways: "Gateways", inventory: Path) -> None:
    from ollama_fleet.keys.kept import keys_in_force
    from ollama_fleet.report.gateways import gateway_lines

    has_keys = any(gateways) and bool(keys_in_force(inventory))
    for line in gateway_lines(*gateways, has_keys=has_keys):
        print(line)
