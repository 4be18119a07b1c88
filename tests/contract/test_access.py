"""What ml-service concludes from what api-server says of a caller."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from api_server.auth.permissions import RULES, Action
from ml_service.serving.access import PREDICTING, READING, Purpose
from platform_kit.contract.access import Principal, Role, Scope

PROJECT, OTHER = UUID(int=1), UUID(int=2)


def principal(**facts: Any) -> Principal:
    known = {
        "user_id": uuid4(),
        "username": "ada",
        "role": Role.USER,
        "credential_id": uuid4(),
        "sees_all": False,
        "project_ids": [PROJECT],
        "scopes": None,
        "endpoint": None,
        "expires_at": datetime(2100, 1, 1, tzinfo=UTC),
    }
    return Principal.model_validate({**known, **facts})


class TestMaySee:
    @pytest.mark.parametrize(
        ("facts", "seen"),
        [
            ({}, [True, True, False]),
            ({"endpoint": "churn"}, [True, False, False]),
            ({"sees_all": True, "project_ids": []}, [True, True, True]),
            ({"project_ids": []}, [False, False, False]),
        ],
    )
    def test_is_the_project_and_the_endpoint(self, facts: dict[str, Any], seen: list[bool]) -> None:
        models = [(PROJECT, "churn"), (PROJECT, "prices"), (OTHER, "sales")]

        assert [principal(**facts).may_see(*each) for each in models] == seen


class TestMay:
    def test_a_session_may_all_and_a_key_what_it_is_for(self) -> None:
        assert principal().may(Scope.PREDICT)
        assert principal(scopes=[Scope.READ]).may(Scope.PREDICT, Scope.READ)
        assert not principal(scopes=[Scope.READ]).may(Scope.PREDICT)
        assert not principal(scopes=[]).may(*Scope)


class TestRestsOn:
    def test_is_on_its_credential_its_user_and_its_projects(self) -> None:
        who = principal()

        assert all(who.rests_on({each, uuid4()}) for each in (who.credential_id, who.user_id, PROJECT))
        assert not who.rests_on({OTHER, uuid4()})
        assert not who.rests_on(set())


class TestPurposes:
    @pytest.mark.parametrize("purpose", [PREDICTING, READING], ids=lambda each: each.action)
    def test_are_named_as_api_server_names_them_and_need_no_less(self, purpose: Purpose) -> None:
        rule = RULES[Action(purpose.action)]

        assert rule.scope in purpose.scopes
