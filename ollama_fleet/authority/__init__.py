"""Certificates: who signs them, what each machine needs, and whether what it has will do.

- folder: the fleet's own authority, in a folder beside the inventory
- rotation: another authority in its place, without an hour in which machines do not trust each other
- leaf: what a certificate says, and its signing
- places: which certificates a machine needs, and in which files
- state: what a machine has, and why that will not do
- script: the shell that makes keys there and puts certificates in force
- given: a certificate and its key out of files of the user's
- acme: certbot, and what it needs

Private keys of machines are made on them and never leave them. Imports the planner's values, questions
and problems.
"""
