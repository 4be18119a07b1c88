"""What the application's role may do, as Postgres sees it."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.exc import DBAPIError

from tests.api_server.owned_database import (
    GUARDED,
    JOURNAL,
    ORDINARY,
    QUOTED,
    Database,
    Environment,
    Held,
    make_database,
    migrate,
    quoted,
)


@pytest.fixture(scope="module")
def database(environment: Environment) -> Database:
    return make_database(environment)


@pytest.fixture
def given(database: Database) -> Database:
    assert database.give() == []
    return database


class TestGive:
    @pytest.mark.parametrize("table", ORDINARY)
    def test_lets_the_application_use_a_table(self, given: Database, table: str) -> None:
        assert given.rights_on(table) == {"SELECT", "INSERT", "UPDATE", "DELETE"}

    @pytest.mark.parametrize("table", GUARDED)
    def test_lets_it_only_add_to_an_append_only_table(self, given: Database, table: str) -> None:
        assert given.rights_on(table) == {"SELECT", "INSERT"}

    def test_lets_it_only_read_which_version_the_schema_has(self, given: Database) -> None:
        assert given.rights_on("alembic_version") == {"SELECT"}

    def test_takes_what_was_given_by_hand(self, given: Database) -> None:
        role = quoted(given.role)
        given.ask(
            given.owner,
            f"GRANT ALL ON {QUOTED} TO {role} WITH GRANT OPTION",
            f"GRANT UPDATE (said) ON {QUOTED} TO {role}",
            f"GRANT ALL ON SCHEMA public TO {role}",
        )
        given.ask(given.application, f"GRANT UPDATE ON {QUOTED} TO pg_monitor")

        assert given.give() == []

        assert given.rights_on(JOURNAL) == {"SELECT", "INSERT"}
        others = "SELECT has_any_column_privilege('pg_monitor', :table, 'UPDATE')"
        assert given.ask(given.superuser, others, table=QUOTED) == [(False,)]

    def test_is_part_of_every_migration(self, given: Database, environment: Environment) -> None:
        given.ask(given.owner, f"REVOKE ALL ON users FROM {quoted(given.role)}")
        assert given.rights_on("users") == set()

        migrate(environment, given)

        assert given.rights_on("users") == {"SELECT", "INSERT", "UPDATE", "DELETE"}

    def test_leaves_the_rights_of_others_alone(self, given: Database) -> None:
        given.ask(given.owner, "GRANT SELECT (id) ON jobs TO pg_monitor")

        given.give()

        question = "SELECT has_column_privilege('pg_monitor', 'jobs', 'id', 'SELECT')"
        assert given.ask(given.superuser, question) == [(True,)]

    def test_does_not_wait_for_who_works_on_the_tables(self, given: Database) -> None:
        with Held(
            given, f"INSERT INTO {QUOTED} (said) VALUES ('not yet')", "LOCK TABLE jobs IN ROW EXCLUSIVE MODE"
        ):
            assert given.give(patience="200ms") == []

    def test_is_repeated_when_another_grants_at_once(self, given: Database) -> None:
        with Held(given, f"GRANT SELECT ON {QUOTED} TO pg_monitor", seconds=1):
            assert given.give() == []

        assert given.rights_on(JOURNAL) == {"SELECT", "INSERT"}

    def test_does_not_wait_for_ever(self, given: Database) -> None:
        with (
            Held(given, f"GRANT SELECT ON {QUOTED} TO pg_monitor"),
            pytest.raises(DBAPIError, match="lock timeout"),
        ):
            given.give(patience="200ms")


class TestApplication:
    """What it tries, over its own connection."""

    def test_adds_and_reads(self, given: Database) -> None:
        added = given.ask(given.application, f"INSERT INTO {QUOTED} (said) VALUES ('hello') RETURNING said")

        assert added == [("hello",)]
        assert ("hello",) in given.ask(given.application, f"SELECT said FROM {QUOTED}")

    @pytest.mark.parametrize(
        "statement",
        [
            f"UPDATE {QUOTED} SET said = ''",
            f"UPDATE {QUOTED} SET said = '' WHERE false",
            f"DELETE FROM {QUOTED}",
            f"TRUNCATE {QUOTED}",
            f"MERGE INTO {QUOTED} USING (VALUES (1)) AS one(n) ON seq = n WHEN MATCHED THEN DELETE",
            f"INSERT INTO {QUOTED} VALUES (1, '') ON CONFLICT (seq) DO UPDATE SET said = ''",
            f"SELECT * FROM {QUOTED} FOR UPDATE",
            f"LOCK TABLE {QUOTED} IN ACCESS EXCLUSIVE MODE",
            f"ALTER TABLE {QUOTED} DISABLE TRIGGER ALL",
            f"ALTER TABLE {QUOTED} DISABLE TRIGGER USER",
            f"ALTER TABLE {QUOTED} ADD COLUMN more integer",
            f"ALTER TABLE {QUOTED} RENAME TO other",
            f"ALTER TABLE {QUOTED} OWNER TO CURRENT_USER",
            f"CREATE RULE nothing AS ON INSERT TO {QUOTED} DO INSTEAD NOTHING",
            f"CREATE INDEX more ON {QUOTED} (said)",
            f"DROP TABLE {QUOTED}",
            "DROP TABLE users",
            "ALTER TABLE users ADD COLUMN more integer",
            "TRUNCATE users",
            "UPDATE alembic_version SET version_num = '9999'",
            "CREATE TABLE more (id integer)",
            "CREATE VIEW more AS SELECT 1",
            "CREATE FUNCTION more() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            "CREATE SCHEMA more",
            "DROP SCHEMA public CASCADE",
            "SET session_replication_role = replica",
        ],
    )
    def test_is_refused(self, given: Database, statement: str) -> None:
        with pytest.raises(DBAPIError, match=r"must be owner|permission denied") as refused:
            given.ask(given.application, statement)

        assert refused.value.orig is not None
        assert getattr(refused.value.orig, "sqlstate", "") == "42501"

    @pytest.mark.parametrize("table", GUARDED)
    @pytest.mark.parametrize(
        "statement",
        ["DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}", "ALTER TABLE {} DISABLE TRIGGER USER"],
    )
    def test_is_refused_by_its_rights_before_any_trigger(
        self, given: Database, table: str, statement: str
    ) -> None:
        with pytest.raises(DBAPIError, match=r"must be owner of table|permission denied for table"):
            given.ask(given.application, statement.format(quoted(table)))

    def test_cannot_give_itself_more(self, given: Database) -> None:
        """Postgres warns, and gives what it can: nothing."""
        given.ask(given.application, f"GRANT ALL ON {QUOTED} TO CURRENT_USER")

        assert given.rights_on(JOURNAL) == {"SELECT", "INSERT"}

    def test_cannot_become_the_owner(self, given: Database) -> None:
        with pytest.raises(DBAPIError, match="permission denied to set role"):
            given.ask(given.application, f"SET ROLE {quoted(given.owner_role)}")


class TestExcess:
    """What no REVOKE of the owner's can take is at least said."""

    @pytest.fixture
    def ruled(self, given: Database) -> Iterator[Callable[[str, str], list[str]]]:
        undone: list[str] = []
        role = quoted(given.role)
        owner = quoted(given.owner_role)

        def rule(statement: str, undo: str) -> list[str]:
            given.ask(given.superuser, statement.format(role=role, owner=owner))
            undone.append(undo.format(role=role, owner=owner))
            return given.give()

        yield rule
        for each in undone:
            given.ask(given.superuser, each)

    def test_of_a_superuser(self, ruled: Callable[[str, str], list[str]]) -> None:
        (said,) = ruled("ALTER ROLE {role} SUPERUSER", "ALTER ROLE {role} NOSUPERUSER")

        assert "is a superuser" in said

    def test_of_a_member_of_the_owner(self, ruled: Callable[[str, str], list[str]]) -> None:
        (said,) = ruled("GRANT {owner} TO {role}", "REVOKE {owner} FROM {role}")

        assert "is a member of the role that owns the tables" in said

    def test_of_what_everybody_may(self, ruled: Callable[[str, str], list[str]]) -> None:
        said = ruled("GRANT CREATE ON SCHEMA public TO PUBLIC", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        said += ruled(f"GRANT UPDATE ON {QUOTED} TO PUBLIC", f"REVOKE UPDATE ON {QUOTED} FROM PUBLIC")

        assert [each for each in said if "may make tables" in each]
        assert [each for each in said if f"may change {QUOTED}" in each]


class TestOneRole:
    def test_owner_and_application_takes_from_itself_and_says_what_that_is_worth(
        self, database: Database
    ) -> None:
        (said,) = database.give(role=database.owner_role, owns=True)

        assert "could give itself every right" in said
        with pytest.raises(DBAPIError, match="permission denied"):
            database.ask(database.owner, f"DELETE FROM {QUOTED}")
        database.ask(database.owner, f"INSERT INTO {QUOTED} (said) VALUES ('still')")

    def test_can_indeed_give_it_back_to_itself(self, database: Database) -> None:
        database.give(role=database.owner_role, owns=True)

        for each in GUARDED:
            database.ask(database.owner, f"GRANT ALL ON {quoted(each)} TO CURRENT_USER")

        database.ask(database.owner, f"DELETE FROM {QUOTED}")
