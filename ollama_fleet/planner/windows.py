"""Which free GPUs of a host a slice takes: neighbours together, and room for others kept whole.

GPUs are bits of a number, bit 3 being the GPU of position 3. Pure; imports nothing of ours.
"""

from functools import lru_cache

Groups = tuple[int, ...]


def bits(mask: int) -> tuple[int, ...]:
    """Positions of the bits that are set."""
    return tuple(position for position in range(mask.bit_length()) if mask >> position & 1)


@lru_cache(maxsize=100_000)
def choose(free: int, gpus: int, groups: Groups = ()) -> tuple[int, ...] | None:
    """`gpus` of the `free` GPUs, all alike; None when there are fewer.

    One GPU comes out of the most broken group, so that pairs and fours stay whole. Several come out
    of one of `groups` (joined by NVLink, or on one NUMA node), else they are adjacent, else as near
    to each other as possible.
    """
    if free.bit_count() < gpus:
        return None
    if gpus == 1:
        return (min(bits(free), key=lambda position: (_room(free, position, groups), position)),)
    within = [bits(free & group) for group in groups if (free & group).bit_count() >= gpus]
    candidates = [_densest(found, gpus) for found in within] or [_densest(bits(free), gpus)]
    return min(candidates, key=lambda found: (_leftover(free, found, groups), found))


def _room(free: int, position: int, groups: Groups) -> int:
    """Size of the largest whole group of free GPUs that taking this one would break."""
    mine = [group for group in groups or _aligned(free) if group >> position & 1]
    return max((group.bit_count() for group in mine if group & free == group), default=0)


def _aligned(free: int) -> Groups:
    """Without any knowledge: pairs, fours and eights of adjacent positions, as boards have them."""
    top = free.bit_length()
    sizes = [size for size in (2, 4, 8, 16) if size < 2 * top]
    return tuple(((1 << size) - 1) << start for size in sizes for start in range(0, top, size))


def _densest(found: tuple[int, ...], gpus: int) -> tuple[int, ...]:
    """The run of positions with the smallest span, aligned to its own length where possible."""
    runs = [found[start : start + gpus] for start in range(len(found) - gpus + 1)]
    return min(runs, key=lambda run: (run[-1] - run[0], run[0] % gpus != 0, run[0]))


def _leftover(free: int, found: tuple[int, ...], groups: Groups) -> int:
    """Free GPUs that stay behind in the group; the tightest group is the best."""
    taken = sum(1 << position for position in found)
    around = [group for group in groups if group & taken == taken]
    return min(((group & free).bit_count() for group in around), default=0)
