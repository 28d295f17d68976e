"""The lab's hosts; they are in lab.yml beside this file, `lab up` starts them."""

from ollama_fleet.inventory import gateways_among, load, mirrors_among, monitoring_among

hosts = load(__file__)
mirrors = mirrors_among(hosts)
gateways = gateways_among(hosts)
monitoring = monitoring_among(hosts)
