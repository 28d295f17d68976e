"""Everything that a fleet needs as a folder, for hosts that reach nothing else: the tree of a mirror.

`item` what is to be fetched, in parts that belong together · `wanted` what the hosts of a plan need ·
`parts` that, looked up at its sources · `models`, `release`, `driver`, `toolkit` one kind of part each ·
`repository` which packages of a repository are taken; `apt`, `dnf` read its indexes · `folder` the
bundle on the disk, what of it is there and sound · `fetch` the downloads · `checksums` its list of
sha256 · `serve` nginx on it. Imports planner, catalogue and the clients, never pyinfra.
"""
