"""The context of an invocation, with the attributes that Lambda's Python runtime documents."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any


class Context:
    """The context of one invocation; `deadline_ms` is when Lambda ends it, in milliseconds since the epoch."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        aws_request_id: str,
        invoked_function_arn: str,
        deadline_ms: int,
        client_context: Any = None,
        identity: Any = None,
        tenant_id: str | None = None,
    ) -> None:
        self.aws_request_id = aws_request_id
        self.invoked_function_arn = invoked_function_arn
        self.function_name = environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.client_context = _as_object(client_context)
        found = identity if isinstance(identity, Mapping) else {}
        self.identity = SimpleNamespace(
            cognito_identity_id=found.get("cognitoIdentityId"),
            cognito_identity_pool_id=found.get("cognitoIdentityPoolId"),
        )
        self.tenant_id = tenant_id
        self._deadline_ms = deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        """How long, in milliseconds, the invocation may take from now on."""
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def __repr__(self) -> str:
        return f"<Context {self.aws_request_id} of {self.invoked_function_arn}>"


def _as_object(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return None
    client = value.get("client")
    known = {"custom": value.get("custom"), "env": value.get("env"), "client": None}
    if isinstance(client, Mapping):
        known["client"] = SimpleNamespace(**{str(name): member for name, member in client.items()})
    return SimpleNamespace(**known)
