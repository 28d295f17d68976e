"""The rules of a whole fleet: what it names exists, and its wishes agree with its hosts.

Each rule raises `rule_broken` with the place at fault. Imports what is known and the other rules.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

from ollama_fleet import catalogue
from ollama_fleet.spec.custom_rules import ABSENT, custom_rules
from ollama_fleet.spec.known import (
    Known,
    Place,
    all_wishes,
    cards_of,
    full_model_name,
    is_gpu,
    known_to,
    layout_error,
    spell,
)
from ollama_fleet.spec.nvidia_rules import fleet_nvidia_rules
from ollama_fleet.spec.ollama import fleet_ollama_rules
from ollama_fleet.spec.rules import rule_broken
from ollama_fleet.spec.warm_rules import one_default_rule

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet, HostSpec
    from ollama_fleet.spec.servers import ServerSpec, WishSpec

# What wishes that share a GPU, and so a server and its hosts, must say alike.
POOL_SETTINGS = (
    *("context", "parallel", "kv_cache", "keep_alive", "flash_attention", "env", "env_file"),
    *("hosts", "gpu", "mig"),
)


def fleet_rules(fleet: "Fleet") -> None:
    """Check a fleet against the catalogue, and its wishes against its hosts."""
    known = known_to(fleet)
    for rule in (
        custom_rules,
        _gpus_known,
        _slices_known,
        _mig_fits,
        _wishes_known,
        _titles_differ,
        _pools_agree,
    ):
        for error in rule(fleet, known):
            raise error
    for error in (*fleet_nvidia_rules(fleet), *fleet_ollama_rules(fleet)):
        raise error
    one_default_rule(fleet)


def _gpus_known(fleet: "Fleet", known: Known) -> Iterator[PydanticCustomError]:
    for name, host in fleet.hosts.items():
        for index, gpu in enumerate(host.gpus or ()):
            try:
                known.gpu(gpu.model)
            except catalogue.UnknownGpu as error:
                what = f"{error}; or describe it under `catalogue: {{gpus: [...]}}`"
                yield rule_broken(("hosts", name, "gpus", index, "model"), what)


def _slices_known(fleet: "Fleet", known: Known) -> Iterator[PydanticCustomError]:
    """A slice may name models that only its registry knows, but none that is known not to exist."""
    for name, host in fleet.hosts.items():
        for index, item in enumerate(host.slices):
            at = ("hosts", name, "slices", index)
            models = []
            for position, tag in enumerate(item.models):
                try:
                    models.append(known.model(tag))
                except catalogue.UnknownModel as error:
                    what = str(error) if str(error).startswith(ABSENT) else _untagged(tag, error)
                    if what and not (item.allow_overcommit and ABSENT not in what):
                        yield rule_broken((*at, "models", position), what)
            if len(models) == len(item.models):
                yield from _context_rule(at, item, models)


def _untagged(tag: str, error: catalogue.UnknownModel) -> str:
    """A family without a tag is whatever the library calls latest today, of a size that nobody checks."""
    family = tag.removesuffix(":latest")
    same = [name for name in error.nearest if name.partition(":")[0] == family]
    if ":" in family or not same:
        return ""
    return f"'{tag}' is no size that can be checked; name one: {', '.join(same)}"


def _wishes_known(fleet: "Fleet", known: Known) -> Iterator[PydanticCustomError]:
    for at, wish, hosts in all_wishes(fleet):
        models = []
        for position, tag in enumerate(wish.all_models):
            try:
                models.append(known.model(tag))
            except catalogue.UnknownModel as error:
                key: Place = ("model",) if wish.model == tag else ("models", position)
                what = f"{error}; or describe it under `catalogue: {{models: [...]}}`"
                yield rule_broken((*at, *key), what)
        yield from _context_rule(at, wish, models)
        if not hosts:
            has = ", ".join(list(fleet.hosts)[:10])
            yield rule_broken((*at, "hosts"), f"{wish.hosts} is no host here; there are {has}")
        if wish.gpu or isinstance(wish.mig, str):
            yield from _cards_rule(at, wish, [fleet.hosts[name] for name in hosts], known)


def _context_rule(
    at: Place, spec: "ServerSpec", models: Sequence[catalogue.Model]
) -> Iterator[PydanticCustomError]:
    longest = max(models, key=lambda model: model.max_context, default=None)
    if longest and "context" in spec.model_fields_set and spec.context > longest.max_context:
        most = longest.max_context
        what = f"{spec.context} tokens are beyond {longest.tag}'s {most}; write {most} or less"
        yield rule_broken((*at, "context"), what)


def _cards_rule(
    at: Place, wish: "WishSpec", hosts: Sequence["HostSpec"], known: Known
) -> Iterator[PydanticCustomError]:
    """The wished card and profile exist, and a host that may be chosen has them."""
    try:
        wanted = wish.gpu and known.gpu(wish.gpu)
    except catalogue.UnknownGpu as error:
        yield rule_broken((*at, "gpu"), str(error))
        return
    cards = [card for host in hosts for card in cards_of(host, known)]
    if wanted and cards and not any(is_gpu(card, wish.gpu or "", known) for card in cards):
        names = ", ".join(dict.fromkeys(card.name for card in cards))
        yield rule_broken((*at, "gpu"), f"no host here has a {wish.gpu}; they have {names}")
    if isinstance(wish.mig, str):
        yield from _profile_rule((*at, "mig"), wish.mig, hosts, known)


def _profile_rule(
    at: Place, profile: str, hosts: Sequence["HostSpec"], known: Known
) -> Iterator[PydanticCustomError]:
    cut = {
        card.name: card
        for host in hosts
        for card, index in zip(cards_of(host, known), range(256), strict=False)
        # What a file of mig-parted says is known when it has become `mig`; then this is asked again.
        if host.mig_parted or any(index in mig.gpus for mig in host.mig)
    }
    if not cut:
        what = "no host cuts a GPU into instances; add `mig: [{gpus: [0]}]` to one whose card can"
        yield rule_broken(at, what)
    missing = [_profile_error(card, profile) for card in cut.values()]
    if cut and all(missing):
        yield rule_broken(at, "; ".join(error for error in missing if error))


def _profile_error(card: catalogue.Gpu, profile: str) -> str | None:
    try:
        card.mig_profile(profile)
    except LookupError as error:
        return str(error)
    return None


def _mig_fits(fleet: "Fleet", known: Known) -> Iterator[PydanticCustomError]:
    for name, host in fleet.hosts.items():
        cards = cards_of(host, known)
        for index, mig in enumerate(host.mig):
            at = ("hosts", name, "mig", index)
            if not cards:
                what = "say with `gpus:` which GPUs the host has; instances depend on the card"
                yield rule_broken(at, what)
                return
            for card in {cards[gpu].name: cards[gpu] for gpu in mig.gpus}.values():
                yield from _layout_rule(at, card, mig.profiles)


def _layout_rule(
    at: Place, card: catalogue.Gpu, profiles: str | list[str]
) -> Iterator[PydanticCustomError]:
    names = [] if isinstance(profiles, str) else profiles
    if not card.mig_profiles:
        yield rule_broken((*at, "gpus"), f"{card.name} cannot be cut into MIG instances")
        return
    for position, profile in enumerate(names):
        if error := _profile_error(card, profile):
            yield rule_broken((*at, "profiles", position), error)
            return
    if error := layout_error(card, names):
        yield rule_broken((*at, "profiles"), error)


def _titles_differ(fleet: "Fleet", known: Known) -> Iterator[PydanticCustomError]:
    seen: dict[str, list[tuple[Place, list[str]]]] = {}
    for at, wish, hosts in all_wishes(fleet):
        for other, their_hosts in seen.get(wish.title, ()):
            if other[0] == at[0] == "wishes" or set(hosts) & set(their_hosts):
                what = f"'{wish.title}' is the name of {spell(other)} too; name one otherwise"
                yield rule_broken((*at, "name"), what)
        seen.setdefault(wish.title, []).append((at, hosts))
    yield from _pool_names_differ(fleet)


def _pool_names_differ(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    """Slices are named after pools and wishes alike, and are known again by their names."""
    wishes = list(all_wishes(fleet))
    titles = {wish.title for _, wish, _ in wishes if not wish.pool}
    scopes: dict[str, Place] = {}
    for at, wish, _ in wishes:
        if wish.pool is None:
            continue
        if wish.pool in titles:
            yield rule_broken((*at, "pool"), f"'{wish.pool}' is the name of a wish too; rename one")
        if scopes.setdefault(wish.pool, at[:-1]) != at[:-1]:
            host = scopes[wish.pool][1:2]
            where = f"host {host[0]}'s" if host else "the fleet's"
            what = f"pool '{wish.pool}' is written at {where} wishes too; rename one"
            yield rule_broken((*at, "pool"), what)


def _pools_agree(fleet: "Fleet", known: Known) -> Iterator[PydanticCustomError]:
    """One pool is one kind of server; two models of it differ, as a server has each once."""
    first: dict[tuple[Place, str], tuple[Place, WishSpec]] = {}
    models: dict[tuple[Place, str, str], Place] = {}
    for at, wish, _ in all_wishes(fleet):
        if not wish.pool:
            continue
        scope = at[:-1]
        start, leader = first.setdefault((scope, wish.pool), (at, wish))
        for key in POOL_SETTINGS:
            if getattr(wish, key) != getattr(leader, key):
                what = f"differs from {spell(start)}, which is in pool '{wish.pool}' too"
                yield rule_broken((*at, key), f"{what}; a slice has one setting")
        for tag in wish.all_models:
            other = models.setdefault((scope, wish.pool, full_model_name(tag)), at)
            if other != at:
                what = f"{tag} is in {spell(other)} of the same pool; write `replicas:` there"
                yield rule_broken(at, what)
