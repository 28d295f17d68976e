"""What a host says it has: text of nvidia-smi, PCI and /proc becomes `Hardware`; `instances` are how its GPUs
are cut. Pure."""
