"""The `fleet` command's verbs, put together."""

import typer

from ollama_fleet.cli import check, schema

app = typer.Typer(
    help="Describe GPU hosts, plan their Ollama slices, prove that they serve.",
    no_args_is_help=True,
    add_completion=False,
)
app.command("schema")(schema.schema)
app.command("check")(check.check)


@app.callback()
def fleet() -> None:
    """Exit codes: 0 well, 2 bad input."""


def main() -> None:
    """Entry point of the console script."""
    app()
