"""The gateway on its machines: nginx in front, the balancer behind it, and each host's part.

Rendering, what is asked, and the scripts that put it into force. Imports planner, questions and
templating, never pyinfra.
"""
