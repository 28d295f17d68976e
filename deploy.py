"""From bare Linux GPU hosts to verified Ollama slices: the table of contents.

pyinfra inventory/prod.py deploy.py            show what would change, ask, do it
pyinfra inventory/prod.py deploy.py --dry      only show (with --diff: every file)
pyinfra inventory/prod.py deploy.py -y         do it without asking, as in CI
"""

from pyinfra import host

from ollama_fleet.host.session import begin, keys_alone, own_firewall, own_monitor
from tasks.container_toolkit import container_toolkit, protect_containers
from tasks.driver import install_driver
from tasks.firewall import guard_machine, guard_ports
from tasks.gateway import forget_gateway, open_hop, prove_gateway, run_gateway, wait_for_hosts
from tasks.metrics import show_gateway_metrics, show_metrics
from tasks.mig import partition_gpus
from tasks.mirrors import run_mirror
from tasks.models import fetch_models, start_downloads
from tasks.monitor import forget_monitor, prove_monitor, run_monitor
from tasks.ollama import install_ollama, remove_old_ollama
from tasks.preflight import match_gpus, preflight
from tasks.removal import remove_everything
from tasks.slices import run_slices
from tasks.verify import verify
from tasks.warm import warm_slices
from tasks.watching import watch_slices

mirror, gateway, plan = begin(host)
monitor = own_monitor(host)
# pyinfra does each step on all machines before the next: mirrors serve when hosts begin to fetch.
if mirror:
    run_mirror(mirror)
if firewall := own_firewall(host, plan):
    guard_machine(firewall)
# Slices that go get nothing new before they do.
if gateway:
    run_gateway(gateway)
    show_gateway_metrics()
if monitor:
    run_monitor(monitor)
if plan:
    remove_everything(plan)  # where `state: absent`; all other steps are for the rest
    preflight(plan)
    # Downloads run on the host by themselves; whoever needs one waits for it.
    start_downloads(plan)
    guard_ports(plan)
    protect_containers(plan)
    install_driver(plan)
    match_gpus(plan)
    container_toolkit(plan)
    install_ollama(plan)
    open_hop(plan)
    # Slices may stop for it: all that can fail elsewhere comes before, and their start right after.
    partition_gpus(plan)
    run_slices(plan)
    watch_slices(plan)
    forget_gateway(plan)
    forget_monitor(plan)
    fetch_models(plan)
    warm_slices(plan)
    show_metrics(plan)
    verify(plan)
    remove_old_ollama(plan)
if gateway or monitor or (plan and (plan.hop or plan.monitoring)):
    wait_for_hosts()
if gateway and not keys_alone(host):
    prove_gateway(gateway)
if monitor:
    prove_monitor(monitor)
