"""identity and audit

Revision ID: 0003
Revises: 0002
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

GRAFANA = "mlp_grafana"
READABLE = {
    "api_keys": (
        *("id", "user_id", "scopes", "project_id", "endpoint", "expires_at", "revoked_at", "last_used_at"),
        "created_at",
    ),
    "audit_log": (
        "seq",
        "created_at",
        "service",
        "action",
        "outcome",
        "status",
        "code",
        "user_id",
        "project_id",
    ),
}
QUOTAS = ("quota_dataset_bytes", "quota_models", "quota_jobs_at_once")


def upgrade() -> None:
    op.add_column("users", sa.Column("last_login_at", sa.DateTime(timezone=True)))
    op.add_column("users", sa.Column("reset_requested_at", sa.DateTime(timezone=True)))
    op.add_column("projects", sa.Column("quota_dataset_bytes", sa.BigInteger()))
    op.add_column("projects", sa.Column("quota_models", sa.Integer()))
    op.add_column("projects", sa.Column("quota_jobs_at_once", sa.Integer()))
    _api_keys()
    _invitations()
    _password_resets()
    _audit_log()
    op.execute(_for_grafana("GRANT", "TO"))


def downgrade() -> None:
    op.execute(_for_grafana("REVOKE", "FROM"))
    op.drop_table("audit_log")
    op.execute("DROP FUNCTION refuse_change_of_audit_log()")
    for table in ("password_resets", "invitations", "api_keys"):
        op.drop_table(table)
    for column in QUOTAS:
        op.drop_column("projects", column)
    op.drop_column("users", "reset_requested_at")
    op.drop_column("users", "last_login_at")


def _id_and_time(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    ]


def _refers(table: str, column: str, to: str, then: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}_{to}"), ondelete=then
    )


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        *_id_and_time("api_keys"),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("prefix", sa.String(20), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.String(20)), nullable=False),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("endpoint", sa.String(100)),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_address", sa.String(60)),
        _refers("api_keys", "user_id", "users", "CASCADE"),
        _refers("api_keys", "project_id", "projects", "CASCADE"),
        sa.UniqueConstraint("sha256", name=op.f("uq_api_keys_sha256")),
    )
    for column in ("created_at", "project_id", "user_id"):
        op.create_index(op.f(f"ix_api_keys_{column}"), "api_keys", [column])


def _invitations() -> None:
    op.create_table(
        "invitations",
        *_id_and_time("invitations"),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("email", sa.String(320)),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.Column("used_by", sa.Uuid()),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        _refers("invitations", "created_by", "users", "SET NULL"),
        _refers("invitations", "used_by", "users", "SET NULL"),
        sa.UniqueConstraint("sha256", name=op.f("uq_invitations_sha256")),
    )
    op.create_index(op.f("ix_invitations_created_at"), "invitations", ["created_at"])


def _password_resets() -> None:
    op.create_table(
        "password_resets",
        *_id_and_time("password_resets"),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        _refers("password_resets", "user_id", "users", "CASCADE"),
        _refers("password_resets", "created_by", "users", "SET NULL"),
        sa.UniqueConstraint("sha256", name=op.f("uq_password_resets_sha256")),
    )
    for column in ("created_at", "user_id"):
        op.create_index(op.f(f"ix_password_resets_{column}"), "password_resets", [column])


def _audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("service", sa.String(30), nullable=False),
        sa.Column("action", sa.String(60), nullable=False),
        sa.Column("outcome", sa.String(10), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("code", sa.String(60)),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("username", sa.String(50)),
        sa.Column("credential", sa.String(60)),
        sa.Column("address", sa.String(60)),
        sa.Column("request_id", sa.String(128)),
        sa.Column("object_type", sa.String(30)),
        sa.Column("object_id", sa.String(200)),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_log")),
        sa.UniqueConstraint("id", name=op.f("uq_audit_log_id")),
    )
    op.create_index("ix_audit_log_created_at", "audit_log", ["created_at"])
    op.create_index("ix_audit_log_request_id", "audit_log", ["request_id"])
    for column in ("user_id", "project_id", "object_id", "action", "address"):
        op.create_index(f"ix_audit_log_{column}", "audit_log", [column, "seq"])
    op.execute(
        "CREATE FUNCTION refuse_change_of_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE insufficient_privilege USING MESSAGE = 'entries of audit_log are never changed'; END $$"
    )
    for name, events, each in (("rows", "UPDATE OR DELETE", "ROW"), ("table", "TRUNCATE", "STATEMENT")):
        op.execute(
            f"CREATE TRIGGER audit_log_keeps_its_{name} BEFORE {events} ON audit_log"
            f" FOR EACH {each} EXECUTE FUNCTION refuse_change_of_audit_log()"
        )


def _for_grafana(verb: str, preposition: str) -> str:
    """Columns without secrets or addresses, to the dashboards' role where there is one."""
    statements = " ".join(
        f"{verb} SELECT ({', '.join(columns)}) ON {table} {preposition} {GRAFANA};"
        for table, columns in READABLE.items()
    )
    return f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{GRAFANA}') THEN {statements} END IF; END $$"
