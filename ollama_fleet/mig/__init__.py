"""MIG: how GPUs are cut into instances, on paper and on a host.

`instances` reads what a host has, `parted` reads and writes mig-parted's files, `layout` is what the
host's own script is told, `decision` says what a deploy has to do, `problems` what cannot be done,
`script` the shell of a change. Pure: asks nothing, knows no pyinfra.
"""
