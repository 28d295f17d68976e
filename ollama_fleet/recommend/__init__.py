"""Which model for which task on which GPUs, computed from the catalogue; every place has its reasons.

- `room`      does a model fit on these GPUs, with how much context, and what would fit instead
- `families`  when each family appeared, by a table of approximate dates
- `score`     points of a model for a task: size, generation, purpose, speed, context, cache
- `rank`      candidates in order, and those that are out with the reason
- `guides`    the decision tables of the source guides, held against the ranking

Pure: imports the catalogue, the memory and the speed estimate, and nothing else of ours.
"""

from ollama_fleet.recommend.rank import Place, Ranking, Refused, behind, recommend
from ollama_fleet.recommend.room import Demand, Room, fits, largest, memory, ways_to_fit
from ollama_fleet.recommend.wish import (
    PREFERENCES,
    STAGES,
    TASKS,
    Prefer,
    Stage,
    Task,
    Wish,
    WishError,
    make_wish,
)

__all__ = [
    "PREFERENCES",
    "STAGES",
    "TASKS",
    "Demand",
    "Place",
    "Prefer",
    "Ranking",
    "Refused",
    "Room",
    "Stage",
    "Task",
    "Wish",
    "WishError",
    "behind",
    "fits",
    "largest",
    "make_wish",
    "memory",
    "recommend",
    "ways_to_fit",
]
