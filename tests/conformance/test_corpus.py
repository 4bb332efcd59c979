"""Every case of the parser's corpus, through the running server."""

from __future__ import annotations

import pytest

from tests.conformance.levels import must
from tests.conformance.site import Site
from tests.unit.http1.corpus import BAD, GOOD, Bad, Good


@must("RFC 9110, RFC 9112")
@pytest.mark.parametrize("case", [case for case in GOOD if not case.rest], ids=lambda case: case.name)
def test_good_requests_are_served(site: Site, case: Good) -> None:
    with site.connect() as client:
        client.send(case.octets)
        methods = [method for method, _, _ in case.requests]
        responses = client.responses(len(methods), *methods, quiet=0.02)
        for (method, _, body), response in zip(case.requests, responses, strict=True):
            seen = response.json()
            assert (seen["method"], seen["body"]) == (method, body.decode("latin-1"))


@must("RFC 9110, RFC 9112")
@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_bad_requests_are_refused(site: Site, case: Bad) -> None:
    with site.connect() as client:
        client.send(case.octets)
        assert client.wait_closed()
        statuses = [response.status for response in client.finals()]
        assert statuses == [200] * case.complete + [case.status]
