"""What every route needs: the settings, the store, the scheduler; found once at start."""

from dataclasses import dataclass
from pathlib import Path

from . import model, names
from .exchange import ApiError
from .model import Model
from .names import BadNameError, ModelName
from .scheduler import Scheduler
from .settings import Settings
from .store import MissingModelError, Store

VERSION = (Path(__file__).resolve().parents[1] / "VERSION").read_text().strip()


@dataclass(frozen=True)
class App:
    settings: Settings
    store: Store
    scheduler: Scheduler

    def model(self, text: object) -> Model:
        """The model that a client named; 404 when it is not here."""
        try:
            name = names.parse(str(text or ""))
            self._refuse_cloud(name)
            return model.load(self.store, name)
        except (BadNameError, MissingModelError) as error:
            raise ApiError(404, f"model '{text or ''}' not found") from error

    def _refuse_cloud(self, name: ModelName) -> None:
        if self.settings.no_cloud and name.tag.endswith("cloud"):
            raise ApiError(403, "ollama cloud is disabled: remote inference is unavailable")


def valid_name(text: object) -> ModelName:
    """A name to write to; 400 when it is none."""
    try:
        return names.parse(str(text or ""))
    except BadNameError as error:
        raise ApiError(400, "invalid model name") from error
