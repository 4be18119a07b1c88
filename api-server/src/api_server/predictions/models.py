from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from api_server.database import Base, HasCreatedAt, HasId


class PredictionRecord(HasId, HasCreatedAt, Base):
    """id is the prediction_id that ml-service gave; model_id is text because the demo models have no UUID."""

    __tablename__ = "predictions"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    model_id: Mapped[str] = mapped_column(String(200), index=True)
    model_version: Mapped[int]
    input_data: Mapped[dict[str, Any]]
    answer: Mapped[dict[str, Any]] = mapped_column(JSONB)
