"""S3: whole objects by key, each write and read checked by its SHA-256 where S3 keeps one."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from aetherlink.platform.config import has_own_endpoint
from aetherlink.platform.dynamo import StorageError, call

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3.client import S3Client

_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})


@cache
def _s3() -> S3Client:
    settings = BotoConfig(
        connect_timeout=2,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": 3},
        # Local clouds answer on one host name; on AWS the bucket is part of it.
        s3={"addressing_style": "path" if has_own_endpoint() else "auto"},
        # Readers compare checksums themselves, and say which object is damaged.
        response_checksum_validation="when_required",
    )
    return boto3.client("s3", config=settings)


@dataclass(frozen=True)
class Stored:
    """What S3 says of an object. `sha256` in hexadecimal, None where S3 keeps none."""

    bytes: int
    sha256: str | None


class Bucket:
    """One bucket. Every method raises StorageError when S3 does not answer or refuses."""

    def __init__(self, name: str) -> None:
        self.name = name

    def put(self, key: str, body: bytes, *, content_type: str) -> None:
        """Store an object; S3 refuses it if it did not arrive as it was sent."""
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        self._call(
            lambda: _s3().put_object(
                Bucket=self.name,
                Key=key,
                Body=body,
                ContentType=content_type,
                ChecksumSHA256=checksum,
            )
        )

    def get(self, key: str) -> bytes | None:
        """An object's content; None if there is none."""

        def read() -> bytes | None:
            try:
                return _s3().get_object(Bucket=self.name, Key=key)["Body"].read()
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _ABSENT:
                    return None
                raise

        found: bytes | None = self._call(read)
        return found

    def head(self, key: str) -> Stored | None:
        """What S3 says of an object; None if there is none."""

        def read() -> Stored | None:
            try:
                answer = _s3().head_object(Bucket=self.name, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _ABSENT:
                    return None
                raise
            checksum = answer.get("ChecksumSHA256")
            sha256 = base64.b64decode(checksum).hex() if checksum else None
            return Stored(answer["ContentLength"], sha256)

        found: Stored | None = self._call(read)
        return found

    def keys(self, prefix: str, *, after: str, limit: int) -> list[str]:
        """The first keys that begin so and come after another, in their order; none after the last."""
        request: Any = {"Bucket": self.name, "Prefix": prefix, "MaxKeys": limit}
        if after:
            request["StartAfter"] = after
        answer = self._call(partial(_s3().list_objects_v2, **request))
        return [str(each["Key"]) for each in answer.get("Contents", ())]

    def erase(self, prefix: str) -> int:
        """Remove versions of objects whose keys begin so, some hundred at a time; how many those were,
        0 if there are none left."""
        found = self._versions(prefix)
        for key, version in found:
            remove = partial(_s3().delete_object, Bucket=self.name, Key=key, VersionId=version)
            self._call(remove)
        return len(found)

    def _versions(self, prefix: str) -> list[tuple[str, str]]:
        """Some of the versions and delete markers below a prefix; none if there are none left."""
        answer = self._call(
            partial(_s3().list_object_versions, Bucket=self.name, Prefix=prefix, MaxKeys=200)
        )
        every = [*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())]
        return [(str(each["Key"]), str(each["VersionId"])) for each in every]

    def _call(self, request: Callable[[], Any]) -> Any:
        try:
            return call(request)
        except StorageError as error:
            raise StorageError(f"The bucket {self.name} {_reason(error)}; try again") from error


def _reason(error: StorageError) -> str:
    cause = error.__cause__
    if isinstance(cause, ClientError):
        return f"refused the request ({cause.response.get('Error', {}).get('Code')})"
    return "could not be reached"
