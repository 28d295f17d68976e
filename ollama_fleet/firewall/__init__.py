"""The firewall of one machine: its rules as text, what is asked of it, and the shell that brings the
rules into force without ever locking anybody out.

- `rules`   the ruleset of nftables, and the unit that loads it
- `state`   what is asked, and the answers as one value
- `change`  what keeps it from a machine, and the steps: try, keep or take back, remove

Imports planner, catalogue and templating, never pyinfra.
"""
