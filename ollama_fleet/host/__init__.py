"""The seam to pyinfra: besides `tasks` this is all that imports it.

One module per concern, each with one fact (one exec) and one operation (at most one script):

- `session`    the start of a run on a host: connection, plan, recorder
- `transport`  the SSH connection itself
- `answers`    facts made of questions
- `scripts`    shell that changes a host: prelude, files, how it runs
- `requirements`, `release`, `units`, `models`, `verification`   the concerns
"""
