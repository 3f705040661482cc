"""S3, as moto's server has it; what was put there is read back with boto3."""

from __future__ import annotations

import gzip
import json
from typing import Any, ClassVar, Self

import boto3
from moto.server import ThreadedMotoServer
from support.ports import free_ports


class S3:
    """A bucket that stays when the server is stopped and started again."""

    environment: ClassVar[dict[str, str]] = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    region = "eu-central-1"

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        (self.port,) = free_ports(1)
        self.start()
        self._client().create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": self.region})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        """Be down: nothing listens."""
        self._server.stop()
        self._server._server.server_close()  # moto leaves the port open.

    def objects(self) -> dict[str, Any]:
        """Return the content of every object by key: the OTLP JSON it holds."""
        client = self._client()
        listed = client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        found = {item["Key"]: client.get_object(Bucket=self.bucket, Key=item["Key"]) for item in listed}
        return {key: json.loads(_text(key, answer["Body"].read())) for key, answer in found.items()}

    def _client(self) -> Any:
        keys = {name.lower(): value for name, value in self.environment.items()}
        return boto3.client("s3", endpoint_url=self.url, region_name=self.region, **keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def _text(key: str, content: bytes) -> bytes:
    return gzip.decompress(content) if key.endswith(".gz") else content
