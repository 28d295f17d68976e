"""docs/recommend.md: how the ranking counts, and where it agrees with the source guides.

Made from the ranking itself, so that the page is never older than the program.
"""

from collections.abc import Iterator

from ollama_fleet.recommend import PREFERENCES, STAGES, score
from ollama_fleet.recommend.guides import Compared, compare, questions
from ollama_fleet.recommend.wish import CONTEXTS, DEFAULT_CONTEXT


def recommend_page() -> str:
    """The whole page."""
    return "\n".join([*_rules(), "", *_tables(), "", *_comparison()])


def _rules() -> Iterator[str]:
    yield "# Recommendations"
    yield ""
    yield "Made by `fleet docs recommend`. `fleet recommend` ranks every model of the catalogue that is"
    yield "good at the task and fits; no answer is written down anywhere. One point is one doubling of a"
    yield "model's size, and the points of a place add up:"
    yield ""
    yield "| term | points |"
    yield "|---|---|"
    mixture = "for a mixture of experts of √(total × active)"
    yield f"| size | log2 of the parameters in thousand millions; {mixture} |"
    half = f"{score.POINTS_PER_HALF_YEAR:+g} for each half-year since 2023, by approximate dates"
    yield f"| generation | {half} |"
    made = f"{score.MADE_FOR_IT:+g} if it is made for the task, {score.MADE_FOR_ANOTHER:+g} if for another"
    yield f"| purpose | {made} |"
    yield f"| speed | {score.POINTS_PER_HALVING:+g} for each halving below the comfortable speed |"
    caches = ", ".join(
        f"{kind} {points:+g}" for kind, points in score.CACHE_POINTS.items() if points
    )
    yield f"| cache | where it only fits with a smaller one: {caches} |"
    context = f"{score.POINTS_PER_CONTEXT:+g} for each doubling beyond the one asked for"
    yield f"| context | in long documents, {context} |"
    yield ""
    yield "It knows no benchmark: a ranking of sizes and dates is coarse, and models within one point"
    yield "of each other are worth trying side by side. [Why these weights](decisions/ranking.md)."


def _tables() -> Iterator[str]:
    yield "| `--prefer` | comfortable | meaning |"
    yield "|---|---|---|"
    for name, preference in PREFERENCES.items():
        enough = f"{preference.comfortable_tokens_per_s:g} tokens/s"
        yield f"| {name} | {enough} | {preference.meaning} |"
    yield ""
    yield "| `--stage` | prefers | requests at once | meaning |"
    yield "|---|---|---|---|"
    for stage, rules in STAGES.items():
        yield f"| {stage} | {rules.prefer} | {rules.parallel} | {rules.meaning} |"
    yield ""
    longer = ", ".join(f"{tokens} for {task}" for task, tokens in CONTEXTS.items())
    yield f"`--context` is {DEFAULT_CONTEXT} unless said otherwise, {longer}."


def _comparison() -> Iterator[str]:
    rows = [compare(question) for question in questions()]
    first, second = (sum(row.place == place for row in rows) for place in (1, 2))
    yield "## The guides' decision tables"
    yield ""
    yield f"The guides answer {len(rows)} questions with a model. Where the ranking may choose among the"
    yield f"guides' models only, their answer is first for {first} and second for {second}. Most others lose"
    yield "to qwen3:30b alone: a mixture of experts that holds as much as a 30B model and answers as fast"
    yield "as a 3B one, so that it breaks the guides' own classes of 7B for speed, 14B for balance and 30B"
    yield "for quality. Tags that the library lacks stand as the nearest real one (qwen2:14b as"
    yield "qwen2.5:14b)."
    yield ""
    yield "| question | on | guide | its place among the guides' models | first of them | first of all |"
    yield "|---|---|---|---|---|---|"
    yield from map(_row, rows)
    yield ""
    yield "Where it differs, and why:"
    yield ""
    yield from (f"- {row.question.text}: {row.reason}" for row in rows if not row.agrees)


def _row(row: Compared) -> str:
    wish = row.question.wish
    card = wish.gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ")
    where = f"{wish.gpus} × {card}" if wish.gpus > 1 else card
    guide = ", ".join(row.question.answers)
    then = row.then.places[0].model.tag
    place = str(row.place) if row.place else "cannot serve"
    today = row.today.places[0].model.tag
    return f"| {row.question.text} ({wish.task}) | {where} | {guide} | {place} | {then} | {today} |"
