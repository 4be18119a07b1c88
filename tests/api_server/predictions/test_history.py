"""One's own predictions, found again by what is known of them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from api_server.database import Sessions, transaction
from api_server.predictions.models import PredictionRecord
from platform_kit.contract.access import Role
from tests.api_server.conftest import SignIn
from tests.api_server.factories import SignedIn, new_model
from tests.api_server.predictions.peer import answer

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
BAD = {
    "model_version": ["0", "x", str(2**31)],
    "project_id": ["x", "00000000"],
    "user_id": ["x"],
    "since": ["0.5", "2026-11-01T12:00:00", "0001-01-01T00:00:00+14:00"],
    "until": ["yesterday"],
    "min_confidence": ["-0.1", "NaN", "x"],
    "max_confidence": ["1.1", "Infinity"],
    "warned": ["perhaps"],
    "sort": ["confidence", "model_id"],
}


async def predicted(who: SignedIn, sessions: Sessions, **facts: Any) -> str:
    """Put one answer of ml-service into the history, as it was some days after LONG_AGO."""
    known = {
        "model_id": "demo_model_1",
        "model_version": 1,
        "prediction": "1",
        "confidence": 0.9,
        "is_warned": False,
        "days": 0,
        **facts,
    }
    created_at = LONG_AGO + timedelta(days=known.pop("days"))
    given = answer(model_id=known["model_id"], confidence_score=known["confidence"])
    record = PredictionRecord(
        id=UUID(given["prediction_id"]),
        user_id=who.id,
        input_data={"feature1": 1.0},
        answer=given,
        created_at=created_at,
        **known,
    )
    async with transaction(sessions) as session:
        session.add(record)
    return str(record.id)


async def found(http: httpx2.AsyncClient, **filters: Any) -> list[str]:
    answer = await http.get("/predictions", params=filters)
    assert answer.status_code == 200, answer.text
    listed = answer.json()
    assert listed["total"] == len(listed["items"])
    return [each["prediction_id"] for each in listed["items"]]


async def pages(http: httpx2.AsyncClient, **params: Any) -> list[str]:
    """All, two at a time."""
    seen: list[str] = []
    while True:
        page = (await http.get("/predictions", params={**params, "limit": 2})).json()
        seen += [each["prediction_id"] for each in page["items"]]
        if page["next_cursor"] is None:
            assert page["total"] == len(seen)
            return seen
        params["cursor"] = page["next_cursor"]


@pytest.fixture
async def model(maker: SignedIn) -> dict[str, Any]:
    return await new_model(maker)


Scene = tuple[dict[str, Any], str]
"""What fits one prediction alone, and its id."""


@pytest.fixture
async def scene(maker: SignedIn, sessions: Sessions, model: dict[str, Any]) -> Scene:
    """One that differs from each of the others in one thing, and they from it."""
    wanted: Mapping[str, Any] = {
        "model_id": model["id"],
        "model_version": 3,
        "prediction": "yes",
        "confidence": 0.6,
        "is_warned": True,
        "days": 10,
    }
    others = (
        {"model_id": "demo_model_1"},
        {"model_version": 2},
        {"prediction": "no"},
        {"confidence": 0.4},
        {"confidence": 0.8},
        {"confidence": None, "prediction": "yes", "model_id": "demo_model_2"},
        {"is_warned": False},
        {"days": 1},
        {"days": 20},
    )
    for each in others:
        await predicted(maker, sessions, **{**wanted, **each})
    filters = {
        "model_id": model["id"],
        "project_id": model["project_id"],
        "model_version": 3,
        "prediction": "yes",
        "min_confidence": 0.5,
        "max_confidence": 0.7,
        "warned": True,
        "since": (LONG_AGO + timedelta(days=5)).isoformat(),
        "until": (LONG_AGO + timedelta(days=15)).isoformat(),
    }
    return filters, await predicted(maker, sessions, **wanted)


class TestFilters:
    async def test_all_together_find_the_one(self, maker: SignedIn, scene: Scene) -> None:
        filters, wanted = scene

        assert await found(maker.http, **filters) == [wanted]
        assert len(await found(maker.http)) == 10

    async def test_each_leaves_out_what_it_alone_is_about(self, maker: SignedIn, scene: Scene) -> None:
        filters, wanted = scene
        alike = {"model_id", "project_id"}  # either keeps the other's out

        for name in filters.keys() - alike:
            without = {each: value for each, value in filters.items() if each != name}
            more = await found(maker.http, **without)
            assert wanted in more
            assert len(more) == 2, name
        neither = {name: value for name, value in filters.items() if name not in alike}
        assert len(await found(maker.http, **neither)) == 2

    async def test_each_pair_finds_what_both_find(self, maker: SignedIn, scene: Scene) -> None:
        filters, _ = scene
        alone = {name: set(await found(maker.http, **{name: value})) for name, value in filters.items()}

        for one, other in combinations(filters, 2):
            both = await found(maker.http, **{one: filters[one], other: filters[other]})
            assert set(both) == alone[one] & alone[other], (one, other)

    async def test_take_a_model_by_its_endpoints_name(
        self, maker: SignedIn, sessions: Sessions, model: dict[str, Any]
    ) -> None:
        wanted = await predicted(maker, sessions, model_id=model["id"])
        await predicted(maker, sessions)

        assert await found(maker.http, model_id=model["endpoint"]) == [wanted]
        assert await found(maker.http, model_id="nothing-of-this-name") == []
        assert await found(maker.http, project_id=str(uuid4())) == []

    @pytest.mark.parametrize(
        ("prediction", "others"),
        [("1", ["1.0", "true", "01"]), ("true", ["True", "1"]), ("12.5", ["12.50", "12"]), ("", ["null"])],
    )
    async def test_take_an_answer_to_the_letter(
        self, maker: SignedIn, sessions: Sessions, prediction: str, others: list[str]
    ) -> None:
        wanted = await predicted(maker, sessions, prediction=prediction)
        for each in (*others, None):
            await predicted(maker, sessions, prediction=each)

        assert await found(maker.http, prediction=prediction) == [wanted]

    @pytest.mark.parametrize(("name", "value"), [(name, each) for name, bad in BAD.items() for each in bad])
    async def test_name_what_they_do_not_take(self, maker: SignedIn, name: str, value: str) -> None:
        answer = await maker.http.get("/predictions", params={name: value})

        assert answer.status_code == 422
        assert [each["pointer"] for each in answer.json()["errors"]] == [f"query:{name}"]

    async def test_go_on_from_page_to_page(self, maker: SignedIn, sessions: Sessions) -> None:
        wanted = [await predicted(maker, sessions, days=day, is_warned=True) for day in range(5)]
        for day in range(5):
            await predicted(maker, sessions, days=day)

        assert await pages(maker.http, sort="created_at", warned=True) == wanted
        assert await pages(maker.http, sort="-created_at", warned=True) == wanted[::-1]


class TestWhoseTheyAre:
    async def test_is_the_callers_own_whatever_is_asked_for(
        self, maker: SignedIn, other: SignedIn, client: httpx2.AsyncClient, scene: Scene
    ) -> None:
        filters, wanted = scene

        for size in (0, 1, 2, len(filters)):
            for names in combinations(filters, size):
                params = {name: filters[name] for name in names}
                assert await found(other.http, **params) == []
                assert (await client.get("/predictions", params=params)).status_code == 401
        assert (await other.http.get(f"/predictions/{wanted}")).status_code == 404
        assert (await maker.http.get(f"/predictions/{wanted}")).json()["user_id"] == str(maker.id)

    async def test_is_everybodys_for_an_administrator(
        self, maker: SignedIn, other: SignedIn, sign_in: SignIn, sessions: Sessions
    ) -> None:
        admin = await sign_in(Role.ADMIN)
        mine, theirs = await predicted(maker, sessions), await predicted(other, sessions)

        assert set(await found(admin.http)) == {mine, theirs}
        assert await found(admin.http, user_id=str(other.id)) == [theirs]
        assert await found(admin.http, user_id=str(admin.id)) == []

    async def test_may_be_named_and_chosen_by_an_administrator_alone(
        self, maker: SignedIn, other: SignedIn, sessions: Sessions
    ) -> None:
        mine = await predicted(maker, sessions)

        refused = await maker.http.get("/predictions", params={"user_id": str(other.id)})

        assert (refused.status_code, refused.json()["code"]) == (403, "role_missing")
        assert await found(maker.http, user_id=str(maker.id)) == [mine]

    async def test_ends_for_a_key_at_the_project_that_it_is_bound_to(
        self, maker: SignedIn, client: httpx2.AsyncClient, sessions: Sessions, model: dict[str, Any]
    ) -> None:
        elsewhere = (await maker.http.post("/projects", json={"name": "elsewhere"})).json()
        far = await new_model(maker, project_id=elsewhere["id"])
        near = await predicted(maker, sessions, model_id=model["id"])
        await predicted(maker, sessions, model_id=far["id"])
        await predicted(maker, sessions)
        body = {"name": "bound", "scopes": ["read"], "project_id": model["project_id"]}
        secret = (await maker.http.post("/api-keys", json=body)).json()["secret"]
        client.headers["X-API-Key"] = secret

        assert await found(client) == [near]
        assert await found(client, model_id=model["endpoint"], user_id=str(maker.id)) == [near]
        assert await found(client, model_id=far["endpoint"]) == []
        assert await found(client, project_id=elsewhere["id"]) == []
