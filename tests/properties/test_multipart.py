"""Properties of forms: the network's splits of a body change nothing, and only documented errors
are raised."""

import itertools

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from service.api.uploads.multipart import FILE_PART
from tests.examples import examples
from tests.fuzz.targets.multipart import receive

BOUNDARY = "--a-B"
TYPE = f"multipart/form-data; boundary={BOUNDARY}".encode()
many = settings(max_examples=examples(200), derandomize=True)
# Bytes near those that end a part, where a parser is most easily wrong.
contents = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--a-B", b"\r\n--a-", b"x"]), max_size=8).map(
        b"".join
    ),
)
fields = st.lists(
    st.tuples(
        st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=8).filter(
            lambda name: name != FILE_PART
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=20),
    ),
    max_size=4,
)
shards = st.lists(
    st.sampled_from(
        [f"--{BOUNDARY}".encode(), b"--", b"\r\n", b"\n", b"\r", b"\0", b":", b"abc", b"; name=",
         b"Content-Disposition: form-data", b'"file"', b"file", b"start",
         f"--{BOUNDARY}--\r\n".encode()]
    ),
    max_size=20,
).map(b"".join)  # fmt: skip


def write(named, recording):
    """Draw a form as a correct client writes it."""
    body = bytearray()
    for name, value in named:
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        body += value.encode() + b"\r\n"
    body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"\r\n\r\n'.encode()
    return bytes(body) + recording + f"\r\n--{BOUNDARY}--\r\n".encode()


def cut(body, places):
    edges = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return [body[first:past] for first, past in itertools.pairwise(edges)]


@many
@given(named=fields, recording=contents, places=st.lists(st.integers(0, 2_000), max_size=12))
def test_a_good_form_is_received_whole_however_it_is_cut(named, recording, places):
    # A part cannot contain the boundary itself.
    assume(f"--{BOUNDARY}".encode() not in recording)
    received = receive(TYPE, cut(write(named, recording), places))
    assert received.refusal is None
    assert received.recording == recording
    assert list(received.fields) == named


@many
@given(body=shards, places=st.lists(st.integers(0, 2_000), max_size=12))
def test_any_form_is_the_same_however_it_is_cut(body, places):
    assert receive(TYPE, cut(body, places)) == receive(TYPE, [body])
