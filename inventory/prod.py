"""Your fleet: describe it in prod.yml beside this file."""

from ollama_fleet.inventory import load

hosts = load(__file__)
