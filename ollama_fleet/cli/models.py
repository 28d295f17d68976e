"""`fleet models`: the models that the catalogue knows."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ollama_fleet.cli.ending import (
    BAD_INPUT,
    BadOptionError,
    JsonOption,
    answering,
    fail,
    print_json,
)

if TYPE_CHECKING:
    from ollama_fleet.catalogue import Model


def models(
    name: Annotated[
        str, typer.Argument(metavar="[FILTER]", help="Part of a tag, such as qwen3 or :8b.")
    ] = "",
    task: Annotated[
        str | None, typer.Option(help="Only those for a task, such as code or chinese.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List models with their size, context, quantisation, tasks, and the memory that they take.

    A filter that no tag contains ends with exit code 2 and the nearest tags.

    JSON: models, a list; per model tag, aliases, kind, params_b, active_params_b, max_context,
    quantisation, file_bytes, weight_bytes, tasks, and total_mib at contexts of 4096, 32768 and the
    model's most.
    """
    with answering(json):
        found = _found(name, task)
        if not found:
            raise _none(name, task, json)
        if json:
            print_json({"models": [_row(model) for model in found]})
        else:
            from ollama_fleet.report.catalogue_tables import print_models

            print_models(found)


def _found(name: str, task: str | None) -> "list[Model]":
    from ollama_fleet.catalogue import all_models

    everything = all_models()
    tasks = sorted({one for model in everything for one in model.tasks})
    if task is not None and task not in tasks:
        raise BadOptionError(f"no model is for '{task}'; tasks are {', '.join(tasks)}")
    wanted = name.lower()
    return [
        model
        for model in everything
        if any(wanted in tag.lower() for tag in (model.tag, *model.aliases))
        and (task is None or task in model.tasks)
    ]


def _none(name: str, task: str | None, as_json: bool) -> typer.Exit:
    """Why nothing was found; a tag that exists, but not for the task, is said to."""
    from ollama_fleet.catalogue import find_model

    if task and _found(name, None):
        return fail(f"no model with '{name}' in its tag is for {task}", BAD_INPUT, as_json)
    find_model(name)  # raises, with the nearest tags
    return fail(f"no tag contains '{name}'", BAD_INPUT, as_json)


def _row(model: "Model") -> dict[str, Any]:
    from ollama_fleet.report.catalogue_tables import at_contexts

    fields = ("tag", "aliases", "kind", "architecture", "params_b", "active_params_b", "layers")
    more = (
        "max_context",
        "quantisation",
        "file_bytes",
        "weight_bytes",
        "tasks",
        "tier",
        "confidence",
    )
    row = model.model_dump(mode="json", include={*fields, *more})
    return {key: row[key] for key in (*fields, *more)} | {
        "tasks": sorted(model.tasks),
        "total_mib": {str(context): round(mib) for context, mib in at_contexts(model).items()},
    }
