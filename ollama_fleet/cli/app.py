"""The `fleet` command's verbs, put together. Each verb imports what it needs when it runs."""

from collections.abc import Callable

import typer

from ollama_fleet.cli import (
    bundle,
    ca,
    check,
    describe,
    discover,
    docs,
    drain,
    export,
    fit,
    gpus,
    hosts,
    key,
    lock,
    models,
    pin,
    plan,
    recommend,
    remove,
    schema,
    serve_bundle,
    top,
    undrain,
    verify,
)
from ollama_fleet.cli.ending import EXIT_CODES

# In the order of the help. Verbs of two words are a group.
VERBS: dict[str, Callable[..., None]] = {
    "plan": plan.plan,
    "check": check.check,
    "verify": verify.verify,
    "lock": lock.lock,
    "bundle": bundle.bundle,
    "serve-bundle": serve_bundle.serve_bundle,
    "ca": ca.ca,
    "fit": fit.fit,
    "recommend": recommend.recommend,
    "models": models.models,
    "gpus": gpus.gpus,
    "pin": pin.pin,
    "describe": describe.describe,
    "discover": discover.discover,
    "hosts": hosts.hosts,
    "key add": key.add,
    "key list": key.list_,
    "key revoke": key.revoke,
    "export": export.export,
    "remove": remove.remove,
    "drain": drain.drain,
    "undrain": undrain.undrain,
    "top": top.top,
    "schema": schema.schema,
    "docs": docs.docs,
}
GROUPS = {"key": "API keys: who may call the gateway."}
CODES = "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())

app = typer.Typer(
    help=f"Describe GPU hosts, plan their Ollama slices, prove that they serve.\n\nExit codes: {CODES}.",
    no_args_is_help=True,
    add_completion=False,
)
groups = {name: typer.Typer(help=words, no_args_is_help=True) for name, words in GROUPS.items()}
for name, group in groups.items():
    app.add_typer(group, name=name)
for name, verb in VERBS.items():
    first, _, second = name.partition(" ")
    (groups[first] if second else app).command(second or first)(verb)


@app.callback()
def fleet() -> None:
    pass


def main() -> None:
    """Entry point of the console script."""
    app()
