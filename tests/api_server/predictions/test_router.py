"""What a caller gets through the API: ml-service's own words. With that itself: tests/end_to_end and `make verify`."""

import json
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import select, text

from api_server.database import Sessions, transaction
from api_server.predictions.models import PredictionRecord
from api_server.predictions.service import UNREMEMBERED
from api_server.settings import Settings
from platform_kit.plumbing.storable import MOST_JSON_BYTES
from tests.api_server.factories import SignedIn
from tests.api_server.predictions.conftest import api_with
from tests.api_server.predictions.peer import Peer, answer

BODY = {"model_id": "demo_model_1", "input_data": {"feature1": 1.0}}
JSON = {"Content-Type": "application/json"}
PROBLEM = {
    "type": "about:blank",
    "title": "Invalid input",
    "status": 422,
    "detail": "1 error; please mend age.",
    "instance": "/predict/demo_model_1",
    "code": "invalid_input",
    "request_id": "theirs",
    "errors": [{"pointer": "/input_data/age", "field": "age", "code": "wrong_type", "got": '"x"'}],
}


async def kept(sessions: Sessions) -> list[PredictionRecord]:
    async with transaction(sessions) as session:
        return list(await session.scalars(select(PredictionRecord)))


class TestCreate:
    async def test_without_ml_service_is_a_503_and_leaves_nothing(self, maker: SignedIn) -> None:
        answer = await maker.http.post("/predictions", json=BODY)

        assert (answer.status_code, answer.json()["code"]) == (503, "ml_service_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert (await maker.http.get("/predictions")).json()["total"] == 0

    async def test_needs_a_credential(self, client: httpx2.AsyncClient) -> None:
        assert (await client.post("/predictions", json=BODY)).status_code == 401

    @pytest.mark.parametrize("bad", [{}, {"model_id": 1, "input_data": {}}, {**BODY, "model_id": ""}])
    async def test_names_what_is_wrong_with_the_model(self, maker: SignedIn, bad: dict[str, object]) -> None:
        answer = await maker.http.post("/predictions", json=bad)

        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert "/model_id" in [each["pointer"] for each in answer.json()["errors"]]

    async def test_sends_on_what_it_was_sent(self, asking: httpx2.AsyncClient, peer: Peer) -> None:
        rest = '{"input_data": {"a": 1.00, "a": NaN, "b": "\\ud800"}, "explain": 1, "more": []}'
        body = '{"model_id": "churn", ' + rest[1:]

        await asking.post("/predictions", content=body, headers={**JSON, "X-Request-ID": "mine"})

        (path, headers, sent) = peer.sent[0]
        assert (path, sent.decode()) == ("/predict/churn", rest)
        assert headers["authorization"] == asking.headers["Authorization"]
        assert (headers["x-request-id"], headers["content-type"]) == ("mine", "application/json")

    async def test_answers_as_ml_service_does(self, asking: httpx2.AsyncClient, peer: Peer) -> None:
        explained = answer(
            explanation={
                "method": "tree_shap",
                "is_exact": True,
                "explains": "yes",
                "scale": "log_odds",
                "base_value": 0.1,
                "raw_score": 0.3,
                "contributions": {"age": 0.2},
                "reasons": ["age raises it"],
                "note": None,
            },
            outputs={"churns": "yes"},
            prediction="yes",
            metadata={"warnings": [{"pointer": "/input_data/age", "field": "age", "code": "out_of_range"}]},
        )
        peer.will_answer(explained)

        got = await asking.post("/predictions", json=BODY)
        history = (await asking.get(f"/predictions/{explained['prediction_id']}")).json()

        assert (got.status_code, got.json()) == (200, explained)
        assert history["answer"]["explanation"] == explained["explanation"]
        assert history["answer"]["outputs"] == {"churns": "yes"}
        assert history["input_data"] == BODY["input_data"]

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503])
    async def test_refuses_as_ml_service_does(
        self, asking: httpx2.AsyncClient, peer: Peer, sessions: Sessions, status: int
    ) -> None:
        peer.will_answer({**PROBLEM, "status": status}, status=status, headers={"Retry-After": "7"})

        got = await asking.post("/predictions", json=BODY)

        assert got.status_code == status
        assert got.headers["Retry-After"] == "7"
        assert got.headers["Content-Type"] == "application/problem+json"
        mine = {"instance": "/api/v1/predictions", "request_id": got.headers["X-Request-ID"]}
        assert got.json() == {**PROBLEM, "status": status, **mine}
        assert await kept(sessions) == []

    async def test_passes_on_what_a_refusal_quotes_of_broken_text(
        self, asking: httpx2.AsyncClient, peer: Peer
    ) -> None:
        errors = [{"pointer": "/input_data/\ud800", "code": "unknown_field", "got": '"\0\ud800"'}]
        peer.will_answer({**PROBLEM, "errors": errors}, status=422)

        got = await asking.post("/predictions", json=BODY)

        assert (got.status_code, got.json()["errors"]) == (422, errors)

    async def test_shows_no_values_where_none_are_to_be_shown(
        self, settings: Settings, peer: Peer, maker: SignedIn
    ) -> None:
        peer.will_answer(PROBLEM, status=422)

        async with api_with(settings, ml_internal_url=peer.url, problems_show_values=False) as http:
            got = await http.post("/predictions", json=BODY, headers=maker.http.headers)

        (issue,) = got.json()["errors"]
        assert issue == {"pointer": "/input_data/age", "field": "age", "code": "wrong_type"}

    @pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"status": 502}'])
    async def test_takes_no_words_of_others_for_an_answer(
        self, asking: httpx2.AsyncClient, peer: Peer, content: bytes
    ) -> None:
        peer.will_answer(content, status=502)

        got = await asking.post("/predictions", json=BODY)

        assert (got.status_code, got.json()["code"]) == (503, "ml_service_unavailable")

    async def test_asks_nobody_about_a_name_that_is_an_address(
        self, asking: httpx2.AsyncClient, peer: Peer
    ) -> None:
        got = await asking.post("/predictions", json={**BODY, "model_id": "demo_model_1/batch"})

        assert (got.status_code, got.json()["code"], peer.sent) == (404, "model_not_found", [])

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
    async def test_takes_json_alone(self, asking: httpx2.AsyncClient, kind: str) -> None:
        got = await asking.post("/predictions", content=json.dumps(BODY), headers={"Content-Type": kind})

        assert (got.status_code, got.json()["code"]) == (415, "not_json")

    @pytest.mark.parametrize(
        "kind", ["application/json; charset=utf-8", "application/geo+json", "APPLICATION/JSON"]
    )
    async def test_takes_json_by_any_of_its_names(self, asking: httpx2.AsyncClient, kind: str) -> None:
        got = await asking.post("/predictions", content=json.dumps(BODY), headers={"Content-Type": kind})

        assert got.status_code == 200

    @pytest.mark.parametrize("is_declared", [True, False])
    async def test_takes_no_large_body(
        self, asking: httpx2.AsyncClient, peer: Peer, *, is_declared: bool
    ) -> None:
        body = b" " * MOST_JSON_BYTES + json.dumps(BODY).encode()

        async def in_pieces() -> Any:
            yield body

        content: Any = body if is_declared else in_pieces()
        got = await asking.post("/predictions", content=content, headers=JSON)

        assert (got.status_code, got.json()["code"], peer.sent) == (413, "too_large", [])


