"""From what another server was told to the settings that it comes to: `appserver migrate`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from appserver.cli.peers.command_line import Given, Invocation, read_invocation
from appserver.cli.peers.table import Option
from appserver.errors import UsageError
from appserver.settings import Override
from appserver.settings.keys import KEYS

LISTENERS = "listeners."

_CALL = re.compile(r"([\w.]+)\(\s*\)")


class Translation:
    """The settings in the making.

    `settings` holds values by their keys, those of a listener once for all of them; `binds` their addresses, each with
    whether it may speak TLS; `remarks` what to know of a key; `without` what has no setting here; `advice` what to do
    besides.
    """

    def __init__(self, invocation: Invocation) -> None:
        self.settings: dict[str, Any] = {}
        self.remarks: dict[str, str] = {}
        self.binds: list[tuple[str, bool]] = []
        self.without: list[str] = []
        self.advice: list[str] = []
        self._invocation = invocation
        self._tcp: dict[str, str] = {}
        self._metrics: dict[str, str] = {}
        self._lists_from: dict[str, str] = {}
        self._threads: int | None = None
        if invocation.target:
            self._target(invocation.target)
        for given in invocation.given:
            self._translate(given)
        self._add_defaults()
        self._finish()

    # One option after the other

    def _translate(self, given: Given) -> None:
        option, value = given.option, given.value
        if option.none:
            if value not in (None, False, "", [], {}):
                self._note_without(f"{_shown(given)}: {option.none}")
        elif option.by:
            getattr(self, f"by_{option.by}")(given)
        elif option.setting:
            self._set_converted(given)
        elif meant := option.on if value else option.off:
            for key, meaning in meant.items():
                self._set(key, meaning, option.remark)
        elif option.here:
            self._advise(f"{_shown(given)}: {option.here}")

    def _set_converted(self, given: Given) -> None:
        option, value = given.option, given.value
        if value is None:
            return
        if option.values:
            if str(value) not in option.values:
                remark = f"; {option.remark}" if option.remark else ""
                self._note_without(f"{_shown(given)}: {option.setting} has no such value{remark}")
                return
            value = option.values[str(value)]
        elif option.unit == "ms":
            value = _seconds(given)
        elif option.unit == "MiB":
            value = f"{value}MiB"
        elif option.split and isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if option.takes == "values":
            self._append(given, str(value))
        else:
            self._set(option.setting, _typed(option.setting, value), option.remark)

    def _append(self, given: Given, value: str) -> None:
        """Add to a list, beginning anew for each source: what is stronger takes the place of what is weaker."""
        key = given.option.setting or given.option.here
        source = "" if given.where.startswith("-") else given.where
        if self._lists_from.get(key) != source:
            self.settings[key] = []
        self._lists_from[key] = source
        self._set(key, [*self.settings.get(key, []), value], given.option.remark)

    def _advise(self, text: str) -> None:
        if text not in self.advice:
            self.advice.append(text)

    def _note_without(self, text: str) -> None:
        if text not in self.without:
            self.without.append(text)

    def _set(self, key: str, value: Any, remark: str = "") -> None:
        self.settings[key] = value
        self.remarks[key] = remark

    # Translations that are more than a value for a key. The tables name each by `by`.

    def by_host(self, given: Given) -> None:
        self._tcp["host"] = str(given.value)

    def by_port(self, given: Given) -> None:
        self._tcp["port"] = str(given.value)

    def by_unix(self, given: Given) -> None:
        self.binds.append((f"unix:{given.value}", True))

    def by_descriptor(self, given: Given) -> None:
        self.binds.append((f"fd://{given.value}", True))

    def by_bind(self, given: Given) -> None:
        self._add_bind(given, may_encrypt=True)

    def by_insecure_bind(self, given: Given) -> None:
        self._add_bind(given, may_encrypt=False)

    def by_develop(self, given: Given) -> None:
        if given.value:
            self._advise(f"{_shown(given)}: for development start `appserver dev {self._invocation.target}`")

    def by_config(self, given: Given) -> None:
        """Nothing: what the file says has been read."""

    def by_entry(self, given: Given) -> None:
        """Nothing: the application has been found by it."""

    def by_target(self, given: Given) -> None:
        if given.value and not self._invocation.target:
            self._target(str(given.value))

    def by_directory(self, given: Given) -> None:
        if str(given.value) not in ("", "."):
            self._set("app.directory", str(given.value))
            self._advise(f"{_shown(given)}: relative paths start where appserver is started; start it there")

    def by_env_files(self, given: Given) -> None:
        if "app.env_file" in self.settings:
            self._advise(f"{_shown(given)}: app.env_file is one file; join them")
        else:
            self._set("app.env_file", str(given.value))

    def by_environment(self, given: Given) -> None:
        self._advise(f"put the line {given.value} into a file, and name it: app.env_file")

    def by_access_log(self, given: Given) -> None:
        self._set("access_log.enabled", bool(given.value))
        if given.value and given.value != "-":
            self._set("access_log.file", str(given.value))

    def by_log(self, given: Given) -> None:
        if given.value and given.value != "-":
            self._set("logging.file", str(given.value))

    def by_http_protocols(self, given: Given) -> None:
        named = given.value if isinstance(given.value, list) else str(given.value).split(",")
        self._set("http2.enabled", "h2" in [str(name).strip() for name in named], given.option.remark)

    def by_log_config(self, given: Given) -> None:
        if given.value:
            notation, colon, path = str(given.value).partition(":")
            named = colon and notation in ("json", "toml")
            self._set("logging.config_file", path if named else str(given.value), given.option.remark)
            if named and not path.endswith(f".{notation}"):
                self._advise(f"{_shown(given)}: call the file {path}.{notation}; how it is read goes by its name")

    def by_log_dict(self, given: Given) -> None:
        if isinstance(given.value, Mapping) and _is_data(given.value):
            self._set("logging.config", dict(given.value), given.option.remark)
        elif given.value:
            self._advise(
                f"{given.option.name}: it names functions or classes; name them by their paths in logging.config"
            )

    def by_header(self, given: Given) -> None:
        name, _, value = str(given.value).partition(":")
        self._append(given, f"{name.strip()}: {value.strip()}")

    def by_umask(self, given: Given) -> None:
        if mask := _octal(given.value):
            self._set("workers.umask", f"{mask:04o}")

    def by_socket_umask(self, given: Given) -> None:
        if given.value is not None:
            self._set("listeners.mode", f"{0o777 & ~_octal(given.value):04o}")

    def by_server_header(self, given: Given) -> None:
        if not given.value:
            self._set("http.server_header", "")

    def by_proxy_protocol(self, given: Given) -> None:
        if given.value not in (None, False, "off"):
            self._set("listeners.proxy_protocol", True, "either version; from peers of proxy.trusted")

    def by_metrics(self, given: Given) -> None:
        self._metrics["wanted"] = "yes" if given.value else ""

    def by_metrics_host(self, given: Given) -> None:
        self._metrics["host"] = str(given.value)

    def by_metrics_port(self, given: Given) -> None:
        self._metrics["port"] = str(given.value)

    def by_interface(self, given: Given) -> None:
        kind = str(given.value)
        if kind == "wsgi":
            self._set("app.interface", "wsgi")
        elif kind == "rsgi":
            self._advise("RSGI is granian's own: the application has to be one of ASGI or WSGI")
        elif kind in ("asgi", "asginl"):
            self._set("app.interface", "asgi3")
            if kind == "asginl":
                self._set("app.lifespan", "off")
        else:
            self._note_without(f"{_shown(given)}: granian has asgi, asginl, rsgi and wsgi")

    def by_worker_class(self, given: Given) -> None:
        kind = str(given.value.get("name") if isinstance(given.value, Mapping) else given.value)
        if "uvicorn" in kind.lower() or kind.lower().startswith("asgi"):
            if "h11" in kind.lower():
                self._set("http.parser", "h11")
            return
        self._set("app.interface", "wsgi", f"for the worker class {kind}")
        self._threads = 1  # unless threads are given, with which it is gthread
        if kind not in ("sync", "gthread", "ThreadWorker", "SyncWorker"):
            self._threads = None
            self._advise(f"{_shown(given)}: WSGI runs in threads here; nothing is patched for greenlets")

    def by_hypercorns_worker_class(self, given: Given) -> None:
        kind = str(given.value)
        if kind == "trio":
            self._set("app.async_library", "trio")
        elif kind in ("asyncio", "uvloop"):
            self._set("workers.loop", kind)
        else:
            self._note_without(f"{_shown(given)}: hypercorn has asyncio, uvloop and trio")

    # At the end

    def _target(self, target: str) -> None:
        module, _, attribute = target.partition(":")
        attribute = attribute or self._invocation.table.attribute
        if called := _CALL.fullmatch(attribute):
            attribute = called[1]
            self._set("app.factory", True)
        elif "(" in attribute:
            attribute = attribute.partition("(")[0]
            self._set("app.factory", True)
            self._advise(f"{target}: a factory is called without arguments; write one that needs none")
        self._set("app.target", f"{module}:{attribute}" if attribute else module)

    def _add_defaults(self) -> None:
        told = {given.option.by for given in self._invocation.given}
        for default in self._invocation.table.defaults:
            if default.by and default.by not in told:
                getattr(self, f"by_{default.by}")(Given(Option(default.by), default.value, "default"))
                if default.by == "worker_class":
                    self.remarks["app.interface"] = default.remark
            elif default.setting and default.setting not in self.settings:
                if default.variable and default.variable in self._invocation.environment:
                    self._advise(f"{default.variable} is set: {default.setting} follows it here, too")
                else:
                    self._set(default.setting, default.value, default.remark)

    def _finish(self) -> None:
        peer = self._invocation.table.peer
        if peer == "hypercorn" and not {"tls.certificate", "tls.key"} <= self.settings.keys():
            self.binds = [bind for bind in self.binds if bind[1]]  # without TLS it opens those of `bind` only
        # Daphne opens everything that it is told; hypercorn what is without TLS besides the others; the rest one of them.
        if not any(may_encrypt for _, may_encrypt in self.binds) or (peer == "daphne" and self._tcp):
            self.binds.insert(0, (self._tcp_bind(), True))
        if self._threads is not None and "app.threads" not in self.settings:
            self._set(
                "app.threads", self._threads, "a worker serves one request at a time there; here 8 is the default"
            )
        if self._metrics.get("wanted"):
            self._set("admin.bind", f"{self._metrics.get('host', '127.0.0.1')}:{self._metrics.get('port', 9090)}")

    def _tcp_bind(self) -> str:
        port = self._invocation.environment.get("PORT") if self._invocation.table.peer == "gunicorn" else None
        host = self._tcp.get("host", "0.0.0.0" if port else "127.0.0.1")  # noqa: S104 - as gunicorn does
        host = f"[{host}]" if ":" in host else host
        return f"{host}:{self._tcp.get('port') or port or 8000}"

    def _add_bind(self, given: Given, *, may_encrypt: bool) -> None:
        """Add an address, in the place of those of the same option from weaker sources."""
        source = "" if given.where.startswith("-") else given.where
        if self._lists_from.get(given.option.by, source) != source:
            self.binds = [bind for bind in self.binds if bind[1] != may_encrypt]
        self._lists_from[given.option.by] = source
        self.binds.append((_bind(str(given.value)), may_encrypt))

    def listeners(self) -> list[dict[str, Any]]:
        """Return the tables of the listeners."""
        common = {key.removeprefix(LISTENERS): value for key, value in self.settings.items() if _is_listeners(key)}
        unix_only = {"mode", "user", "group"}
        tables = []
        for bind, may_encrypt in self.binds:
            table: dict[str, Any] = {"bind": bind}
            table |= {"tls": True} if may_encrypt and "tls.certificate" in self.settings else {}
            is_unix = bind.startswith("unix:")
            tables.append(table | {key: value for key, value in common.items() if is_unix or key not in unix_only})
        return tables

    def sections(self) -> dict[str, dict[str, Any]]:
        """Return all settings but those of listeners, by section and name."""
        found: dict[str, dict[str, Any]] = {}
        for key, value in self.settings.items():
            if not _is_listeners(key):
                section, _, name = key.partition(".")
                found.setdefault(section, {})[name] = value
        return found


def _is_listeners(key: str) -> bool:
    return key.startswith(LISTENERS)


def _bind(text: str) -> str:
    """Return an address as gunicorn and hypercorn write it in the form that it has here."""
    if text.startswith(("unix:", "fd://")):
        return re.sub("^unix:/+", "unix:/", text)
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        host, port = text, "8000"
    return f"{host or '0.0.0.0'}:{port}"  # noqa: S104 - what they take ":8000" for


def _is_data(value: Any) -> bool:
    """Tell whether a value is made of what TOML can hold; a function or a class comes as {"name": its name} alone."""
    if isinstance(value, Mapping):
        return set(value) != {"name"} and all(map(_is_data, value.values()))
    return all(map(_is_data, value)) if isinstance(value, list | tuple) else isinstance(value, str | int | float)


def _seconds(given: Given) -> float:
    try:
        return float(given.value) / 1000
    except (TypeError, ValueError):
        raise UsageError(f"{_shown(given)}: expected milliseconds") from None


def _octal(value: Any) -> int:
    """Return a mask: a number, or digits as Python's int(text, 0) takes them, with octal for a leading zero.

    Raises UsageError if it is none.
    """
    text = str(value)
    try:
        mask = int(text, 8) if text.isdecimal() and text.startswith("0") else int(text, 0)
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        raise UsageError(f"umask: expected a number such as 0o027, not {value!r}")
    return mask


def _typed(key: str, value: Any) -> Any:
    """Return text as what the key wants: "4" is a number for workers.count."""
    if isinstance(value, str):
        return int(value) if value.isdecimal() and _takes_numbers(key) else Override.parse(f"{key}={value}", "").value
    return value if _takes_numbers(key) or not KEYS[key].is_text else str(value)


def _takes_numbers(key: str) -> bool:
    annotation = KEYS[key].field.annotation if key in KEYS else int
    return bool({int, float} & {annotation, *get_args(annotation)})


def _shown(given: Given) -> str:
    if given.where.startswith("-"):
        return given.where if isinstance(given.value, bool) else f"{given.where} {given.value}"
    value = given.value["name"] if isinstance(given.value, Mapping) and "name" in given.value else given.value
    return f"{given.option.name} = {value} ({given.where})"


def migrate(words: Sequence[str], environ: Mapping[str, str]) -> Translation:
    """Translate a command line. Raises UsageError if it cannot be read."""
    return Translation(read_invocation(words, environ))
