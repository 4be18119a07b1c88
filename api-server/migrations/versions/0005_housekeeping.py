"""housekeeping

Revision ID: 0005
Revises: 0004
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

GRAFANA = "mlp_grafana"
COLUMNS = "name, value, measured_at"


def upgrade() -> None:
    op.create_table(
        "platform_figures",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_platform_figures")),
    )
    # Whether an object is anybody's is asked for each one in the storage, again and again.
    op.create_index(op.f("ix_dataset_versions_key"), "dataset_versions", ["key"])
    op.create_index(op.f("ix_model_versions_manifest_key"), "model_versions", ["manifest_key"])
    op.create_index(
        "ix_model_versions_files",
        "model_versions",
        [sa.literal_column("(manifest -> 'files')").label("files")],
        postgresql_using="gin",
        postgresql_ops={"files": "jsonb_path_ops"},
    )
    op.execute(_for_grafana("GRANT", "TO"))


def downgrade() -> None:
    op.drop_index("ix_model_versions_files", "model_versions")
    op.drop_index("ix_model_versions_manifest_key", "model_versions")
    op.drop_index("ix_dataset_versions_key", "dataset_versions")
    op.drop_table("platform_figures")


def _for_grafana(verb: str, preposition: str) -> str:
    """Counts, which are nobody's secret, to the dashboards' role where there is one."""
    statement = f"{verb} SELECT ({COLUMNS}) ON platform_figures {preposition} {GRAFANA};"
    return f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{GRAFANA}') THEN {statement} END IF; END $$"
