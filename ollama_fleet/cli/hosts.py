"""`fleet hosts`: the inventory of machines that Terraform, MAAS or a cloud lists."""

import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ollama_fleet.cli.ending import BadOptionError, JsonOption, answering, print_json

if TYPE_CHECKING:
    from ollama_fleet.host_lists.merge import Merged

HEAD = "# Made by `fleet hosts` of {base} and a list of machines; the next time it is made anew."


def hosts(
    base: Annotated[Path, typer.Argument(help="An inventory with `kinds:`; see docs/hosts.md.")],
    listed: Annotated[Path, typer.Argument(help="The list of machines, as JSON; - is stdin.")],
    form: Annotated[
        str,
        typer.Option("--from", help="Whose list it is: terraform, maas, aws, gcloud, azure, json."),
    ],
    into: Annotated[
        Path | None, typer.Option(help="Write it into this inventory; default: print it.")
    ] = None,
    drop: Annotated[
        bool, typer.Option(help="Let hosts go that the inventory has and the list has no more.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make an inventory of a base file and a list of machines as Terraform, MAAS or a cloud prints it.

    Each machine that says its kind (`fleet-kind`) becomes a host: the base file's `kinds:` say what it has
    and serves. The result is checked as `fleet check` does. Machines without a kind, or not running, are left
    out and named. Exit code 2, and nothing written, where a host of the inventory is in the list no more,
    unless --drop.

    JSON: inventory (the same content), left_out, added, gone.
    """
    with answering(json):
        from ollama_fleet.host_lists.merge import gone, merge
        from ollama_fleet.load import validate
        from ollama_fleet.yamlfile import YamlFile, read_yaml

        merged = merge(read_yaml(base), _listed(form, listed), _name(listed))
        validate(YamlFile(str(into or base), merged.inventory))
        before = _before(into)
        lost, added = (
            gone(before, merged.inventory["hosts"]),
            gone(merged.inventory["hosts"], before),
        )
        if lost and not drop:
            what = f"{into} has {', '.join(lost)}, which the list has no more (or not as running)"
            todo = (
                "--drop lets them go; `state: absent` and a deploy first take everything off them"
            )
            raise BadOptionError(f"{what}; nothing is written. {todo}")
        _write(merged, base, into)
        if json:
            print_json(
                {
                    "inventory": merged.inventory,
                    "left_out": merged.left_out,
                    "added": added,
                    "gone": lost,
                }
            )
        else:
            _tell(merged, added, lost, into)


def _name(listed: Path) -> str:
    return "stdin" if str(listed) == "-" else str(listed)


def _listed(form: str, listed: Path) -> Any:
    from ollama_fleet.host_lists.formats import COMMANDS, NotThatListError, read_list

    if form not in COMMANDS:
        raise BadOptionError(f"--from is one of {', '.join(COMMANDS)}, not '{form}'")
    name = _name(listed)
    try:
        text = sys.stdin.read() if name == "stdin" else listed.read_text(encoding="utf-8")
        return read_list(form, jsonlib.loads(text))
    except NotThatListError as error:
        raise BadOptionError(f"{name} {error}") from None
    except (ValueError, RecursionError) as error:
        raise BadOptionError(
            f"{name} is no JSON: {error}; it is what `{COMMANDS[form]}` prints"
        ) from None


def _before(into: Path | None) -> dict[str, Any]:
    """Hosts that the inventory has by now."""
    from ollama_fleet.yamlfile import read_yaml

    if into is None or not into.exists():
        return {}
    value = read_yaml(into).value
    found = value.get("hosts") if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _write(merged: "Merged", base: Path, into: Path | None) -> None:
    if into is None:
        return
    from ollama_fleet.report.kept_runs import write_whole

    write_whole(into, _text(merged, base).encode())


def _text(merged: "Merged", base: Path) -> str:
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    text = yaml.dump(
        merged.inventory, Dumper=Plain, sort_keys=False, allow_unicode=True, width=1000
    )
    return f"{HEAD.format(base=base.name)}\n{text}"


def _tell(merged: "Merged", added: list[str], lost: list[str], into: Path | None) -> None:
    from ollama_fleet.report.text import one_line

    if into is None:
        print(_text(merged, Path("a base file")), end="")
    for line in merged.left_out:
        print(f"left out: {one_line(line)}", file=sys.stderr)
    for words, names in (("new", added if into else []), ("gone", lost)):
        if names:
            print(f"{words}: {', '.join(names)}", file=sys.stderr)
