"""The settings of the application as a function on AWS Lambda."""

from appserver.settings.model.base import Section
from appserver.settings.values import Count, Duration, Flag, OptionalImportString, RootPath, Text

TEXT_TYPES = ("text/", "application/json", "application/javascript", "application/xml")


class LambdaSettings(Section):
    """AWS Lambda: what `appserver lambda` does with events.

    Of the other sections [app], [logging], [access_log], [request_id], [proxy] and the limits of [http] apply there; nothing
    listens, and there is one process.
    """

    streaming: Flag = False
    """Send responses piece by piece. For function URLs with InvokeMode RESPONSE_STREAM and for REST APIs whose integration
    streams; they have to be set up like that. HTTP APIs, load balancers and Lambda@Edge get whole responses in any case."""

    base_path: RootPath = ""
    """The prefix that paths of events begin with and the application does not know: the base path of a custom domain, or
    the stage of an HTTP API ("/prod"). It becomes ASGI's root_path. Paths that do not begin with it are left alone. A
    prefix that events lack (the stage of a REST API) is app.root_path."""

    other: OptionalImportString = None
    """A function for the events that are no HTTP requests (SQS, S3, schedules), as "module:function": it is called with
    the event and the context, and what it returns is the result. It may be a coroutine function; another one runs in a thread.
    Without it such an event is an error that says what it is."""

    concurrency: Count = 0
    """How many invocations are taken at once. 0: as many as AWS_LAMBDA_MAX_CONCURRENCY says (Lambda Managed Instances),
    one elsewhere."""

    deadline_margin: Duration = 0.5
    """So long before Lambda ends an invocation the application's time is up: the log then says where it stands, and the client
    gets a 504. Half of the time that there is, if that is less."""

    text_types: tuple[Text, ...] = TEXT_TYPES
    """How content types of responses begin that are passed on as text, where the body is UTF-8 and has no
    content-encoding; besides those that end in "+json" or "+xml". All else is passed on as base64; a REST API turns that back only for its binaryMediaTypes, which are best set to "*/*"."""

    exclude_headers: tuple[Text, ...] = ()
    """Names of response headers that are left out."""
