"""The script that carries a decision out: settings on top, functions of templates/driver below.

Pure text. The functions are plain shell files, so that they can be read, and checked, as shell.
"""

import shlex
from collections.abc import Sequence
from functools import lru_cache

from ollama_fleet.catalogue.distribution import Distribution, fill
from ollama_fleet.driver import files
from ollama_fleet.driver.decision import Decision, is_managed
from ollama_fleet.driver.flavour import version_key
from ollama_fleet.driver.serving import back_in_service, serving_rows, slice_functions
from ollama_fleet.driver.state import State
from ollama_fleet.driver.target import Target, distribution_of
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.templating import TEMPLATES, HostFile

# A large model comes from a slow disk; after that it is no driver that works.
LOAD_TIMEOUT_S = 600
LOCK_PACKAGE = "python3-dnf-plugin-versionlock"


def steps_of(decision: Decision, plan: HostPlan, state: State) -> list[str]:
    """Steps of the change script for a decision that changes something."""
    return [*_functions_of(decision, plan, state), _entry(decision), *back_in_service(plan, state)]


def steps_back(plan: HostPlan, state: State) -> list[str]:
    """Steps of a script that goes back from a driver which a boot brought into use; it ends in a failure
    that says so. `state.kept` says that there is a way."""
    version = state.on_disk or state.library or state.loaded or "0"
    flavour = state.disk_flavour or state.loaded_flavour or "open"
    decision = Decision(
        "upgrade",
        target=Target(version_key(version)[0], version, flavour),
        distribution=distribution_of(state),
        packages=True,
        fabric=state.switches,
    )
    return [*_functions_of(decision, plan, state), "back_after_boot"]


def forget_before() -> str:
    """A step for a driver that a boot brought into use, and that works."""
    return f"rm -rf {files.KEPT}"


def _functions_of(decision: Decision, plan: HostPlan, state: State) -> list[str]:
    """Everything that the script is made of but what it does."""
    assert decision.target
    distribution = decision.distribution
    libraries = ["common.sh", "running.sh"]
    if distribution:
        libraries += [f"{distribution.packager}.sh", "enroll.sh"]
    work = _packages_of(decision.target, distribution, state) if distribution else []
    serving = serving_rows(plan) if _unloads(decision) else ""
    return [
        _variables(decision, plan, state),
        *(map(_library, [*libraries, "change.sh"])),
        *work,
        _heredoc("serving", serving),
        _functions(plan, state, decision),
    ]


def _entry(decision: Decision) -> str:
    if decision.packages:
        return "whole"
    if decision.fabric:
        both = decision.action == "reload"
        return "only_fabric\nreload" if both else "only_fabric"
    return "reload"


def _unloads(decision: Decision) -> bool:
    return decision.action in ("upgrade", "reload")


def _variables(decision: Decision, plan: HostPlan, state: State) -> str:
    """Everything that the functions need to know, as shell assignments."""
    assert decision.target
    request = plan.provision
    values = {
        "VERSION": decision.target.version or "",
        "BRANCH": decision.target.branch,
        "FLAVOUR": decision.target.flavour,
        "SIGNED": _word(decision.target.signed),
        "UPGRADE": _word(decision.action == "upgrade" and not decision.replace),
        "REPLACE": _word(decision.replace),
        "UNLOAD": _word(_unloads(decision)),
        "MANAGED": _word(is_managed(state)),
        "FABRIC": _word(decision.fabric),
        "ENROLL": _word(decision.enroll),
        # Taken as allowed only where nobody has to be asked first.
        "MAY_REBOOT": _word((request.reboot or ("never" if state.slices else "auto")) == "auto"),
        "GPUS": len(state.gpu_ids),
        "LOAD_TIMEOUT": LOAD_TIMEOUT_S,
        "BLACKLIST": files.BLACKLIST,
        "PERSISTENCE": files.PERSISTENCE,
        "KEPT": files.KEPT,
        "BRIDGES": " ".join(files.bridges_of(state.gpu_ids)),
        "STALE": " ".join(state.stale_lists),
    }
    if decision.distribution:
        values |= _of_distribution(decision, decision.distribution, plan, state)
    return "\n".join(f"{name}={shlex.quote(str(value))}" for name, value in values.items())


