"""A small job server: it keeps submissions, and the test sets the state of their items."""

import email.parser
import email.policy
import json
import re

from tests.unit.service.client.documents import OPTIONS, event_text
from tests.unit.service.client.wire import answer, json_answer, problem, stream_head

JOB_ID = "job_0123456789abcdef01234567"
CREATED, EXPIRES = "2026-11-21T07:30:00.000Z", "2026-11-28T07:30:00.000Z"


def progress(total=3, succeeded=0, failed=0, canceled=0):
    return {
        "items_total": total, "items_done": succeeded + failed + canceled,
        "items_succeeded": succeeded, "items_failed": failed, "items_canceled": canceled,
        "audio_seconds_total": None, "audio_seconds_done": 60.0 * succeeded,
    }  # fmt: skip


def job(job_id=JOB_ID, status="queued", **changes):
    path = f"/v1/jobs/{job_id}"
    return {
        "id": job_id, "object": "job", "status": status, "model": "mt3", "options": OPTIONS,
        "created_at": CREATED, "processing_at": None, "ended_at": None, "expires_at": EXPIRES,
        "progress": progress(), "queue_position": None, "error": None, "warnings": [],
        "metadata": {}, "webhook": None,
        "links": {
            "self": path, "items": f"{path}/items", "results": f"{path}/results.zip",
            "events": f"{path}/events",
        }, **changes,
    }  # fmt: skip


def item(number, name="a.wav", status="succeeded", **changes):
    return {
        "object": "job.item", "number": number, "name": name, "status": status,
        "created_at": CREATED, "processing_at": None, "ended_at": None, "audio_seconds": None,
        "attempts": 1, "error": None, "warnings": [], "result": None, **changes,
    }  # fmt: skip


FAILED = {"code": "audio_undecodable", "message": "not audio"}


def stream(*events):
    """Return a job's events as one response: kinds and documents, numbered from 1."""
    return stream_head() + b"".join(
        event_text(number, kind, document) for number, (kind, document) in enumerate(events, 1)
    )


def parts(request):
    """Return the parts of a form: name, file name, content."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body)
    return [
        (part.get_param("name", header="content-disposition"), part.get_filename(),
         part.get_payload(decode=True))
        for part in form.iter_parts()
    ]  # fmt: skip


class JobServer:
    """Responds as the API does; the test sets items and results."""

    def __init__(self, *names, status="succeeded"):
        self.items = [item(n, name, status) for n, name in enumerate(names)]
        self.submitted = {}
        """Idempotency key -> id."""
        self.jobs = []
        self.losing = []
        """Methods and patterns of paths whose next answer is lost, after it was done."""

    def count(self, status):
        return sum(entry["status"] == status for entry in self.items)

    def document(self, job_id=JOB_ID):
        done = all(entry["status"] in ("succeeded", "failed", "canceled") for entry in self.items)
        counts = progress(
            len(self.items), self.count("succeeded"), self.count("failed"), self.count("canceled")
        )
        status = "queued" if not done else "succeeded" if self.count("succeeded") else "failed"
        return job(job_id, status, progress=counts)

    def __call__(self, request):
        reply = self.reply(request)
        for n, (method, pattern) in enumerate(self.losing):
            if request.method == method and re.fullmatch(pattern, request.path) and request.body:
                del self.losing[n]
                return [b""]
        return [reply]

    def reply(self, request):  # noqa: C901, PLR0911 - a table of routes
        path = request.path
        if path == "/health":
            return json_answer({"status": "ok"})
        if path == "/v1/jobs" and request.method == "POST":
            return self.submit(request)
        if path == "/v1/jobs":
            return self.page(request, self.jobs)
        job_id, _, rest = path.removeprefix("/v1/jobs/").partition("/")
        if job_id.startswith("job_gone"):
            return problem(404, "job_not_found")
        if request.method == "DELETE":
            return answer(204)
        if rest in ("", "cancel", "retry"):
            return json_answer(self.document(job_id))
        if rest == "items":
            wanted = request.query.get("status")
            return self.page(
                request, [e for e in self.items if wanted is None or e["status"] == wanted]
            )
        if rest == "events":
            return stream(("completed", {"job": self.document(job_id)}))
        if rest == "results.zip":
            return answer(body=b"PK" + request.query.get("response_format", "").encode())
        number = int(rest.split("/")[1])
        if rest.endswith("/result"):
            return answer(body=f"{request.query['response_format']} {job_id} {number}".encode())
        return json_answer(self.items[number])

    def submit(self, request):
        if not request.body or (
            "multipart" in request.headers["content-type"]
            and not any(name == "file" for name, _, _ in parts(request))
        ):
            return problem(400, "malformed_form")
        key = request.headers["idempotency-key"]
        job_id = self.submitted.setdefault(key, f"job_{len(self.submitted) + 1}")
        return json_answer(self.document(job_id), 202)

    def page(self, request, entries):
        begin, size = int(request.query.get("after", 0)), int(request.query["limit"])
        more = begin + size < len(entries)
        return json_answer({
            "object": "list", "data": entries[begin : begin + size],
            "next_cursor": str(begin + size) if more else None,
        })  # fmt: skip


def written(document):
    """Return the document as bytes."""
    return json.dumps(document).encode()
