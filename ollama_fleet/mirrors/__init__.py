"""A mirror on its machine: what is asked of it, which nginx configuration it gets, and the script that
puts that into force.

Imports planner, catalogue and templating, never pyinfra.
"""
