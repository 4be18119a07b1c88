import asyncio

import pytest

from api_server.auth.errors import TooManyLogins
from api_server.auth.passwords import LONGEST_QUEUE, Passwords


class TestVerify:
    async def test_tells_the_right_one_from_others(self) -> None:
        passwords = Passwords()
        kept = await passwords.hash("x" * 72 + "a")

        assert await passwords.verify("x" * 72 + "a", kept)
        assert not await passwords.verify("x" * 72 + "b", kept)
        assert not await passwords.verify("x" * 72 + "a", None)

    async def test_turns_a_crowd_away_before_it_eats_the_machine(self) -> None:
        passwords = Passwords()
        kept = await passwords.hash("right")

        crowd = [asyncio.create_task(passwords.verify("wrong", kept)) for _ in range(LONGEST_QUEUE + 20)]
        answers = await asyncio.gather(*crowd, return_exceptions=True)

        refused = [each for each in answers if isinstance(each, TooManyLogins)]
        assert len(refused) == 20
        assert refused[0].headers["Retry-After"] == "2"
        with pytest.raises(TooManyLogins):
            raise refused[0]
