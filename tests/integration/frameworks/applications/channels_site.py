"""A Django project with Channels: consumers of both kinds, and a group through a channel layer."""

from __future__ import annotations

from typing import Any

# Neither publishes types, and stubs are not worth a dependency of the tests.
from channels.generic.websocket import AsyncWebsocketConsumer, JsonWebsocketConsumer  # type: ignore[import-untyped]
from channels.routing import ProtocolTypeRouter, URLRouter  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.http import HttpRequest, JsonResponse  # type: ignore[import-untyped]
from django.urls import path  # type: ignore[import-untyped]

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    ROOT_URLCONF=__name__,
    SECRET_KEY="the secret of tests",
)

journal: list[str] = []


class Room(AsyncWebsocketConsumer):  # type: ignore[misc]
    groups = ["room"]  # noqa: RUF012 - as Channels wants it

    async def connect(self) -> None:
        if self.scope["query_string"] == b"denied":
            await self.close()
        else:
            await self.accept(next(iter(self.scope["subprotocols"]), None))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if bytes_data is not None:
            await self.send(bytes_data=bytes_data)
        else:
            await self.channel_layer.group_send("room", {"type": "room.say", "text": text_data})

    async def room_say(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])

    async def disconnect(self, code: int) -> None:
        journal.append(f"left: {code}")


class Calculator(JsonWebsocketConsumer):  # type: ignore[misc]
    """Runs in a thread."""

    def receive_json(self, content: dict[str, int]) -> None:
        self.send_json({"sum": content["a"] + content["b"]})
        if content["a"] < 0:
            self.close(code=4002)


def read_journal(request: HttpRequest) -> JsonResponse:
    return JsonResponse(journal, safe=False)


urlpatterns = [path("journal", read_journal)]

application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([path("room", Room.as_asgi()), path("calculator", Calculator.as_asgi())]),
    }
)
