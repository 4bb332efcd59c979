"""Settings on their way from one version of appserver to another."""

from __future__ import annotations

import json

from pydantic import ValidationError

from appserver.settings.model import Settings


def read_settings(text: str) -> Settings:
    """Read settings that a process of perhaps another version has written as JSON.

    A key that this version does not know is left out, one that is missing has its default. Raises ValueError if a value
    is none of this version's.
    """
    values = json.loads(text)
    while True:
        try:
            return Settings.model_validate_json(json.dumps(values))
        except ValidationError as error:
            unknown = [detail["loc"] for detail in error.errors() if detail["type"] == "extra_forbidden"]
            if not unknown:
                raise
            for *tables, name in unknown:
                table = values
                for step in tables:
                    table = table[step]
                del table[name]
