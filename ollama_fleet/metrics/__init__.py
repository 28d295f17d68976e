"""What machines show to monitors: the metrics, the programs that gather them, and the door before them.

Rendering, what is asked, and the scripts that put it into force. Imports planner, gateway, questions and
templating, never pyinfra.
"""
