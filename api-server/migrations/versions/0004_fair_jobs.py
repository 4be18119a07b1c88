"""fair jobs

Revision ID: 0004
Revises: 0003
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

GRAFANA = "mlp_grafana"
READABLE = {
    "jobs": (
        *("claimed_at", "model_id", "dataset_id", "retry_of", "priority"),
        *("time_limit_seconds", "memory_limit_bytes"),
    ),
    "job_attempts": ("job_id", "number", "worker", "started_at", "ended_at", "outcome"),
}
COLUMNS = READABLE["jobs"]


def upgrade() -> None:
    op.add_column("jobs", sa.Column("claimed_at", sa.DateTime(timezone=True)))
    op.add_column("jobs", sa.Column("model_id", sa.Uuid()))
    op.add_column("jobs", sa.Column("dataset_id", sa.Uuid()))
    op.add_column("jobs", sa.Column("retry_of", sa.Uuid()))
    op.add_column("jobs", sa.Column("priority", sa.SmallInteger(), server_default="5", nullable=False))
    op.add_column("jobs", sa.Column("time_limit_seconds", sa.Float()))
    op.add_column("jobs", sa.Column("memory_limit_bytes", sa.BigInteger()))
    op.create_foreign_key(
        op.f("fk_jobs_retry_of_jobs"), "jobs", "jobs", ["retry_of"], ["id"], ondelete="SET NULL"
    )
    for column in ("model_id", "dataset_id", "retry_of"):
        op.create_index(op.f(f"ix_jobs_{column}"), "jobs", [column])
    op.create_index("ix_jobs_turns", "jobs", ["queue", "project_id", "claimed_at"])
    _attempts()
    _say_what_old_jobs_are_about()
    op.execute(_for_grafana("GRANT", "TO"))


def downgrade() -> None:
    op.execute(_for_grafana("REVOKE", "FROM"))
    op.drop_table("job_attempts")
    op.drop_index("ix_jobs_turns", "jobs")
    for column in reversed(COLUMNS):
        op.drop_column("jobs", column)


def _attempts() -> None:
    op.create_table(
        "job_attempts",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("worker", sa.String(200), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("outcome", sa.String(20)),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text())),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_attempts_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_job_attempts")),
    )


def _say_what_old_jobs_are_about() -> None:
    op.execute("UPDATE jobs SET claimed_at = started_at WHERE started_at IS NOT NULL")
    op.execute("UPDATE jobs SET model_id = subject_id WHERE kind = 'train'")
    op.execute("UPDATE jobs SET dataset_id = (request->>'dataset_id')::uuid WHERE kind = 'profile'")
    op.execute(
        "UPDATE jobs j SET dataset_id = v.dataset_id FROM dataset_versions v"
        " WHERE j.kind = 'train' AND v.id = (j.request->>'dataset_version_id')::uuid"
    )


def _for_grafana(verb: str, preposition: str) -> str:
    """Columns without the users' data, to the dashboards' role where there is one."""
    statements = " ".join(
        f"{verb} SELECT ({', '.join(columns)}) ON {table} {preposition} {GRAFANA};"
        for table, columns in READABLE.items()
    )
    return f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{GRAFANA}') THEN {statements} END IF; END $$"
