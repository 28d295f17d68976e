"""Containers see the GPUs: NVIDIA's container toolkit for Docker, containerd and Podman.

state        questions to a host, and its answers as `ContainerState`
decision     what has to change on it
problems     what keeps a deploy away, and advice
packages     the repository, its key, four packages of one version, and their pin
sources      other sources of these packages, taken out of use
daemon_json  Docker's daemon.json, merged
containerd   a runtime in containerd's config.toml
docker       how a running Docker takes a new configuration without stopping containers
cdi          the CDI specification: made, refreshed, of a version that the runtimes read
protect      running containers keep their GPUs when systemd is reloaded
probe        a container that lists the GPUs, of an image that needs no registry

Pure: text in, text and shell out. Knows no pyinfra.
"""
