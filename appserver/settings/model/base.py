"""The base of all sections of the settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the settings: it does not change, and knows no key but its own.

    The documentation of the fields is read from the source where it is needed (`reference`), not by pydantic's
    `use_attribute_docstrings`: that reads and parses the source in every process, for 65 ms of 135 on import.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        # The values of a table with a mistake may be secrets.
        hide_input_in_errors=True,
    )
