"""Bodies as programs send them: compressed, under another part's name, changed by curl."""

import gzip
import io
import json
import zlib

import numpy as np
import pytest
import soundfile

from service.api.uploads.file_names import safe_stem
from tests.integration.job_server import ended, job_server
from tests.integration.problems import URL, assert_problem
from tests.integration.serving import recording, serving


def raw_deflate(data):
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def joined_gzip(data):
    return gzip.compress(data[:100]) + gzip.compress(data[100:])


def as_curl_sends(data):
    """Return a file as curl 7.88 sends it with ``-d @file``: lines cut at zeros and joined."""
    lines = data.replace(b"\r", b"\n").split(b"\n")
    return b"".join(line.split(b"\0")[0] for line in lines)


CODINGS = (
    ("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("gzip", joined_gzip),
    ("deflate", zlib.compress), ("deflate", raw_deflate), ("identity", bytes), ("", bytes),
)  # fmt: skip


async def test_a_compressed_body_is_decompressed(tmp_path):
    async with serving(tmp_path) as client:
        plain = await client.post(URL, content=recording())
        for coding, compress in CODINGS:
            packed = await client.post(
                URL, content=compress(recording()), headers={"Content-Encoding": coding}
            )
            assert packed.status_code == 200, packed.text
            assert packed.json()["notes"] == plain.json()["notes"]


async def test_compressed_forms_and_json_are_decompressed(tmp_path):
    async with job_server(tmp_path) as client:
        request = client.build_request("POST", URL, files={"file": ("a.wav", recording())})
        headers = {"Content-Type": request.headers["content-type"], "Content-Encoding": "gzip"}
        content = gzip.compress(request.read())
        at_once = await client.post(URL, content=content, headers=headers)
        form = await client.post("/v1/jobs", content=content, headers=headers)
        body = json.dumps({"inputs": [{"url": "https://example.org/a.mp3"}]}).encode()
        names = await client.post(
            "/v1/jobs",
            content=gzip.compress(body),
            headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
        )
    assert (at_once.status_code, form.status_code, names.status_code) == (200, 202, 202)


async def test_another_coding_is_refused_with_those_taken(tmp_path):
    async with job_server(tmp_path) as client:
        for coding in ("br", "zstd", "compress", "gzip, gzip", "aws-chunked", "é"):
            headers = {"Content-Encoding": coding.encode("latin-1")}
            for answer in (
                await client.post(URL, content=recording(), headers=headers),
                await client.post(URL, files={"file": recording()}, headers=headers),
                await client.post("/v1/jobs", files={"file": recording()}, headers=headers),
                await client.post("/v1/jobs", json={}, headers=headers),
            ):
                assert_problem(answer, 415, "unsupported_encoding")
                assert answer.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    "body",
    [recording(), gzip.compress(recording())[:-9], gzip.compress(b"x") + b"rest"],
    ids=["plain", "cut", "with a rest"],  # the bytes hold the time: not the same in each process
)
async def test_a_body_that_is_not_the_gzip_it_says_is_refused(tmp_path, body):
    async with serving(tmp_path) as client:
        answer = await client.post(URL, content=body, headers={"Content-Encoding": "gzip"})
        assert_problem(answer, 400, "malformed_encoding")
        empty = await client.post(URL, content=b"", headers={"Content-Encoding": "gzip"})
        assert_problem(empty, 400, "empty_body")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [100_000, 2**30])
async def test_a_compression_bomb_ends_at_the_limit(tmp_path, limit):
    bomb = gzip.compress(bytes(2**25))  # 32 MiB in 33 kB
    headers = {"Content-Encoding": "gzip"}
    async with job_server(tmp_path, max_upload_bytes=limit) as client:
        bare = await client.post(URL, content=bomb, headers=headers)
        assert_problem(bare, 413, "upload_too_large")
        typed = {**headers, "Content-Type": "application/json"}
        assert_problem(
            await client.post("/v1/jobs", content=bomb, headers=typed), 413, "upload_too_large"
        )
        # Behind the end of a form too.
        head = b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        form = head + recording() + b"\r\n--B--\r\n" + bytes(2**24)
        typed = {**headers, "Content-Type": "multipart/form-data; boundary=B"}
        for url in (URL, "/v1/jobs"):
            answer = await client.post(url, content=gzip.compress(form), headers=typed)
            assert answer.status_code in (400, 413)


