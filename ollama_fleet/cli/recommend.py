"""`fleet recommend`: which model for which task on some GPUs."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ollama_fleet.cli.ending import (
    REFUSED,
    BadOptionError,
    JsonOption,
    answering,
    fail,
    print_json,
)

if TYPE_CHECKING:
    from ollama_fleet.recommend import Place, Ranking, Wish

SHOWN_REFUSED = 5


GpuOption = Annotated[str, typer.Option(help="GPU by name, such as 'RTX 3090'; see `fleet gpus`.")]
TaskOption = Annotated[
    Literal["chinese", "code", "reasoning", "chat", "translation", "long-documents"],
    typer.Option(help="What the model shall do."),
]
GpusOption = Annotated[int, typer.Option(help="How many equal GPUs there are.")]
PreferOption = Annotated[
    Literal["speed", "quality", "balance"] | None,
    typer.Option(help="What counts more; default: what the stage stands for, else balance."),
]
StageOption = Annotated[
    Literal["prototype", "test", "production"] | None,
    typer.Option(help="prototype: speed; test: balance; production: quality, 2 requests at once."),
]
ContextOption = Annotated[
    int | None,
    typer.Option(help="Tokens per request; default: 4096, 32768 for long documents."),
]
TopOption = Annotated[int, typer.Option(help="How many places to show.")]


def recommend(
    gpu: GpuOption,
    task: TaskOption,
    gpus: GpusOption = 1,
    prefer: PreferOption = None,
    stage: StageOption = None,
    context: ContextOption = None,
    top: TopOption = 8,
    json: JsonOption = False,
) -> None:
    """Rank the models that serve a task on given GPUs, with the reasons for each place.

    Computed from the catalogue: what fits, how fast, how large, how new; docs/recommend.md says how.
    Exit code 3 when no model for the task fits.

    JSON: wish; places, a list with place, model, points, terms (name, points, why), behind, gpus,
    copies, kv_cache, kept_mib, available_mib, tokens_per_s and largest_context; refused, a list
    with model and why.
    """
    with answering(json):
        from ollama_fleet.catalogue import find_gpu
        from ollama_fleet.recommend import make_wish
        from ollama_fleet.recommend import recommend as ranked

        if top < 1:
            raise BadOptionError(f"--top is 1 or more, not {top}")
        card = find_gpu(gpu)
        wish = make_wish(card, task, gpus=gpus, prefer=prefer, stage=stage, context=context)
        ranking = ranked(wish)
        _answer(ranking, top, json)
    if not ranking.places:
        raise typer.Exit(REFUSED)


def _answer(ranking: "Ranking", top: int, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(ranking, top))
    elif ranking.places:
        from ollama_fleet.report.ranking_table import print_ranking

        print_ranking(ranking, top, SHOWN_REFUSED)
    else:
        lines = [f"no model for {ranking.wish.task} fits; the nearest:"]
        nearest = sorted(ranking.refused, key=lambda one: one.model.weight_bytes)[:SHOWN_REFUSED]
        lines += [f"  {one.model.tag}: {one.why}" for one in nearest]
        raise fail("\n".join(lines), REFUSED, as_json)


def _as_json(ranking: "Ranking", top: int) -> dict[str, Any]:
    shown = ranking.places[:top]
    return {
        "wish": _wish(ranking.wish),
        "places": [
            {"place": place, **_place(one, shown[0])} for place, one in enumerate(shown, start=1)
        ],
        "refused": [{"model": one.model.tag, "why": one.why} for one in ranking.refused],
    }


def _wish(wish: "Wish") -> dict[str, Any]:
    return {
        "gpu": wish.gpu.name,
        "gpus": wish.gpus,
        "task": wish.task,
        "prefer": wish.prefer,
        "stage": wish.stage,
        "context": wish.context,
        "parallel": wish.parallel,
        "comfortable_tokens_per_s": wish.preference.comfortable_tokens_per_s,
    }


def _place(place: "Place", first: "Place") -> dict[str, Any]:
    from ollama_fleet.recommend import behind

    return {
        "model": place.model.tag,
        "points": round(place.points, 2),
        "terms": [
            {"name": term.name, "points": round(term.points, 2), "why": term.why}
            for term in place.terms
        ],
        "behind": None if place is first else behind(place, first),
        "gpus": place.room.gpus,
        "copies": place.copies,
        "kv_cache": place.estimate.kv_cache,
        "kept_mib": round(place.kept_mib, 1),
        "available_mib": place.room.usable_mib,
        "tokens_per_s": round(place.speed.tokens_per_s, 1),
        "largest_context": place.largest_context,
    }
