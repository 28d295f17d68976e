"""A ranking for people: each place with its points term by term, and what is out of reach."""

from ollama_fleet.recommend import Place, Ranking, Wish, behind
from ollama_fleet.report.console import console, new_table, plain, tokens


def print_ranking(ranking: Ranking, top: int, refused: int) -> None:
    """The first places, why each is where it is, and the best models that cannot serve."""
    table = new_table(
        _title(ranking.wish),
        **{"": "right", "model": "left", "points": "right", "GPUs": "right", "tokens/s": "right"},
        context="right",
        why="fold",
    )
    first = ranking.places[0]
    for number, place in enumerate(ranking.places[:top], start=1):
        table.add_row(
            str(number),
            plain(place.model.tag),
            f"{place.points:.1f}",
            f"{place.room.gpus}",
            f"{place.speed.tokens_per_s:.0f}",
            tokens(place.largest_context),
            _terms(place) if place is first else plain(behind(place, first)),
        )
        table.add_section()
    screen = console()
    screen.print(table)
    screen.print(_first(first, ranking.wish))
    left = len(ranking.places) - top
    if left > 0:
        screen.print(f"{left} more fit (--top shows them)")
    for one in ranking.refused[:refused]:
        screen.print(plain(f"out of reach: {one.model.tag}: {one.why}"))


def _title(wish: Wish) -> str:
    many = f"{wish.gpus} × " if wish.gpus > 1 else ""
    stage = f", stage {wish.stage}" if wish.stage else ""
    requests = f"{wish.parallel} requests" if wish.parallel > 1 else "one request"
    return plain(
        f"{wish.task} on {many}{wish.gpu.name}, for {wish.prefer}{stage}: "
        f"{wish.context} tokens × {requests}, "
        f"{wish.preference.comfortable_tokens_per_s:.0f} tokens/s are enough"
    )


def _terms(place: Place) -> str:
    return plain("; ".join(f"{term.name} {term.points:+.1f} ({term.why})" for term in place.terms))


def _first(place: Place, wish: Wish) -> str:
    need = f"{place.kept_mib:,.0f} of {place.room.usable_mib:,} MiB"
    each = " on each GPU" if place.room.gpus > 1 else ""
    copies = f"; {place.copies} copies on {wish.gpus} GPUs" if place.copies > 1 else ""
    tag, cache = place.model.tag, place.estimate.kv_cache
    return plain(f"{tag} takes {need}{each} with margin, {cache} cache{copies}")
