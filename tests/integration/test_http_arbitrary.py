"""No input of a caller causes a 5xx."""

import asyncio

import hypothesis
from hypothesis import strategies as st

from service.schemas.transcription_options import OPTION_NAMES
from tests.integration.serving import serving

texts = st.text(max_size=20)
pairs = st.lists(
    st.tuples(st.one_of(st.sampled_from(OPTION_NAMES), texts), texts), min_size=1, max_size=4
)
headers = st.dictionaries(
    st.sampled_from(["Accept", "Content-Type", "X-Request-ID", "Prefer", "Expect"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    max_size=3,
)
forms = st.lists(
    st.sampled_from(
        [b"--B", b"--", b"\r\n", b"\n", b"\r", b"Content-Disposition: form-data; name=",
         b'"file"', b"file", b"; filename=x", b"start", b":", b"\x00", b"abc", b"--B--\r\n"]
    ),
    max_size=20,
).map(b"".join)  # fmt: skip


def post(tmp_path_factory, **arguments):
    """Send one request to a new server; return its status."""

    async def send():
        async with serving(tmp_path_factory.mktemp("uploads")) as client:
            return await client.post("/v1/transcriptions", **arguments)

    return asyncio.run(send())


def assert_refused(response):
    assert 400 <= response.status_code < 500, response.text
    assert response.headers["content-type"] == "application/problem+json"


settings = hypothesis.settings(max_examples=40, derandomize=True)


@settings
@hypothesis.given(pairs=pairs)
def test_arbitrary_options_are_refused(tmp_path_factory, pairs):
    # The body is no audio, so a request with valid options gets 400.
    assert_refused(post(tmp_path_factory, content=b"x", params=pairs))


@settings
@hypothesis.given(headers=headers)
def test_arbitrary_headers_are_refused(tmp_path_factory, headers):
    assert_refused(post(tmp_path_factory, content=b"x", headers=headers))


@settings
@hypothesis.given(body=forms)
def test_arbitrary_forms_are_refused(tmp_path_factory, body):
    content_type = {"Content-Type": "multipart/form-data; boundary=B"}
    assert_refused(post(tmp_path_factory, content=body, headers=content_type))


@hypothesis.settings(max_examples=10, derandomize=True)
@hypothesis.given(body=st.binary(min_size=1, max_size=200))
def test_arbitrary_bytes_are_refused(tmp_path_factory, body):
    assert_refused(post(tmp_path_factory, content=body))
