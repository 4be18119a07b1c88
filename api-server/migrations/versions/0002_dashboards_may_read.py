"""dashboards may read

Revision ID: 0002
Revises: 0001
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ROLE = "mlp_grafana"
"""Made by whoever sets up the database, with a password of its own; without it nothing is granted."""

READABLE = {
    "users": ("id", "role", "is_active", "created_at"),
    "projects": ("id", "owner_id", "name", "tags", "status", "is_personal", "created_at", "updated_at"),
    "datasets": ("id", "project_id", "owner_id", "name", "tags", "latest_version", "created_at"),
    "dataset_versions": (
        *("id", "dataset_id", "version", "status", "file_type", "size_bytes", "job_id", "created_at"),
    ),
    "jobs": (
        *("id", "kind", "queue", "status", "project_id", "created_by", "subject_id", "attempt"),
        *("max_attempts", "lease_owner", "lease_until", "heartbeat_at", "not_before", "cancel_requested"),
        *("waits_for", "doorbell_at", "rings", "started_at", "finished_at", "created_at"),
    ),
    "models": (
        *("id", "project_id", "owner_id", "name", "tags", "framework", "model_type", "algorithm"),
        *("dataset_id", "endpoint", "status", "latest_version", "deployed_version", "job_id", "created_at"),
    ),
    "model_versions": (
        *("id", "model_id", "version", "status", "framework", "algorithm", "metrics", "digest"),
        *("dataset_version_id", "dataset_id", "dataset_version", "job_id", "created_at"),
    ),
    "deployments": (
        *("id", "model_id", "version", "job_id", "status", "is_rollback", "generation", "created_by"),
        *("deployed_at", "ended_at", "created_at"),
    ),
}
"""Columns, not tables: statistics, previews, manifests, errors and the results of jobs hold rows of the users' data."""


def _if_there(statements: list[str]) -> str:
    body = "\n    ".join(f"{each};" for each in statements)
    return f"""
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
    {body}
  END IF;
END
$$
"""


def upgrade() -> None:
    op.execute(_if_there([f"GRANT {_select(table)} TO {ROLE}" for table in READABLE]))


def downgrade() -> None:
    op.execute(_if_there([f"REVOKE {_select(table)} FROM {ROLE}" for table in READABLE]))


def _select(table: str) -> str:
    return f"SELECT ({', '.join(READABLE[table])}) ON {table}"
