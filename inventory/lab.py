"""The lab's hosts; they are in lab.yml beside this file, `lab up` starts them."""

from ollama_fleet.inventory import load

hosts = load(__file__)
