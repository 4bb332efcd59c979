"""The import string: from "module:attribute" to the object that it names.

An import runs the application's code, so anything may come out of it. All of it leaves here as an
`ApplicationImportError` that says whose fault it is: a name that does not exist, or code that does not run.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Self

from appserver.asgi import hints
from appserver.asgi.tracebacks import application_frames, application_traceback, describe
from appserver.errors import ApplicationImportError


class Target(NamedTuple):
    """A module and the attributes that lead from it to the application: "package.module:a.b"."""

    module: str
    attributes: tuple[str, ...]
    setting: str = "app.target"
    """The setting that names it, for the messages."""

    @classmethod
    def parse(cls, text: str, setting: str = "app.target") -> Self:
        """Take an import string apart; the settings hold that it is one."""
        module, _, attribute = text.partition(":")
        return cls(module, tuple(attribute.split(".")), setting)

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"

    @property
    def attribute(self) -> str:
        return ".".join(self.attributes)

    def load(self, directory: Path) -> object:
        """Import the module and return the object. Raises ApplicationImportError.

        `directory` is where the module is expected, for the messages; the caller has put it on sys.path.
        """
        found: object = self._import(directory)
        path = self.module
        for name in self.attributes:
            try:
                found = getattr(found, name)
            except AttributeError as error:
                lines = hints.missing_attribute(path, found, name, directory)
                # What else looks like an application there is no advice for anything else.
                raise self.failure(lines if self.setting == "app.target" else lines[:1], error) from error
            except BaseException as error:
                raise self.failure([f'"{path}", asked for "{name}", raises {describe(error)}'], error) from error
            path += f".{name}" if ":" in path else f":{name}"
        return found

    def failure(self, lines: Sequence[str], error: BaseException | None = None) -> ApplicationImportError:
        """Make an error of `lines` that names this target, with the application's part in `error` as the traceback."""
        ours = error is None or not (application_frames(error) or isinstance(error, SyntaxError))
        message = "\n  ".join([f'{self.setting} = "{self}": {lines[0]}', *lines[1:]])
        return ApplicationImportError(message, "" if error is None or ours else application_traceback(error))

    def _import(self, directory: Path) -> ModuleType:
        try:
            return importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            raise self.failure(self._explain_missing(error, directory), error) from error
        except SystemExit as error:
            lines = [
                f'module "{self.module}" calls sys.exit({error.code!r}) while it is imported',
                'what only a program should do belongs under `if __name__ == "__main__":`',
            ]
            raise self.failure(lines, error) from error
        except KeyboardInterrupt as error:
            raise self.failure([f'interrupted while module "{self.module}" was imported'], error) from error
        except BaseException as error:
            lines = [f'module "{self.module}" cannot be imported: {describe(error)}', *hints.circular_import(error)]
            if isinstance(error, ImportError | PermissionError):
                lines += hints.unreadable()
            raise self.failure(lines, error) from error

    def _explain_missing(self, error: ModuleNotFoundError, directory: Path) -> list[str]:
        """Tell a target that does not exist from one that exists and imports something that does not."""
        missing = error.name or "a module"
        frames = application_frames(error)
        if not frames:
            return hints.missing_module(missing, self.attribute, directory)
        return [
            f'"{self.module}" needs "{missing}", which is not there',  # a line of a terminal, for most names
            f"imported in {frames[-1].filename}, line {frames[-1].lineno}",
            *hints.missing_dependency(missing, directory),
        ]
