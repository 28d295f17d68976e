"""The seam to pyinfra: besides `tasks` this is all that imports it.

One module per concern, each with one fact (one exec) and one operation (at most one script):

- `session`    the start of a run on a host: connection, plan, recorder
- `transport`  the SSH connection itself
- `answers`    facts made of questions
- `scripts`    shell that changes a host: prelude, files, how it runs
- `claims`     what this run says of itself on a host, and who else is at work there
- `steps`      which hosts a step concerns: those to be present, or those to be absent
- `requirements`, `release`, `units`, `models`, `verification`, `removal`   the concerns
"""
