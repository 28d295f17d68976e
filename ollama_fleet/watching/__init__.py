"""The watch over a host's slices: one prober on every host, and the watchdog that repairs.

- `places`    where everything of it lies, by name
- `health`    the prober: asks each slice for a token, and marks those that do not serve
- `watchdog`  the ladder: unload, restart, reset the GPU, quarantine
- `quarantine` slices that are out of service because nothing has helped

Gateways, the watchdog, checks and metrics read the prober's marks; nothing else asks slices for it.
Pure: knows no pyinfra.
"""
