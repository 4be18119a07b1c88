import asyncio
import json
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import pytest
from passlib.context import CryptContext

from api_server.auth.errors import TooManyLogins
from api_server.auth.passwords import AT_ONCE, LONGEST_QUEUE, Passwords

CROWD = Path(__file__).with_name("crowd.py")
MOST_GROWTH_BYTES = 150 * 2**20
LONGEST_GAP_SECONDS = 0.5
APART = unicodedata.normalize("NFD", "é" * 8)
COMPOSED = unicodedata.normalize("NFC", APART)


@pytest.fixture
def passwords() -> Passwords:
    return Passwords()


class TestVerify:
    @pytest.mark.parametrize(
        ("right", "wrong"),
        [
            ("x" * 72 + "a", "x" * 72 + "b"),
            ("x" * 127 + "a", "x" * 127 + "b"),
            ("x" * 128, "x" * 127),
            ("é" * 36 + "a", "é" * 36 + "b"),
            ("😀" * 127 + "a", "😀" * 127 + "b"),
            ("with\0a", "with\0b"),
            ("with\0", "with"),
            ("Letters.", "letters."),
            ("space at the end ", "space at the end"),
            ("\ud800 half a pair", "\ud801 half a pair"),
        ],
    )
    async def test_tells_the_right_one_from_its_twin(
        self, passwords: Passwords, right: str, wrong: str
    ) -> None:
        kept = await passwords.hash(right)

        assert await passwords.verify(right, kept)
        assert not await passwords.verify(wrong, kept)

    async def test_takes_one_password_for_one_however_it_is_typed(self, passwords: Passwords) -> None:
        assert (await passwords.verify(COMPOSED, await passwords.hash(APART))).is_right
        assert (await passwords.verify(APART, await passwords.hash(COMPOSED))).is_right

    @pytest.mark.alone
    async def test_says_no_without_a_hash_and_takes_as_long(self, passwords: Passwords) -> None:
        kept = await passwords.hash("right")
        await passwords.verify("warm-up", None)
        missing, wrong = [], []
        for _ in range(15):
            started = time.perf_counter()
            assert not await passwords.verify("wrong", None)
            between = time.perf_counter()
            assert not await passwords.verify("wrong", kept)
            missing.append(between - started)
            wrong.append(time.perf_counter() - between)

        assert 0.67 < sorted(missing)[7] / sorted(wrong)[7] < 1.5

    @pytest.mark.parametrize("kept", ["", "!", "no hash", "$2b$12$" + "a" * 53, "$argon2id$v=19$m=1"])
    async def test_says_no_to_a_hash_that_it_cannot_read(self, passwords: Passwords, kept: str) -> None:
        assert not await passwords.verify("", kept)
        assert not await passwords.verify("right", kept)

    @pytest.mark.parametrize("password", ["x" * 5000, "x" * 1_000_000, "é" * 4000, "\ufb2c" * 1300])
    async def test_says_no_to_what_is_too_long_for_anybody(self, passwords: Passwords, password: str) -> None:
        assert not await passwords.verify(password, await passwords.hash(password[:128]))
        assert not await passwords.verify(password, None)


class TestNewHash:
    async def test_is_given_for_weaker_parameters(self, passwords: Passwords) -> None:
        weak = CryptContext(schemes=["argon2"], argon2__memory_cost=1024, argon2__time_cost=1).hash("right")

        verdict = await passwords.verify("right", weak)

        assert verdict.new_hash is not None
        assert verdict.new_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert await passwords.verify("right", verdict.new_hash)
        assert (await passwords.verify("wrong", weak)).new_hash is None

    async def test_is_given_for_a_password_that_was_hashed_as_it_was_typed(
        self, passwords: Passwords
    ) -> None:
        old = CryptContext(
            schemes=["argon2"], argon2__memory_cost=19456, argon2__time_cost=2, argon2__parallelism=1
        ).hash(APART)

        verdict = await passwords.verify(APART, old)

        assert verdict.new_hash is not None
        assert (await passwords.verify(COMPOSED, verdict.new_hash)).new_hash is None

    async def test_is_not_given_for_a_hash_of_today(self, passwords: Passwords) -> None:
        assert (await passwords.verify("right", await passwords.hash("right"))).new_hash is None


class TestTurn:
    async def test_ends_before_the_next_begins(self, passwords: Passwords) -> None:
        """Of ten guesses at once no more pass a limit of four than were let in side by side."""
        kept = await passwords.hash("right")
        failures, most_inside, inside = 0, 0, 0

        async def guess() -> bool:
            nonlocal failures, most_inside, inside
            async with passwords.turn() as turn:
                inside += 1
                most_inside = max(most_inside, inside)
                is_checked = failures < 4
                if is_checked and not await turn.verify("wrong", kept):
                    failures += 1
                inside -= 1
                return is_checked

        checked = sum(await asyncio.gather(*(guess() for _ in range(10))))

        assert 4 <= checked < 4 + AT_ONCE
        assert most_inside == AT_ONCE

    async def test_is_given_back_by_who_fails_or_is_cancelled(self, passwords: Passwords) -> None:
        async def fail() -> None:
            async with passwords.turn():
                raise LookupError

        async def hang() -> None:
            async with passwords.turn():
                await asyncio.sleep(60)

        await asyncio.gather(*(fail() for _ in range(5)), return_exceptions=True)
        hanging = [asyncio.create_task(hang()) for _ in range(5)]
        await asyncio.sleep(0)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

        assert await asyncio.wait_for(passwords.hash("right"), timeout=5)

    async def test_is_refused_to_a_crowd_before_it_eats_the_machine(self, passwords: Passwords) -> None:
        kept = await passwords.hash("right")

        crowd = [asyncio.create_task(passwords.verify("wrong", kept)) for _ in range(LONGEST_QUEUE + 20)]
        answers = await asyncio.gather(*crowd, return_exceptions=True)

        refused = [each for each in answers if isinstance(each, TooManyLogins)]
        assert (len(refused), refused[0].status) == (20, 503)
        assert refused[0].headers["Retry-After"] == "2"


@pytest.mark.alone
class TestCrowd:
    def test_neither_fills_the_memory_nor_stops_the_process(self) -> None:
        """200 at once, in a process of their own: argon2 takes 19 MiB for each that is checked."""
        ran = subprocess.run([sys.executable, str(CROWD)], capture_output=True, text=True, check=True)

        found = json.loads(ran.stdout)
        assert found["growth_bytes"] < MOST_GROWTH_BYTES, found
        assert found["longest_gap_seconds"] < LONGEST_GAP_SECONDS, found
        assert (found["checked"], found["refused"]) == (LONGEST_QUEUE, 200 - LONGEST_QUEUE)
