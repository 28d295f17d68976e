"""The NVIDIA driver of a host, pure: which flavour, what is there, what has to be done, as shell.

`flavour` PCI ids to kernel-module flavour · `questions`, `state` what a host is asked and said ·
`decision` what follows from it · `problems` what keeps it from being done · `reboot` whether and why ·
`files` what we put on a host · `change` the script that does it (its functions are templates/driver).
"""
