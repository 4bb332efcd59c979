"""Django with Channels."""

import on_django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

on_django.urlpatterns[1] = path("stream", on_django.stream_async)
app = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": URLRouter([path("echo", on_django.Echo.as_asgi())])}
)
