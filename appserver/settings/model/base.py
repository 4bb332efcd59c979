"""The base of all sections of the settings, and their place in the whole."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


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
        # The schema of a section is made when somebody has written one: most are nothing but defaults.
        defer_build=True,
    )


class _ByItself:
    """Has a section validated and written by its own model, so that the schema of the whole does not hold that of every section."""

    def __get_pydantic_core_schema__(self, source: type[Section], handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: Any) -> Section:
            return source.model_validate(value)

        def write(section: Section, info: core_schema.SerializationInfo) -> dict[str, Any]:
            return section.model_dump(mode=info.mode)

        return core_schema.no_info_plain_validator_function(
            validate,
            serialization=core_schema.plain_serializer_function_ser_schema(write, info_arg=True),
        )


_S = TypeVar("_S", bound=Section)

Part = Annotated[_S, _ByItself()]
"""A section, as the type of a field."""
