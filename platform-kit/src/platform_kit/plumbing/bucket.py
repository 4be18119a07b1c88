"""How our bucket is set up: private, older versions kept for a while, uploads that were given up cleared away.

Doing it again changes nothing, also while another does it.
"""

from collections.abc import Callable

import structlog
from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.error import S3Error
from minio.lifecycleconfig import (
    AbortIncompleteMultipartUpload,
    Expiration,
    LifecycleConfig,
    NoncurrentVersionExpiration,
    Rule,
)
from minio.versioningconfig import VersioningConfig

UPLOAD_DAYS = 1
MADE_MEANWHILE = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
NOT_OFFERED = ("NotImplemented", "MethodNotAllowed", "MalformedXML")
"""What servers answer to a request, or to a part of one, that they do not know."""

log = structlog.get_logger(__name__)


def prepare_bucket(client: Minio, bucket: str, *, noncurrent_days: int) -> None:
    """Make the bucket if there is none, and set it up; with 0 days its versioning is left as it is."""
    _make(client, bucket)
    if noncurrent_days:
        # First of all: what is replaced before this is lost.
        _offered(lambda: client.set_bucket_versioning(bucket, VersioningConfig(ENABLED)), "versioning")
    _offered(lambda: client.delete_bucket_policy(bucket), "policy", unless="NoSuchBucketPolicy")
    rules = LifecycleConfig([_rule(noncurrent_days)])
    _offered(lambda: client.set_bucket_lifecycle(bucket, rules), "lifecycle")


def _make(client: Minio, bucket: str) -> None:
    try:
        if client.bucket_exists(bucket):
            return
    except S3Error as error:
        # The answer to a HEAD has no body, so it cannot say what is wrong; that to the next call can.
        if error.code != "AccessDenied":
            raise
    try:
        client.make_bucket(bucket)
    except S3Error as error:
        if error.code not in MADE_MEANWHILE:
            raise


def _rule(noncurrent_days: int) -> Rule:
    """One rule, not two: MinIO refuses one that only ends uploads, which it does by itself after a day."""
    keeps = noncurrent_days > 0
    return Rule(
        status=ENABLED,
        rule_id="tidy",
        rule_filter=Filter(prefix=""),
        abort_incomplete_multipart_upload=AbortIncompleteMultipartUpload(days_after_initiation=UPLOAD_DAYS),
        noncurrent_version_expiration=NoncurrentVersionExpiration(noncurrent_days) if keeps else None,
        expiration=Expiration(expired_object_delete_marker=True) if keeps else None,
    )


def _offered(call: Callable[[], object], feature: str, *, unless: str = "") -> None:
    """Make a call that some S3 servers do not offer; `unless` is a code that says there is nothing to do."""
    try:
        call()
    except S3Error as error:
        if error.code == unless:
            return
        if error.code not in NOT_OFFERED:
            raise
        log.warning("storage.not_offered", feature=feature, code=error.code)
