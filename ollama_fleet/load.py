"""An inventory file to a validated `Fleet`."""

from pathlib import Path

from pydantic import ValidationError

from ollama_fleet.certificate_files import with_certificates
from ollama_fleet.custom_files import with_custom_files
from ollama_fleet.key_files import with_keys
from ollama_fleet.layout_files import with_layouts
from ollama_fleet.model_errors import problems_in
from ollama_fleet.problems import InputError, Problem
from ollama_fleet.spec.fleet import Fleet
from ollama_fleet.yamlfile import YamlFile, read_yaml


def load_fleet(path: Path) -> Fleet:
    """Read and validate `path`. Raises InputError with every problem found."""
    return validate(read_yaml(path))


def validate(file: YamlFile) -> Fleet:
    """Check a parsed inventory. Raises InputError with every problem found.

    Files that it needs for that, which lie beside it, are read.
    """
    if not isinstance(file.value, dict):
        what = "holds no inventory; it must be a mapping with `version: 1` and `hosts:`"
        raise InputError([Problem(file.source, "", what)])
    file = with_custom_files(file)
    fleet = _fleet(file)
    if any(host.mig_parted for host in fleet.hosts.values()):
        fleet = _fleet(with_layouts(file, fleet))
    return with_certificates(file, with_keys(file, fleet))


def _fleet(file: YamlFile) -> Fleet:
    try:
        return Fleet.model_validate(file.value)
    except ValidationError as error:
        raise InputError(problems_in(error, file, Fleet)) from None