def _of_distribution(
    decision: Decision, distribution: Distribution, plan: HostPlan, state: State
) -> dict[str, object]:
    request = plan.provision.driver
    is_apt = distribution.packager == "apt"
    usual = "" if request.key else distribution.key_fingerprint  # a key of theirs needs none
    fingerprint = request.key_fingerprint or usual or ""
    assert decision.target
    words = {"branch": decision.target.branch}
    dkms = distribution.dkms_from
    stream = distribution.pin_streams.get(decision.target.flavour, "") if decision.packages else ""
    next_kernel = _headers_of_next(distribution, state)
    unversioned = distribution.fabric.unversioned if decision.fabric and state.nvlink5 else ()
    return {
        "DISTRIBUTION": distribution.name,
        "REPOSITORY": distribution.repository_url(request.repository, state.machine),
        "KEY_FILE": distribution.key_file,
        "KEY": request.key or "",
        "FINGERPRINT": fingerprint.upper(),
        "KEY_PATH": files.key_path(distribution.packager),
        "SOURCE": files.APT_SOURCE if is_apt else files.DNF_SOURCE,
        "SOURCE_ID": files.DNF_ID,
        "PIN": files.PREFERENCES,
        "PIN_PACKAGE": distribution.pin_package or "",
        "STREAM": fill(stream, **words),
        "LOCKS": files.LOCKS,
        "LOCK_PACKAGE": LOCK_PACKAGE,
        # A stream is of one branch, and chosen before it can be seen what it has.
        "BRANCH_ELSE": "" if stream else decision.target.otherwise or "",
        "TOOLS": " ".join(distribution.tools),
        "DKMS_RELEASE": (dkms.release if dkms else "") or "",
        "BUILDER": dkms.builder if dkms else "",
        "HEADERS": "\n".join(distribution.headers_of_one).replace("$kernel", "%s"),
        "HEADERS_NEXT": " ".join(next_kernel),
        "KERNEL": _kernel_kind(distribution, state) or "kernel",
        "INITRAMFS": distribution.initramfs,
        "MOK": distribution.mok,
        "OPTIONAL": " ".join(fill(name, **words) for name in distribution.optional),
        "FABRIC_OPTIONAL": " ".join(fill(name, **words) for name in distribution.fabric.optional),
        "FABRIC_UNVERSIONED": " ".join(unversioned),
    }


def _kernel_metas(state: State) -> list[str]:
    """Kinds of kernels that the host follows: 'generic', 'generic-hwe-24.04', 'amd64'."""
    names = [name.removeprefix("linux-image-") for name in state.images]
    return [name for name in names if not name[:1].isdigit() and "unsigned" not in name]


def _kernel_kind(distribution: Distribution, state: State) -> str | None:
    """Name of the kind of kernel that runs, where that is not the usual one."""
    return distribution.kernel_kinds.get(state.kernel.rpartition("+")[2])


def _headers_of_next(distribution: Distribution, state: State) -> list[str]:
    kind = _kernel_kind(distribution, state)
    usual = f"{kind}-devel" if kind else distribution.headers_of_next[state.machine]
    return [f"linux-headers-{meta}" for meta in _kernel_metas(state)] or [usual]


def _packages_of(target: Target, distribution: Distribution, state: State) -> list[str]:
    metas = _kernel_metas(state) or ["generic"]
    sets = distribution.sets[target.flavour]
    if target.signed:
        names = distribution.signed[target.flavour][::-1]
        # For all kinds of kernels that the host follows, or at least for one.
        sets = (_of_kinds(names, metas), *(_of_kinds(names, [meta]) for meta in metas))
    return [
        _heredoc(name, "\n".join(fill(" ".join(row), branch=target.branch) for row in rows))
        for name, rows in (("sets", sets), ("fabric-sets", distribution.fabric.sets))
    ]


def _of_kinds(names: Sequence[str], metas: Sequence[str]) -> tuple[str, ...]:
    """Packages of signed modules for kernels of these kinds; its version is the user space's, which
    comes first: that of a module package is the kernel's."""
    return tuple(dict.fromkeys(fill(name, kernel_meta=meta) for name in names for meta in metas))


def _heredoc(name: str, text: str) -> str:
    return f"cat >\"$work/{name}\" <<'END'\n{text}\nEND"


def _functions(plan: HostPlan, state: State, decision: Decision) -> str:
    """What the plan and the state write into functions."""
    written, forgotten = ["write_settings() {", ":"], ""
    source = [":"]
    if decision.distribution:
        packager = decision.distribution.packager
        written += map(_put, files.settings(packager, state.gpu_ids))
        forgotten = " ".join(file.path for file in files.settings(packager, state.gpu_ids))
        url = decision.distribution.repository_url(plan.provision.driver.repository, state.machine)
        source.append(_put(files.source(packager, url)))
    return "\n".join(
        [
            *slice_functions(plan, state),
            "\n".join([*written, "}"]),
            f"forget_settings() {{\nrm -f {forgotten}\n}}",
            "\n".join(["write_source() {", *source, "}"]),
        ]
    )


def _put(file: HostFile) -> str:
    """Written only where it differs: a settings file that is touched rebuilds the initramfs."""
    digest = files.digest(file)
    path = shlex.quote(file.path)
    text = shlex.quote(file.text)
    return (
        f'[ "$(sha256sum {path} 2>/dev/null | cut -c 1-64)" = {digest} ] || '
        f"{{ printf %s {text} | base64 | put {path} {file.mode}; }}"
    )


def _word(value: bool) -> str:
    return "yes" if value else "no"


@lru_cache
def _library(name: str) -> str:
    return (TEMPLATES / "driver" / name).read_text(encoding="utf-8")
