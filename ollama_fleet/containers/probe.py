"""A container that lists the GPUs, of an image that needs no registry: the host's own C library.

The toolkit puts nvidia-smi and the driver's libraries into any container; the image only has to hold
what those are linked to.
"""

IMAGE = "ollama-fleet/probe"
# A host's way to name a local image in Podman, which would ask registries for a short name.
PODMAN_IMAGE = f"localhost/{IMAGE}"

_TREE = """
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/etc" "$tree/tmp" "$tree/usr/bin" "$tree/proc" "$tree/sys" "$tree/dev"
libraries=$(ldconfig -p | awk '
    $1 ~ /^(libc\\.so\\.6|libm\\.so\\.6|libdl\\.so\\.2|libpthread\\.so\\.0|librt\\.so\\.1)$/ { print $NF }')
for file in /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*') $libraries; do
    [ ! -e "$file" ] || cp --parents -L "$file" "$tree"
done
"""


def image_step(command: str) -> str:
    """Shell that makes the image with `command` (docker, podman)."""
    name = PODMAN_IMAGE if command == "podman" else IMAGE
    body = f'{_TREE}\ntar -C "$tree" -c . | {command} import - {name} >/dev/null'
    return f"(\n{body}\n) || fail 'cannot make the image {name} for the GPU check'"


def image_question(command: str) -> str:
    """Shell whose exit code says whether the image is there."""
    name = PODMAN_IMAGE if command == "podman" else IMAGE
    return f"{command} image inspect {name} >/dev/null 2>&1"


def docker_question() -> str:
    """Shell that prints what nvidia-smi lists in a Docker container, or why it does not."""
    return (
        "timeout 90 docker run --rm --pull never --network none --security-opt label=disable "
        "--runtime nvidia -e NVIDIA_VISIBLE_DEVICES=all -e NVIDIA_DRIVER_CAPABILITIES=utility "
        f"{IMAGE} nvidia-smi -L"
    )


def podman_question() -> str:
    """The same in a Podman container, which gets its GPUs by CDI."""
    return (
        "timeout 90 podman run --rm --pull never --network none --security-opt label=disable "
        f"--device nvidia.com/gpu=all {PODMAN_IMAGE} nvidia-smi -L"
    )
