from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from api_server.database import Base


class PlatformFigure(Base):
    """A count that is too dear for each scrape. name: of the metric, then a value for each of its labels: `a/b/c`."""

    __tablename__ = "platform_figures"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    value: Mapped[float]
    measured_at: Mapped[datetime]
