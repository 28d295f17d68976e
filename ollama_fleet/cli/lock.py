"""`fleet lock`: what the models of an inventory are, kept beside it by digest."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ollama_fleet.cli.ending import (
    FAILED,
    BadOptionError,
    HostError,
    JsonOption,
    answering,
    print_json,
)

if TYPE_CHECKING:
    from ollama_fleet.locking import Change, Named
    from ollama_fleet.planner.delivery import LockedModel

InventoryArgument = Annotated[
    Path, typer.Argument(help="An inventory file such as inventory/prod.yml.")
]
ModelsArgument = Annotated[
    list[str] | None,
    typer.Argument(help="With --update: only these models; default: all.", metavar="MODEL..."),
]
UpdateOption = Annotated[
    bool, typer.Option("--update", help="Take what the tags mean now, and say what moved.")
]
CheckOption = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Write nothing; exit code 1 when a tag has moved or a model is not locked (for CI).",
    ),
]


def lock(
    inventory: InventoryArgument,
    models: ModelsArgument = None,
    update: UpdateOption = False,
    check: CheckOption = False,
    json: JsonOption = False,
) -> None:
    """Lock the models of an inventory: the same tag gives the same weights on all hosts, and later.

    Asks the registries that the hosts use (past mirrors that the inventory sets up) for models that
    are not locked yet, drops those that nobody names any more, and keeps the others. Writes the lock
    file beside the inventory (prod.lock.json), which every plan and every deploy reads: commit it.
    When a registry does not answer, exit code 1 and nothing is written.
    Example: fleet lock inventory/prod.yml --update qwen3:8b

    JSON: file, written, models (name to state, one of added, kept, moved, dropped; digest and bytes
    as they are now, digest_before and bytes_before).
    """
    failed = False
    with answering(json):
        from ollama_fleet.locking import ask_registries, changes, locked_after, to_ask
        from ollama_fleet.model_lock import lock_path_of, read_lock, write_lock
        from ollama_fleet.registry import Registry

        if check and update:
            raise BadOptionError("--check writes nothing and --update writes; give one of them")
        path = inventory.with_suffix(".yml") if inventory.suffix == ".py" else inventory
        named = _named(path)
        before = read_lock(path)
        asked = _asked(models or [], list(named), update)
        moved = set(named) if check else asked
        found, problems = ask_registries(
            named, to_ask(named, before, moved.__contains__), Registry()
        )
        if problems:
            unchanged = "" if check else f"\n{lock_path_of(path)} is unchanged"
            raise HostError("\n".join(problems) + unchanged)
        made = changes(named, before, found)
        after = locked_after(made)
        writes = not check and after != before
        if writes:
            write_lock(path, after)
        failed = check and any(change.state in ("added", "moved") for change in made)
        if json:
            print_json(_data(lock_path_of(path), writes, made))
        else:
            _print(made, lock_path_of(path), check, writes)
    if failed:
        raise typer.Exit(FAILED)


def _named(path: Path) -> "Named":
    """Every model of the inventory, with where its hosts get it from."""
    from ollama_fleet.cli.rendering import release_of
    from ollama_fleet.kept_plan import read_kept
    from ollama_fleet.load import load_fleet
    from ollama_fleet.locking import named_models
    from ollama_fleet.originals import with_originals
    from ollama_fleet.planner.fleet import plan_fleet

    fleet = with_originals(load_fleet(path))
    plans = plan_fleet(fleet, previous=read_kept(path)).required(path.name).hosts
    registries = {name: release_of(fleet, name, path.parent)[0].registry for name in plans}
    return named_models(plans, registries)


def _asked(models: Sequence[str], named: Sequence[str], update: bool) -> set[str]:
    """Which locked models to take anew."""
    from ollama_fleet.spec.known import full_model_name

    if models and not update:
        raise BadOptionError(f"what about {', '.join(models)}? Only --update takes models")
    wanted = {full_model_name(model) for model in models}
    unknown = sorted(wanted - set(named))
    if unknown:
        has = ", ".join(named[:10]) or "none"
        raise BadOptionError(f"the inventory names no model {', '.join(unknown)}; it has {has}")
    return wanted or (set(named) if update else set())


def _data(file: Path, written: bool, made: "Sequence[Change]") -> dict[str, Any]:
    from ollama_fleet.model_lock import locked_bytes

    def of(locked: "LockedModel | None", suffix: str) -> dict[str, Any]:
        digest = f"sha256:{locked.digest}" if locked else None
        size = locked_bytes(locked) if locked else None
        return {f"digest{suffix}": digest, f"bytes{suffix}": size}

    return {
        "file": str(file),
        "written": written,
        "models": {
            change.model: {
                "state": change.state,
                **of(change.now, ""),
                **of(change.before, "_before"),
            }
            for change in made
        },
    }


def _print(made: "Sequence[Change]", file: Path, check: bool, writes: bool) -> None:
    width = max((len(change.model) for change in made), default=0)
    for change in made:
        if change.state != "kept":
            state = "not locked" if check and change.state == "added" else change.state
            print(f"{state:<10}  {change.model:<{width}}  {_words(change)}".rstrip())
    kept = sum(change.state == "kept" for change in made)
    print(f"{kept} as locked; {file}{_ending(made, check, writes)}")


def _words(change: "Change") -> str:
    shown = [_shown(locked) for locked in (change.before, change.now) if locked]
    return " → ".join(shown)


def _shown(locked: "LockedModel") -> str:
    from ollama_fleet.model_lock import locked_bytes

    return f"sha256:{locked.digest[:12]}… ({locked_bytes(locked) / 1e9:.1f} GB)"


def _ending(made: "Sequence[Change]", check: bool, writes: bool) -> str:
    if not check:
        return " is written: commit it" if writes else " is unchanged"
    if any(change.state == "moved" for change in made):
        return ": a tag has moved; hosts keep what is locked until `fleet lock --update`"
    lacking = any(change.state == "added" for change in made)
    return ": run `fleet lock`" if lacking else " is up to date"