class TestRemembering:
    """The answer stands, whatever becomes of the history."""

    async def test_keeps_what_postgres_can_of_what_it_cannot(
        self, asking: httpx2.AsyncClient, peer: Peer, sessions: Sessions
    ) -> None:
        warnings = [{"pointer": "/input_data/city", "code": "unknown_category", "got": '"\ud800"'}]
        peer.will_answer(answer(prediction="a\0b", metadata={"warnings": warnings}))
        row = '{"city": "a\\u0000b\\ud800", "x\\u0000": 1e400, "y": NaN, "deep": ' + "[" * 99 + "]" * 99 + "}"

        got = await asking.post(
            "/predictions", content=f'{{"model_id": "m", "input_data": {row}}}', headers=JSON
        )

        assert (got.status_code, got.json()["prediction"]) == (200, "a\0b")
        (record,) = await kept(sessions)
        deep = record.input_data.pop("deep")
        assert "…" in json.dumps(deep, ensure_ascii=False)
        assert record.input_data == {"city": "a\ufffdb\ufffd", "x\ufffd": "Infinity", "y": "NaN"}
        assert (record.prediction, record.is_warned) == ("a\ufffdb", True)
        assert (await asking.get("/predictions")).status_code == 200

    async def test_is_not_waited_for_if_it_is_refused(
        self, asking: httpx2.AsyncClient, peer: Peer, owner_sessions: Sessions, sessions: Sessions
    ) -> None:
        missing = UNREMEMBERED._value.get()
        refuse = "ALTER TABLE predictions ADD CONSTRAINT refuse CHECK (false)"
        async with transaction(owner_sessions) as session:
            await session.execute(text(refuse))
        try:
            got = await asking.post("/predictions", json=BODY)
        finally:
            async with transaction(owner_sessions) as session:
                await session.execute(text("ALTER TABLE predictions DROP CONSTRAINT refuse"))

        assert (got.status_code, got.json()["prediction"]) == (200, 1)
        assert await kept(sessions) == []
        assert UNREMEMBERED._value.get() == missing + 1

    async def test_of_an_id_that_is_there_already_changes_nothing(
        self, asking: httpx2.AsyncClient, peer: Peer, sessions: Sessions
    ) -> None:
        same = str(uuid4())
        for prediction in (1, 0):
            peer.will_answer(answer(prediction_id=same, prediction=prediction))
            assert (await asking.post("/predictions", json=BODY)).json()["prediction"] == prediction

        assert [each.prediction for each in await kept(sessions)] == ["1"]
