"""The history, and what a caller gets when ml-service is away. With ml-service: tests/end_to_end and `make verify`."""

from datetime import UTC, datetime
from uuid import uuid4

import httpx2
import pytest

from api_server.auth.actor import Actor
from api_server.database import Sessions, transaction
from api_server.predictions import service
from api_server.predictions.schemas import PredictIn
from platform_kit.contract.access import Role
from platform_kit.contract.prediction import Prediction, PredictionMetadata
from tests.api_server.factories import SignedIn

BODY = {"model_id": "demo_model_1", "input_data": {"feature1": 1.0}}


async def predicted(who: SignedIn, sessions: Sessions, *, model_id: str = "demo_model_1") -> str:
    """Put one answer of ml-service into the history."""
    answer = Prediction(
        model_id=model_id,
        prediction=1,
        confidence_score=0.9,
        probabilities=None,
        processing_time=1.5,
        timestamp=datetime.now(UTC),
        prediction_id=str(uuid4()),
        metadata=PredictionMetadata(model_version=1, digest="0" * 64, cache_used=False, warnings=[]),
    )
    actor = Actor(who.id, who.username, Role.DATA_SCIENTIST, uuid4(), datetime.now(UTC))
    async with transaction(sessions) as session:
        await service.remember(
            session, actor, PredictIn.model_validate({**BODY, "model_id": model_id}), answer
        )
    return answer.prediction_id


class TestCreate:
    async def test_without_ml_service_is_a_503_and_leaves_nothing(self, maker: SignedIn) -> None:
        answer = await maker.http.post("/predictions", json=BODY)

        assert (answer.status_code, answer.json()["code"]) == (503, "ml_service_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert (await maker.http.get("/predictions")).json()["total"] == 0

    async def test_needs_a_credential(self, client: httpx2.AsyncClient) -> None:
        assert (await client.post("/predictions", json=BODY)).status_code == 401

    @pytest.mark.parametrize("bad", [{}, {"model_id": "m"}, {**BODY, "inputs": []}, {**BODY, "model_id": ""}])
    async def test_names_what_is_wrong(self, maker: SignedIn, bad: dict[str, object]) -> None:
        answer = await maker.http.post("/predictions", json=bad)

        assert answer.status_code == 422
        assert answer.json()["errors"]

    @pytest.mark.parametrize("name", ["return_probabilities", "use_cache", "explain"])
    async def test_takes_no_number_for_a_yes_or_no(self, maker: SignedIn, name: str) -> None:
        answer = await maker.http.post("/predictions", json={**BODY, name: 0})

        assert answer.status_code == 422
        assert [each["pointer"] for each in answer.json()["errors"]] == [f"/{name}"]


class TestHistory:
    async def test_is_the_callers_own(self, maker: SignedIn, other: SignedIn, sessions: Sessions) -> None:
        mine, _ = await predicted(maker, sessions), await predicted(other, sessions)

        listed = (await maker.http.get("/predictions")).json()

        assert [each["prediction_id"] for each in listed["items"]] == [mine]
        assert (await maker.http.get(f"/predictions/{mine}")).json()["answer"]["confidence_score"] == 0.9
        assert (await other.http.get(f"/predictions/{mine}")).status_code == 404

    async def test_is_filtered_by_model_and_time(self, maker: SignedIn, sessions: Sessions) -> None:
        await predicted(maker, sessions)
        wanted = await predicted(maker, sessions, model_id="other-model")
        now = datetime.now(UTC).isoformat()

        by_model = (await maker.http.get("/predictions", params={"model_id": "other-model"})).json()
        later = (await maker.http.get("/predictions", params={"since": now})).json()
        earlier = (await maker.http.get("/predictions", params={"until": now})).json()

        assert [each["prediction_id"] for each in by_model["items"]] == [wanted]
        assert (later["total"], earlier["total"]) == (0, 2)

    @pytest.mark.parametrize("moment", ["0.5", "2026-11-01T12:00:00", "0001-01-01T00:00:00+14:00"])
    async def test_takes_no_moment_that_is_none(self, maker: SignedIn, moment: str) -> None:
        answer = await maker.http.get("/predictions", params={"since": moment})

        assert answer.status_code == 422
        assert [each["pointer"] for each in answer.json()["errors"]] == ["query:since"]
