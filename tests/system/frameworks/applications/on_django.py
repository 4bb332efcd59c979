"""Django with Channels; and, as `wsgi`, Django without."""

from channels.generic.websocket import WebsocketConsumer
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

settings.configure(ALLOWED_HOSTS=["*"], MIDDLEWARE=[], ROOT_URLCONF=__name__, SECRET_KEY="the secret of tests")


def hello(request):
    return HttpResponse("started")


def stream(request):
    return StreamingHttpResponse(f"piece {number}\n" for number in range(3))


def upload(request):
    return HttpResponse(str(len(request.FILES["file"].read())))


async def stream_async(request):
    async def pieces():
        for number in range(3):
            yield f"piece {number}\n"

    return StreamingHttpResponse(pieces())


class Echo(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        self.send(text_data)
        self.close()


urlpatterns = [path("hello", hello), path("stream", stream), path("upload", upload)]
wsgi = get_wsgi_application()