async def test_a_file_under_another_name_is_named(tmp_path):
    async with job_server(tmp_path) as client:
        for url in (URL, "/v1/jobs"):
            answer = await client.post(url, files={"audio": ("song.mp3", recording(30.0))})
            problem = assert_problem(answer, 400, "malformed_form")
            assert "unexpected part 'audio'; expected" in problem.detail
            unnamed = {"song": (None, recording(), "audio/wav")}
            answer = await client.post(url, files=unnamed)
            assert "unexpected part 'song'" in assert_problem(answer, 400, "malformed_form").detail
            # A second file beside a good one: the message names the part that is not expected.
            both = {"file": ("a.wav", recording()), "file2": ("b.wav", recording())}
            answer = await client.post(url, files=both)
            problem = assert_problem(answer, 400, "malformed_form")
            assert "unexpected part 'file2'" in problem.detail
            assert "named 'file'" in problem.detail
            assert "response_format" in problem.detail
        # curl -F metadata=@album.json is a field all the same.
        parts = {"file": ("a.wav", recording()), "metadata": ("album.json", b'{"n": 1}')}
        job = await client.post("/v1/jobs", files=parts)
    assert job.json()["metadata"] == {"n": 1}


def mp3():
    noise = np.random.default_rng(1).normal(0, 0.1, 32_000)
    buffer = io.BytesIO()
    soundfile.write(buffer, noise, 16_000, format="MP3")
    return buffer.getvalue()


@pytest.mark.parametrize("content", [mp3(), recording()], ids=["mp3", "wav"])
async def test_what_curl_d_makes_of_a_file_is_named(tmp_path, content):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with serving(tmp_path) as client:
        whole = await client.post(URL, content=content, headers=headers)
        assert whole.status_code == 200
        answer = await client.post(URL, content=as_curl_sends(content), headers=headers)
        assert "--data-binary @song.mp3" in assert_problem(answer, 400, "mangled_body").detail


async def test_text_in_place_of_a_recording_is_named(tmp_path):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with job_server(tmp_path) as client:
        for text in (b"song.mp3", b"file=%FF%F3" * 99, b"a" * 200_000):
            answer = await client.post(URL, content=text, headers=headers)
            assert_problem(answer, 400, "mangled_body")
        # curl -F file=song.mp3, without the @
        for url in (URL, "/v1/jobs"):
            answer = await client.post(url, files={"file": (None, b"song.mp3")})
            assert "'song.mp3'" in assert_problem(answer, 400, "mangled_body").detail


NAMES = {
    "song.mp3": 'attachment; filename="song.mid"',
    "Ünö.flac": "attachment; filename=\"_n_.mid\"; filename*=UTF-8''%C3%9Cn%C3%B6.mid",
    "../../etc/passwd": 'attachment; filename="etc_passwd.mid"',
    "..": 'attachment; filename="transcription.mid"',
    "a;c%41.wav": "attachment; filename=\"a;c_41.mid\"; filename*=UTF-8''a%3Bc%2541.mid",
    "a\u202egpj.wav": 'attachment; filename="a_gpj.mid"',
    "x" * 500 + ".wav": f'attachment; filename="{"x" * 120}.mid"',
}


async def test_a_result_is_named_after_its_upload(tmp_path):
    async with job_server(tmp_path) as client:
        for name, expected in NAMES.items():
            file = {"file": (name, recording())}
            data = {"response_format": "midi"}
            answer = await client.post(URL, files=file, data=data)
            assert answer.headers["content-disposition"] in (
                expected,
                expected.replace("a_g", "a__g"),
            )
        names = ("song.mp3", "..", None)
        for name in names:
            headers = {"Prefer": "respond-async"}
            body = {"files": {"file": (name, recording())}} if name else {"content": recording()}
            later = await client.post(f"{URL}?response_format=midi", headers=headers, **body)
            assert later.status_code == 202, later.text
            await ended(client, later.json())
            item = f"/v1/jobs/{later.json()['id']}/items/0"
            assert (await client.get(item)).json()["name"] == name
            result = await client.get(f"{item}/result")
            stem = "song" if name == "song.mp3" else "transcription-000000"
            assert result.headers["content-disposition"] == f'attachment; filename="{stem}.mid"'
            shown = await client.get(f"{item}/result?response_format=json")
            assert shown.headers["content-disposition"] == f'inline; filename="{stem}.json"'


@pytest.mark.parametrize("form", ["json", "notesequence_json"])
async def test_a_json_result_is_shown_under_its_uploads_name(tmp_path, form):
    suffix = {"json": ".json", "notesequence_json": ".notesequence.json"}[form]
    async with serving(tmp_path) as client:
        answer = await client.post(
            URL, files={"file": ("für Elise.mp3", recording())}, data={"response_format": form}
        )
    assert answer.headers["content-disposition"] == (
        f"inline; filename=\"f_r Elise{suffix}\"; filename*=UTF-8''f%C3%BCr%20Elise{suffix}"
    )


async def test_an_empty_file_is_said_to_be_empty(tmp_path):
    async with serving(tmp_path) as client:
        form = await client.post(URL, files={"file": ("song.wav", b"")})
        bare = await client.post(URL, content=b"")
    assert "'file' is an empty file" in assert_problem(form, 400, "empty_body").detail
    assert "the body is empty" in assert_problem(bare, 400, "empty_body").detail


def test_a_name_fits_any_disk():
    assert len(safe_stem("語" * 300 + ".wav").encode()) <= 200
    assert safe_stem("a\nb\r\0c.wav") == "a_b__c"
