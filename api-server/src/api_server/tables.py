"""Imports every room's tables, so that Alembic, the worker and the relay see one complete metadata."""

from api_server.audit_trail import AuditEntry
from api_server.auth import models as auth
from api_server.database import Base
from api_server.datasets import models as datasets
from api_server.deployments import models as deployments
from api_server.housekeeping import models as housekeeping
from api_server.idempotency import IdempotentAnswer
from api_server.jobs import models as jobs
from api_server.outbox import Doorbell
from api_server.predictions import models as predictions
from api_server.projects import models as projects
from api_server.registry import models as registry

metadata = Base.metadata

__all__ = [
    "AuditEntry",
    "Doorbell",
    "IdempotentAnswer",
    "auth",
    "datasets",
    "deployments",
    "housekeeping",
    "jobs",
    "metadata",
    "predictions",
    "projects",
    "registry",
]
