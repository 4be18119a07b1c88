"""The order that a client relies on: commit first, then the answer. FastAPI's default is the other way round."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, get_args

import httpx2
import pytest
from fastapi import Depends, FastAPI, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Receive, Scope, Send

from api_server.database import SessionDep, Sessions, get_session, make_engine, make_sessions, transaction
from api_server.settings import Settings
from platform_kit.plumbing.problems import Problem, add_problem_handlers


class CommitRefused(Problem):
    status, title = 409, "Commit refused"


class Story:
    """Notes what happens in which order; makes commits fail when told to."""

    def __init__(self, sessions: Sessions, *, fails: bool) -> None:
        self.told: list[str] = []
        story = self
        self.fails = fails
        self.app = FastAPI()
        add_problem_handlers(self.app, show_values=True)

        async def watched(request: Request) -> AsyncIterator[AsyncSession]:
            async for session in get_session(sessions):
                yield session
            if story.fails:
                raise CommitRefused("The commit did not go through.")
            story.told.append("commit")

        @self.app.post("/default", status_code=201)
        async def default(session: Annotated[AsyncSession, Depends(watched)]) -> dict[str, Any]:
            return {}

        @self.app.post("/ours", status_code=201)
        async def ours(
            session: Annotated[AsyncSession, Depends(watched, scope="function")],
        ) -> dict[str, Any]:
            return {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noting(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.told.append(f"answer {message['status']}")
            await send(message)

        await self.app(scope, receive, noting)

    async def post(self, path: str) -> int:
        transport = httpx2.ASGITransport(app=self, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as http:
            return (await http.post(path)).status_code


class TestOrder:
    async def test_commits_before_it_answers(self, sessions: Sessions) -> None:
        story = Story(sessions, fails=False)

        assert await story.post("/ours") == 201

        assert story.told == ["commit", "answer 201"]

    async def test_of_a_failed_commit_is_no_success(self, sessions: Sessions) -> None:
        story = Story(sessions, fails=True)

        assert await story.post("/ours") == 409

        assert story.told == ["answer 409"]

    async def test_would_be_wrong_by_default(self, sessions: Sessions) -> None:
        """When this fails, FastAPI has changed its default and the scope may go."""
        story = Story(sessions, fails=False)

        await story.post("/default")

        assert story.told == ["answer 201", "commit"]

    def test_is_the_one_that_every_route_uses(self) -> None:
        (dependency,) = get_args(SessionDep)[1:]

        assert dependency.scope == "function"


class TestAway:
    @pytest.fixture
    def nowhere(self, settings: Settings) -> Sessions:
        url = type(settings.database_url)("postgresql+asyncpg://app:x@127.0.0.1:1/platform")
        return make_sessions(make_engine(settings.model_copy(update={"database_url": url})))

    async def test_is_a_503_that_says_to_come_back(self, nowhere: Sessions) -> None:
        story = Story(nowhere, fails=False)

        async def lost() -> AsyncIterator[AsyncSession]:
            async with transaction(nowhere) as session:
                yield session

        @story.app.post("/write")
        async def write(session: Annotated[AsyncSession, Depends(lost, scope="function")]) -> None:
            await session.connection()

        assert await story.post("/write") == 503
