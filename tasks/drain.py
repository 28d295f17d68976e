"""`fleet drain` and `fleet undrain`: a deploy of its own, which changes nothing but marks on hosts.

pyinfra inventory/prod.py tasks/drain.py --limit gpu01 --data drain_verb=look
"""

from pyinfra import host

from ollama_fleet.host.drain import report_to, slices_marked

plan = host.data.get("plan")
if plan:
    report_to(str(host.data.get("drain_report") or "/dev/stdout"))
    slices_marked(
        name="Slices out of service",
        plan=plan,
        slices=str(host.data.get("drain_slices") or "").split(),
        verb=host.data.get("drain_verb") or "look",
        reason=str(host.data.get("drain_reason") or ""),
        wait_s=int(host.data.get("drain_wait_s") or 0),
    )
