"""history of predictions

Revision ID: 0006
Revises: 0005
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS = ("prediction", "confidence", "is_warned")


def upgrade() -> None:
    op.add_column("predictions", sa.Column("prediction", sa.String(200)))
    op.add_column("predictions", sa.Column("confidence", sa.Float()))
    op.add_column(
        "predictions", sa.Column("is_warned", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.execute(
        "UPDATE predictions SET prediction = left(answer ->> 'prediction', 200),"
        " confidence = (answer ->> 'confidence_score')::float,"
        " is_warned = jsonb_array_length(answer -> 'metadata' -> 'warnings') > 0"
    )
    op.create_index("ix_predictions_of_user", "predictions", ["user_id", "created_at", "id"])
    op.create_index("ix_predictions_of_model", "predictions", ["model_id", "created_at", "id"])
    op.create_index(
        "ix_predictions_by_prediction", "predictions", ["user_id", "prediction", "created_at", "id"]
    )
    op.create_index(
        "ix_predictions_warned",
        "predictions",
        ["user_id", "created_at", "id"],
        postgresql_where=sa.text("is_warned"),
    )
    op.drop_index("ix_predictions_user_id", "predictions")
    op.drop_index("ix_predictions_model_id", "predictions")


def downgrade() -> None:
    op.create_index("ix_predictions_model_id", "predictions", ["model_id"])
    op.create_index("ix_predictions_user_id", "predictions", ["user_id"])
    for index in ("warned", "by_prediction", "of_model", "of_user"):
        op.drop_index(f"ix_predictions_{index}", "predictions")
    for column in reversed(COLUMNS):
        op.drop_column("predictions", column)
