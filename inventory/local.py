"""This very machine, without SSH; it is described in local.yml beside this file."""

from ollama_fleet.inventory import load

hosts = load(__file__)
