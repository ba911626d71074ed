"""An S3 to test against, in this process."""

import contextlib
import uuid

import boto3
from moto.server import ThreadedMotoServer

from tests.unit.service.jobs.ports import free_port


class LocalS3:
    """A server with one bucket, which can be stopped and started again with its content.

    (moto keeps what it holds per process, not per server.)
    """

    def __init__(self):
        self.port = free_port()
        self._server = None
        self.bucket = f"bucket-{uuid.uuid4().hex[:12]}"

    @property
    def url(self):
        return (
            f"s3://{self.bucket}/some/prefix?endpoint=http://127.0.0.1:{self.port}&region=eu-west-1"
        )

    def start(self):
        self._server = ThreadedMotoServer("127.0.0.1", port=self.port, verbose=False)
        self._server.start()
        with contextlib.suppress(self.client().exceptions.BucketAlreadyOwnedByYou):
            self.client().create_bucket(
                Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
            )

    def stop(self):
        if self._server is not None:
            self._server.stop()
            self._server = None

    def client(self):
        return boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{self.port}", region_name="eu-west-1"
        )


@contextlib.contextmanager
def local_s3(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = LocalS3()
    server.start()
    try:
        yield server
    finally:
        server.stop()
