"""Requests of the client: options as the server reads them."""

import pytest

from service.client._requests import stream_request
from service.client._uploads import Upload


@pytest.mark.parametrize(
    ("start", "sent"),
    [(1e-7, "0.0000001"), (0.1 + 0.2 - 0.3, "0.00000000000000005551115123125783"), (12.5, "12.5")],
)
def test_small_numbers_have_no_exponent(start, sent):
    request = stream_request(Upload(b"sound"), {"start": start})
    assert ("start", sent) in request.query
