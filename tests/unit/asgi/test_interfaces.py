"""appserver.asgi.interfaces: which callable is taken for what, and which for nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

import pytest

from appserver.asgi.interfaces import argument_counts, detect, instances_are_applications, is_async


async def asgi3(scope: Any, receive: Any, send: Any) -> None: ...


def asgi3_returning_an_awaitable(scope: Any, receive: Any, send: Any) -> Any:
    return asgi3(scope, receive, send)


async def async_taking_anything(*args: Any) -> None: ...


def asgi2(scope: Any) -> Any: ...


def wsgi(environ: Any, start_response: Any) -> Any: ...


class ASGI3:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...


class ASGI3WithOptions(ASGI3):
    async def __call__(self, scope: Any, receive: Any, send: Any, extra: str = "") -> None: ...


class ASGI3Endpoint:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Generator[Any]:
        yield


class ASGI2:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


class ASGI2Subclass(ASGI2):
    pass


class WSGI:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


@functools.wraps(asgi3)
def wrapped(*args: Any) -> Any:
    return asgi3(*args)


@pytest.mark.parametrize(
    ("candidate", "interface"),
    [
        (asgi3, "asgi3"),
        (functools.partial(asgi3), "asgi3"),
        (asgi3_returning_an_awaitable, "asgi3"),
        (async_taking_anything, "asgi3"),
        (wrapped, "asgi3"),
        (ASGI3(), "asgi3"),
        (ASGI3().method, "asgi3"),
        (ASGI3WithOptions(), "asgi3"),
        (ASGI3Endpoint, "asgi3"),
        (asgi2, "asgi2"),
        (ASGI2, "asgi2"),
        (ASGI2Subclass, "asgi2"),
        (wsgi, "wsgi"),
        (WSGI(), "wsgi"),
    ],
)
def test_an_application_is_recognised_by_its_signature(candidate: Callable[..., Any], interface: str) -> None:
    assert detect(candidate) == interface


async def async_factory() -> None: ...


async def async_with_two(scope: Any, receive: Any) -> None: ...


def factory() -> None: ...


def factory_with_option(config: Any = None) -> None: ...


def factory_with_argument(config: Any) -> None: ...


def takes_anything(*args: Any) -> None: ...


def takes_two_or_three(scope: Any, receive: Any, send: Any = None) -> None: ...


def takes_four(a: Any, b: Any, c: Any, d: Any) -> None: ...


class InstantiatedWithAnArgument:
    def __init__(self, config: Any) -> None: ...

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class NotCallable:
    def __init__(self, scope: Any) -> None: ...


class AwaitableWithoutArguments:
    def __await__(self) -> Generator[Any]:
        yield


@pytest.mark.parametrize(
    "candidate",
    [
        async_factory,
        async_with_two,
        factory,
        factory_with_option,
        factory_with_argument,
        takes_anything,
        takes_two_or_three,
        takes_four,
        ASGI3,
        InstantiatedWithAnArgument,
        NotCallable,
        AwaitableWithoutArguments,
        dict,
        getattr,  # a built-in function without a signature that inspect can read
    ],
)
def test_what_could_be_two_things_is_taken_for_none(candidate: Callable[..., Any]) -> None:
    assert detect(candidate) is None


def test_async_is_what_returns_a_coroutine_for_certain() -> None:
    applications: list[Callable[..., Any]] = [asgi3, functools.partial(asgi3), ASGI3(), ASGI3().method]
    others: list[Callable[..., Any]] = [asgi2, wsgi, wrapped, ASGI3, ASGI3Endpoint, WSGI()]
    assert all(map(is_async, applications))
    assert not any(map(is_async, others))


def test_argument_counts_are_those_that_a_call_may_have() -> None:
    assert argument_counts(factory) == {0}
    assert argument_counts(factory_with_option) == {0, 1}
    assert argument_counts(ASGI3()) == {3}
    assert argument_counts(takes_anything) == {0, 1, 2, 3}
    assert argument_counts(takes_four) == set()
    assert argument_counts(getattr) == set()


def test_a_class_whose_instances_are_applications_is_known_by_its_call_method() -> None:
    assert instances_are_applications(ASGI3)
    assert instances_are_applications(InstantiatedWithAnArgument)
    assert not instances_are_applications(ASGI2)
    assert not instances_are_applications(ASGI3Endpoint)
