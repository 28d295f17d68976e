"""The `fleet` command: one file per verb, each thin."""

from ollama_fleet.cli.app import main

__all__ = ["main"]
