from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, false
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from api_server.database import Base, HasCreatedAt, HasId

LONGEST_LABEL = 200
"""A longer one is cut: no index could hold it."""


class PredictionRecord(HasId, HasCreatedAt, Base):
    """id is the prediction_id that ml-service gave; model_id is text because the demo models have no UUID.

    prediction (spelt as a key of `probabilities`), confidence and is_warned repeat what `answer` says: to filter by.
    """

    __tablename__ = "predictions"
    __table_args__ = (
        Index("ix_predictions_of_user", "user_id", "created_at", "id"),
        Index("ix_predictions_of_model", "model_id", "created_at", "id"),
        Index("ix_predictions_by_prediction", "user_id", "prediction", "created_at", "id"),
        Index("ix_predictions_warned", "user_id", "created_at", "id", postgresql_where="is_warned"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    model_id: Mapped[str] = mapped_column(String(200))
    model_version: Mapped[int]
    prediction: Mapped[str | None] = mapped_column(String(LONGEST_LABEL))
    confidence: Mapped[float | None]
    is_warned: Mapped[bool] = mapped_column(default=False, server_default=false())
    input_data: Mapped[dict[str, Any]]
    answer: Mapped[dict[str, Any]] = mapped_column(JSONB)
