"""The SQLite dialect's texts, executed by a real SQLite under names that would break careless quoting."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from echo_connhandler._core.errors import InvalidRequestError, ParameterError
from echo_connhandler._core.sqlite.dialect import SQLITE
from echo_connhandler._core.sqlvalues import ColumnInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = [
    'a"b',
    "x; DROP TABLE t",
    "two words",
    "größe ✓",
    "select",
    "t",
    "s",
    "{table}",
    "'",
    "a.b",
    "[x]",
    ":p %s",
]


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def schema(*columns: tuple[str, Any]) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns])


def rows(db: sqlite3.Connection, table: str, columns: str = "*") -> list[Any]:
    return sorted(db.execute(f"SELECT {columns} FROM {SQLITE.quote(table)}").fetchall())


def column_names(db: sqlite3.Connection, table: str) -> list[str]:
    return [SQLITE.column_info(row).name for row in db.execute(*SQLITE.describe(table, None))]


def test_transactions(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE x (a)")
    db.execute(SQLITE.begin(read_only=False))
    db.execute("INSERT INTO x VALUES (1)")
    db.execute(SQLITE.savepoint('sp"1'))
    db.execute("INSERT INTO x VALUES (2)")
    db.execute(SQLITE.rollback_to('sp"1'))
    db.execute("INSERT INTO x VALUES (3)")
    db.execute(SQLITE.release('sp"1'))
    db.execute(SQLITE.commit)
    assert rows(db, "x") == [(1,), (3,)]

    db.execute(SQLITE.begin(read_only=True))
    assert db.in_transaction
    db.execute(SQLITE.rollback)


def test_a_writing_transaction_takes_the_lock_at_once(tmp_path: Any) -> None:
    first, second = (sqlite3.connect(tmp_path / "x.db", isolation_level=None, timeout=0) for _ in range(2))
    first.execute(SQLITE.begin(read_only=False))
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        second.execute(SQLITE.begin(read_only=False))
    second.execute(SQLITE.begin(read_only=True))
    first.close()
    second.close()


def test_errors_of_the_driver_are_judged(db: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        db.execute("SELECT * FROM nowhere")
    failure = SQLITE.judge(caught.value, "fetch_all")
    assert failure is not None
    assert "nowhere" in str(failure.error)
    assert SQLITE.judge(ValueError(), "fetch_all") is None


def test_list_tables(db: sqlite3.Connection) -> None:
    for name in HOSTILE:
        db.execute(f"CREATE TABLE {SQLITE.quote(name)} (id INTEGER PRIMARY KEY AUTOINCREMENT, u UNIQUE)")
    db.execute("CREATE VIEW a_view AS SELECT 1 AS one")
    db.execute("CREATE TEMP TABLE temporary (a)")
    db.execute("ATTACH ':memory:' AS 'other \"db'")
    db.execute('CREATE TABLE "other ""db".elsewhere (a)')

    def listed(schema: str | None) -> list[str]:
        return [name for (name,) in db.execute(*SQLITE.tables(schema))]

    assert listed(None) == listed("main") == sorted([*HOSTILE, "a_view"])
    assert listed('other "db') == ["elsewhere"]
    assert listed("temp") == ["temporary"]


@pytest.mark.parametrize("name", HOSTILE)
def test_table_exists(db: sqlite3.Connection, name: str) -> None:
    def exists(table: str, schema: str | None) -> bool:
        return bool(db.execute(*SQLITE.exists(table, schema)).fetchone()[0])

    assert not exists(name, None)
    db.execute(f"CREATE TABLE {SQLITE.quote(name)} (a)")
    assert exists(name, None)
    assert exists(name, "main")
    assert exists(name.upper(), None) == exists(name.lower(), None) or not name.isascii()
    assert not exists(name, "temp")
    db.execute("CREATE VIEW a_view AS SELECT 1 AS one")
    assert exists("a_view", None)


def test_describe_table(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE x (a INTEGER, b DECIMAL_TEXT(10,2) NOT NULL DEFAULT '0.00', c, d TEXT, "
        'g GENERATED ALWAYS AS (a + 1), "q""x" TIMESTAMPTZ, PRIMARY KEY (d, a))'
    )
    found = [SQLITE.column_info(row) for row in db.execute(*SQLITE.describe("x", "main"))]
    assert found[:2] == [
        ColumnInfo(name="a", type="INTEGER", nullable=True, default=None, primary_key=2),
        ColumnInfo(name="b", type="DECIMAL_TEXT(10,2)", nullable=False, default="'0.00'", primary_key=0),
    ]
    assert [column.name for column in found] == ["a", "b", "c", "d", "g", 'q"x']
    assert found[2].type == ""
    assert db.execute(*SQLITE.describe("nowhere", None)).fetchall() == []


def test_hidden_columns_are_not_described(db: sqlite3.Connection) -> None:
    db.execute("CREATE VIRTUAL TABLE docs USING fts5(body)")
    assert column_names(db, "docs") == ["body"]


@pytest.mark.parametrize(
    ("kind", "declared", "affinity"),
    [
        (pa.int8(), "INTEGER", "INT"),
        (pa.uint64(), "INTEGER", "INT"),
        (pa.bool_(), "BOOLEAN", "NUM"),
        (pa.float16(), "REAL", "REAL"),
        (pa.float64(), "REAL", "REAL"),
        (pa.string(), "TEXT", "TEXT"),
        (pa.large_string(), "TEXT", "TEXT"),
        (pa.string_view(), "TEXT", "TEXT"),
        (pa.binary(), "BLOB", ""),
        (pa.large_binary(), "BLOB", ""),
        (pa.binary_view(), "BLOB", ""),
        (pa.binary(16), "BLOB", ""),
        (pa.date32(), "DATE", "NUM"),
        (pa.date64(), "DATE", "NUM"),
        (pa.timestamp("ns"), "TIMESTAMP", "NUM"),
        (pa.timestamp("us", "America/Sao_Paulo"), "TIMESTAMPTZ", "NUM"),
        (pa.time32("s"), "TIME", "NUM"),
        (pa.time64("ns"), "TIME", "NUM"),
        (pa.decimal128(38, 10), "DECIMAL_TEXT(38,10)", "TEXT"),
        (pa.decimal256(50, -2), "DECIMAL_TEXT(50,-2)", "TEXT"),
        (pa.null(), "TEXT", "TEXT"),
        (pa.dictionary(pa.int8(), pa.string()), "TEXT", "TEXT"),
        (pa.run_end_encoded(pa.int32(), pa.int64()), "INTEGER", "INT"),
        (pa.uuid(), "TEXT", "TEXT"),
        (pa.json_(), "TEXT", "TEXT"),
    ],
)
def test_columns_have_the_type_and_affinity_of_what_they_hold(
    db: sqlite3.Connection, kind: Any, declared: str, affinity: str
) -> None:
    assert SQLITE.column_type("c", kind) == declared

    db.execute(SQLITE.create_table_sql("x", None, pa.schema([("c", kind)])))
    db.execute(SQLITE.staging_table_sql("copy", "x", None, ["c"]))

    assert db.execute("SELECT type FROM pragma_table_info('copy')").fetchone() == (affinity,)


@pytest.mark.parametrize(
    "kind",
    [
        pa.duration("us"),
        pa.month_day_nano_interval(),
        pa.list_(pa.int8()),
        pa.struct([("a", pa.int8())]),
        pa.map_(pa.string(), pa.int8()),
        pa.dictionary(pa.int8(), pa.list_(pa.int8())),  # type: ignore[call-overload]
        pa.bool8(),
    ],
)
def test_columns_without_a_place_in_sqlite_are_refused(kind: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"column 'some column' is .*cast it first"):
        SQLITE.create_table_sql("t", None, pa.schema([("some column", kind)]))


@pytest.mark.parametrize("name", HOSTILE)
def test_write_statements_under_hostile_names(db: sqlite3.Connection, name: str) -> None:
    value = f"{name} 2"
    kinds = schema((name, pa.int64()), (value, pa.string()))
    db.execute(SQLITE.create_table_sql(name, "main", kinds, [name]))
    assert column_names(db, name) == [name, value]
    insert = SQLITE.insert_sql(SQLITE.target(name, "main", [name, value]))
    db.executemany(insert, [(1, "old"), (2, "old")])

    stage = f"{name} staging"
    db.execute(SQLITE.staging_table_sql(stage, name, "main", [name, value]))
    db.executemany(SQLITE.insert_sql(SQLITE.staging(stage, [name, value])), [(2, "new"), (3, "new")])
    affected = [db.execute(sql).rowcount for sql in SQLITE.upsert_sql(stage, name, "main", [name, value], [name])]
    assert affected == [1, 1]
    assert rows(db, name) == [(1, "old"), (2, "new"), (3, "new")]
    db.execute(SQLITE.drop_table_sql(stage, SQLITE.staging_schema))

    db.execute(SQLITE.clear_table_sql(name, "main"))
    assert rows(db, name) == []
    for _ in range(2):
        db.execute(SQLITE.drop_table_sql(name, "main"))
    assert column_names(db, name) == []


def staged(db: sqlite3.Connection, table: str, columns: list[str], values: list[tuple[Any, ...]]) -> None:
    db.execute(SQLITE.staging_table_sql("staging", table, None, columns))
    db.executemany(SQLITE.insert_sql(SQLITE.staging("staging", columns)), values)


def test_keys_are_a_primary_key_and_not_null(db: sqlite3.Connection) -> None:
    kinds = schema(("a", pa.string()), ("b", pa.int64()), ("c", pa.int64()))
    db.execute(SQLITE.create_table_sql("x", None, kinds, ["b", "a"]))
    found = [SQLITE.column_info(row) for row in db.execute(*SQLITE.describe("x", None))]
    assert [(column.nullable, column.primary_key) for column in found] == [(False, 2), (False, 1), (True, 0)]


def test_upsert_needs_no_constraint_and_overwrites_with_null(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE x (k1 TEXT, k2 INTEGER, v TEXT, untouched TEXT DEFAULT 'd')")
    db.executemany("INSERT INTO x VALUES (?, ?, ?, 'u')", [("a", 1, "1"), ("a", 2, "2"), (None, 1, "n")])
    staged(db, "x", ["v", "k2", "k1"], [(None, 1, "a"), ("new", 1, "b")])
    for sql in SQLITE.upsert_sql("staging", "x", None, ["v", "k2", "k1"], ["k1", "k2"]):
        db.execute(sql)
    found = db.execute("SELECT * FROM x ORDER BY rowid").fetchall()
    assert found == [("a", 1, None, "u"), ("a", 2, "2", "u"), (None, 1, "n", "u"), ("b", 1, "new", "d")]


def test_upsert_where_all_columns_are_keys_only_inserts(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE x (a, b)")
    db.execute("INSERT INTO x VALUES (1, 1)")
    staged(db, "x", ["a", "b"], [(1, 1), (1, 2)])
    (sql,) = SQLITE.upsert_sql("staging", "x", None, ["a", "b"], ["a", "b"])
    db.execute(sql)
    assert rows(db, "x") == [(1, 1), (1, 2)]


def test_the_tables_collation_tells_which_keys_are_equal(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE x (k TEXT COLLATE NOCASE UNIQUE, v)")
    db.execute("INSERT INTO x VALUES ('Key', 1)")
    staged(db, "x", ["k", "v"], [("KEY", 2)])
    for sql in SQLITE.upsert_sql("staging", "x", None, ["k", "v"], ["k"]):
        db.execute(sql)
    assert rows(db, "x") == [("Key", 2)]


def test_insert_missing_by_keys(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE x (k, v)")
    db.execute("INSERT INTO x VALUES (1, 'old'), (NULL, 'n')")
    staged(db, "x", ["k", "v"], [(1, "new"), (2, "new")])
    assert db.execute(SQLITE.insert_missing_sql("staging", "x", None, ["k", "v"], ["k"])).rowcount == 1
    assert db.execute("SELECT * FROM x ORDER BY rowid").fetchall() == [(1, "old"), (None, "n"), (2, "new")]


def test_insert_missing_by_constraint_ignores_no_other_constraint(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE x (k UNIQUE, v NOT NULL)")
    db.execute("INSERT INTO x VALUES (1, 'old')")
    staged(db, "x", ["k", "v"], [(1, "new"), (2, "new"), (2, "again")])
    sql = SQLITE.insert_missing_sql("staging", "x", None, ["k", "v"])
    assert db.execute(sql).rowcount == 1
    assert rows(db, "x") == [(1, "old"), (2, "new")]
    db.execute("INSERT INTO staging VALUES (3, NULL)")
    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
        db.execute(sql)


def test_moving_rows_is_fast_without_an_index(db: sqlite3.Connection) -> None:
    """A plan that reads the whole table for each row would take minutes here."""
    count = 20_000
    db.execute("CREATE TABLE x (k, v)")
    db.executemany("INSERT INTO x VALUES (?, 0)", ((n,) for n in range(count)))
    staged(db, "x", ["k", "v"], [(n, 1) for n in range(count // 2, count * 3 // 2)])
    for sql in SQLITE.upsert_sql("staging", "x", None, ["k", "v"], ["k"]):
        db.execute(sql)
    assert db.execute("SELECT count(*), sum(v) FROM x").fetchone() == (count * 3 // 2, count)


def test_placeholders_are_in_the_drivers_style() -> None:
    numeric = replace(SQLITE, family="postgres", style="numeric")
    assert numeric.insert_sql(numeric.target("t", "s", ["a", "%"])) == 'INSERT INTO "s"."t" ("a", "%") VALUES ($1, $2)'
    percent = replace(SQLITE, family="mysql", style="format")
    assert percent.insert_sql(percent.target("t", None, ["a", "%"])) == "INSERT INTO `t` (`a`, `%%`) VALUES (%s, %s)"


def test_frames_without_columns_or_keys_are_refused() -> None:
    empty = pa.schema([])
    with pytest.raises(InvalidRequestError, match="without columns"):
        SQLITE.create_table_sql("x", None, empty)
    with pytest.raises(InvalidRequestError, match="without columns"):
        SQLITE.insert_sql(SQLITE.target("x", None, []))
    with pytest.raises(InvalidRequestError, match="no key column 'k'"):
        SQLITE.create_table_sql("x", None, pa.schema([("a", pa.int8())]), ["k"])
    with pytest.raises(ParameterError):
        SQLITE.drop_table_sql("", None)
