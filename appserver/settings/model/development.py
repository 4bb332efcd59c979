"""The settings of `appserver dev` and of `--watch`."""

from appserver.settings.model.base import Section
from appserver.settings.values import Text

PATTERNS = ("*.py", "*.html", "*.j2", "*.jinja*", "*.txt", "*.css", "*.js", "*.toml", "*.y*ml")
"""Source code, templates, and what templates need. Not data: applications write files of their own (*.db, *.json, *.log)
beside their code, and every write would be a reload."""


class DevSettings(Section):
    """Development: what `appserver dev` and `--watch` look at. A change of it reloads the application."""

    watch: tuple[Text, ...] = ()
    """Files and directories that are watched besides app.directory, the settings files and app.env_file, which always
    are."""

    patterns: tuple[Text, ...] = PATTERNS
    """The names of the files that count within watched directories; "*" stands for any characters. A file that
    dev.watch names itself always counts."""

    ignore: tuple[Text, ...] = ()
    """Names of files and directories that do not count, such as "*.generated.py" or "uploads". Those of editors, tools
    and virtual environments never do: .git, __pycache__, .venv, node_modules and the like."""
