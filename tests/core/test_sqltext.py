"""SQL text: parameters found where they are and nowhere else, scripts split, names quoted."""

from __future__ import annotations

import collections
import sqlite3
from types import MappingProxyType
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_connhandler._core.errors import MissingExtraError, ParameterError
from echo_connhandler._core.extras import require
from echo_connhandler._core.sqltext import (
    Family,
    bind,
    compile_sql,
    controls_transaction,
    first_keyword,
    is_transaction_control,
    native,
    quote_identifier,
    quote_table,
    split_script,
)

FAMILIES: tuple[Family, ...] = get_args(Family)


@pytest.mark.parametrize(
    ("family", "sql", "names"),
    [
        ("postgres", "SELECT :a::int, ':no', \"c:no\", x->>'k', j ? 'k', j ?| array[:k1]", "a k1"),
        ("postgres", r"SELECT 'it''s :no', E'a\':no', e'\\', :a, $$ :no $$, $t$ :no $$ $t$, :b", "a b"),
        ("postgres", "SELECT 'back\\', :a, ':no'", "a"),
        ("postgres", "SELECT E'a' \n '\\':no', :a", "a"),
        ("postgres", "SELECT 'a' \n '\\', :a, ':no'", "a"),
        ("postgres", "SELECT U&'\\0041:no', U&\"a:no\", :a", "a"),
        ("postgres", "-- :no\r SELECT :a /* :no /* :no */ :no */ + :b", "a b"),
        (
            "postgres",
            "SELECT arr[1:2], arr[x:y], arr[:n], f(x := :v), f(x :=:w), '10:30'::time, 5 % :m",
            "n v w m",
        ),
        ("postgres", "SELECT a$b$, :x, a$b$, :y", "x y"),
        ("postgres", "SELECT $tag$ :no $tag$, $é$ :no $é$, :x", "x"),
        ("postgres", "SELECT :a /* :no", "a"),
        ("postgres", "SELECT :a, ':no", "a"),
        ("postgres", "SELECT :a, $$ :no", "a"),
        ("mysql", "SELECT `a:b`, 'x\\':no', \"q:no\", @v := :x # :no\n -- :no\n, 5--:y\n", "x y"),
        ("mysql", 'SELECT @v:=:x, "a\\":no", \'\\\\\', :y --\n, :z --', "x y z"),
        ("mysql", "/* :no /* :no */ SELECT :a /*!50000 , ':no */', :b */", "a b"),
        ("sqlite", "SELECT [a:no], `b:no`, :x, 'y:no' || :x -- :no", "x x"),
        ("sqlite", "SELECT 'a\\', :x, ':no', \"a\"\":no\" /* :no /* */, :y", "x y"),
        ("tsql", "SELECT [a:no]]:no], N'é:no', :x /* /* :no */ :no */, geography::Point(:y,1,2)", "x y"),
        ("sqlite", "SELECT :ação, :_x1", "ação _x1"),
        ("sqlite", "SELECT a:b, 1:c, ::d, : e, :1", ""),
    ],
)
def test_parameters_are_found_where_they_are(family: Family, sql: str, names: str) -> None:
    assert compile_sql(sql, family, "qmark").names == tuple(names.split())
    assert compile_sql(sql, family, "named").text == sql


def test_styles() -> None:
    sql = "SELECT :a, :b, :a, '%' WHERE x % 2"
    assert compile_sql(sql, "postgres", "numeric").text == "SELECT $1, $2, $1, '%' WHERE x % 2"
    assert compile_sql(sql, "postgres", "numeric").names == ("a", "b")
    assert compile_sql(sql, "postgres", "qmark").text == "SELECT ?, ?, ?, '%' WHERE x % 2"
    assert compile_sql(sql, "postgres", "format").text == "SELECT %s, %s, %s, '%%' WHERE x %% 2"
    assert compile_sql(sql, "postgres", "format").names == ("a", "b", "a")


def test_without_names_percent_signs_stay() -> None:
    assert compile_sql("SELECT '%s' LIKE '%'", "mysql", "format").text == "SELECT '%s' LIKE '%'"


LEXEMES: dict[Family, list[str]] = {
    "postgres": [
        *("'a:no'", "E'\\':no'", "$$:no$$", "$q$:no$$:no$q$", '"q:no"', "--:no\n", "/*:no/*:no*/*/", "::int"),
        *(":=", "%", "?", "x", " ", "[1:2]", "'%'", "''", "'\\'", "U&'\\0041'", "->>", "a$b"),
    ],
    "mysql": [
        "'a\\':no'",
        '"a:no"',
        "`:no`",
        "-- :no\n",
        "#:no\n",
        "/*:no*/",
        ":=",
        "%",
        "x",
        "/*!40000",
        "''",
    ],
    "sqlite": ["'a:no'", '"a:no"', "[:no]", "`:no`", "--:no\n", "/*:no*/", "%", " ", "x", "'\\'", "''"],
    "tsql": ["'a:no'", '"a:no"', "[:no]]:no]", "--:no\n", "/*:no/*:no*/*/", "%", " ", "x", "::", "N''"],
}


@given(st.data())
def test_exactly_the_planted_parameters_are_found(data: st.DataObject) -> None:
    family = data.draw(st.sampled_from(FAMILIES))
    planted = st.sampled_from([":p1", ":p2", ":p3"])
    parts = data.draw(st.lists(planted | st.sampled_from(LEXEMES[family]), max_size=12))
    sql = " ".join(parts)
    wanted = [part[1:] for part in parts if part.startswith(":p")]

    named = compile_sql(sql, family, "named")
    numeric = compile_sql(sql, family, "numeric")

    assert named.text == sql
    assert list(named.names) == wanted
    assert list(numeric.names) == list(dict.fromkeys(wanted))


@given(st.text(st.sampled_from("'\"`[]$/*-#:;abEe\\\n\r %?(") | st.characters(codec="utf-8"), max_size=60))
def test_any_text_round_trips(sql: str) -> None:
    for family in FAMILIES:
        try:
            assert compile_sql(sql, family, "named").text == sql
        except ParameterError as error:
            assert "mixes" in str(error)
        first_keyword(sql, family)
        if "\0" not in sql:
            split_script(sql, family)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(
    st.lists(
        st.tuples(st.sampled_from(["literal", "param", "name", "dash", "block"]), TEXT),
        min_size=1,
        max_size=8,
    )
)
def test_compiled_queries_answer_as_sqlites_own_named_style(parts: list[tuple[str, str]]) -> None:
    values: dict[str, Any] = {}
    columns: list[str] = []
    for kind, text in parts:
        if kind == "literal":
            columns.append("'" + (":p " + text).replace("'", "''") + "'")
        elif kind == "name":
            columns.append('1 AS "' + (":p" + text).replace('"', '""') + '"')
        elif kind == "param":
            values[f"p{len(values)}"] = text
            columns.append(f":p{len(values) - 1}")
        elif kind == "dash":
            columns.append("-- :p " + text.replace("\n", "") + "\n 2")
        else:
            columns.append("/* :p " + text.replace("*/", "") + " */ 3")
    sql = "SELECT " + ", ".join(columns)
    connection = sqlite3.connect(":memory:")
    expected = connection.execute(sql, values).fetchall()

    compiled, bound = native(sql, values, "sqlite", "qmark")

    assert connection.execute(compiled, bound).fetchall() == expected
    connection.close()


@pytest.mark.parametrize(
    ("family", "sql", "foreign"),
    [
        ("sqlite", "SELECT ?, :a", r"\?"),
        ("sqlite", "SELECT :a, ?2", r"\?2"),
        ("sqlite", "SELECT :a, @b", "@b"),
        ("postgres", "SELECT :a, $1", r"\$1"),
        ("tsql", "SELECT :a, ?", r"\?"),
    ],
)
def test_names_do_not_mix_with_the_drivers_placeholders(family: Family, sql: str, foreign: str) -> None:
    with pytest.raises(ParameterError, match=rf"mixes :a with {foreign}"):
        native(sql, {"a": 1}, family, "qmark")


def test_bind_takes_values_in_order_and_leaves_others() -> None:
    sql = "SELECT :b, :a, :b"
    values = MappingProxyType({"a": 1, "b": 2, "c": 3})
    assert bind(compile_sql(sql, "sqlite", "qmark"), values) == (2, 1, 2)
    assert bind(compile_sql(sql, "postgres", "numeric"), values) == (2, 1)
    assert native(sql, collections.defaultdict(int), "sqlite", "qmark")[1] == (0, 0, 0)


def test_missing_values_are_all_named() -> None:
    with pytest.raises(ParameterError, match=r"no value for :b, :c; given: 'a', 'x'"):
        native("SELECT :a, :b, :c, :b", {"a": 1, "x": 2}, "sqlite", "qmark")


def test_no_values_for_text_with_names() -> None:
    with pytest.raises(ParameterError, match=r"no values were given for :a, :b"):
        native("SELECT :a, :b, :a", None, "sqlite", "qmark")
    assert native("SELECT ':a'", None, "sqlite", "qmark") == ("SELECT ':a'", ())


def test_sequences_pass_untouched() -> None:
    assert native("SELECT ?, ':a', :b", [1, "x"], "sqlite", "qmark") == ("SELECT ?, ':a', :b", (1, "x"))
    assert native("SELECT 1", (), "sqlite", "qmark") == ("SELECT 1", ())


@pytest.mark.parametrize("params", ["abc", b"abc", bytearray(b"a"), {1, 2}, 7, iter(())])
def test_other_parameters_are_refused(params: Any) -> None:
    with pytest.raises(ParameterError, match=r"a mapping for :name, or a tuple or list"):
        native("SELECT ?", params, "sqlite", "qmark")


TRIGGER = "CREATE TRIGGER t AFTER INSERT ON x BEGIN UPDATE x SET a = CASE WHEN 1 THEN 2 END; SELECT ';'; END"


@pytest.mark.parametrize(
    ("family", "script", "statements"),
    [
        ("sqlite", "", []),
        ("sqlite", " ; ;; -- only this\n; /* and this */", []),
        ("sqlite", "SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("sqlite", "SELECT ';' ; SELECT [;], `;` -- ;\n;", ["SELECT ';'", "SELECT [;], `;` -- ;"]),
        ("sqlite", f"SELECT 1;\n{TRIGGER};\nSELECT 2;", ["SELECT 1", TRIGGER, "SELECT 2"]),
        ("sqlite", f"-- why\nEXPLAIN {TRIGGER}; SELECT 2;", [f"-- why\nEXPLAIN {TRIGGER}", "SELECT 2"]),
        ("sqlite", "BEGIN; SELECT 1; END; SELECT 2", ["BEGIN", "SELECT 1", "END", "SELECT 2"]),
        ("postgres", "DO $$ a; b; $$; SELECT 1;", ["DO $$ a; b; $$", "SELECT 1"]),
        ("postgres", "/* ; /* ; */ ; */ SELECT 1; -- ;", ["/* ; /* ; */ ; */ SELECT 1"]),
        ("postgres", "CREATE RULE r AS ON INSERT TO t DO (a; b); SELECT 1", None),
        (
            "postgres",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC a; SELECT CASE WHEN 1 THEN 2 END; END; B",
            None,
        ),
        ("postgres", "BEGIN; SELECT 1; END; SELECT 2", ["BEGIN", "SELECT 1", "END", "SELECT 2"]),
        (
            "mysql",
            "-- x\nCREATE PROCEDURE p() BEGIN IF a THEN b; END IF; CASE c WHEN 1 THEN d; END CASE; END; S",
            None,
        ),
        ("mysql", "BEGIN; SELECT '\\';', 1; COMMIT", ["BEGIN", "SELECT '\\';', 1", "COMMIT"]),
        ("mysql", "/*!40101 SET NAMES utf8 */; SELECT 1", ["/*!40101 SET NAMES utf8 */", "SELECT 1"]),
        (
            "tsql",
            "BEGIN TRAN; IF 1=1 BEGIN a; b; END; COMMIT",
            ["BEGIN TRAN", "IF 1=1 BEGIN a; b; END", "COMMIT"],
        ),
    ],
)
def test_scripts_are_split(family: Family, script: str, statements: list[str] | None) -> None:
    if statements is None:  # all but the short last statement is the first one
        first, _, last = script.rpartition(";")
        statements = [first.strip(), last.strip()]
    assert split_script(script, family) == statements


@pytest.mark.parametrize("script", ["SELECT '\0'", "SELECT '\ud800'"])
def test_scripts_that_can_not_be_encoded_are_refused(script: str) -> None:
    with pytest.raises(ParameterError, match="NUL or lone surrogates"):
        split_script(script, "sqlite")


@pytest.mark.parametrize(
    ("family", "sql", "word"),
    [
        ("sqlite", "-- c\n /* d */ ((select 1))", "SELECT"),
        ("postgres", "/* /* */ a */ with x as (select 1) select 2", "WITH"),
        ("mysql", "# c\n/*!40101 SET x */", "SET"),
        ("sqlite", "", ""),
        ("sqlite", "'x'", ""),
    ],
)
def test_first_keyword(family: Family, sql: str, word: str) -> None:
    assert first_keyword(sql, family) == word


@pytest.mark.parametrize(
    ("family", "sql", "control", "alone"),
    [
        ("sqlite", "/* x */ begin immediate", True, True),
        ("sqlite", "END", True, True),
        ("sqlite", "release x", True, True),
        ("sqlite", "PRAGMA user_version", False, True),
        ("sqlite", "vacuum", False, True),
        ("sqlite", "SELECT 'BEGIN'", False, False),
        ("sqlite", "beginning", False, False),
        ("postgres", "ABORT", True, True),
        ("postgres", "PREPARE TRANSACTION 'x'", True, True),
        ("postgres", "PREPARE x AS SELECT 1", False, False),
        ("postgres", "create unique /* */ index concurrently i on t (a)", False, True),
        ("postgres", "CREATE INDEX i ON t (a)", False, False),
        ("postgres", "DROP DATABASE x", False, True),
        ("mysql", "START TRANSACTION", True, True),
        ("tsql", "BEGIN TRAN", True, True),
        ("tsql", "BEGIN SELECT 1 END", False, False),
    ],
)
def test_transaction_control(family: Family, sql: str, control: bool, alone: bool) -> None:
    assert is_transaction_control(sql, family) is control
    assert controls_transaction(["SELECT 1", sql], family) is alone


def test_identifiers_are_quoted() -> None:
    assert quote_identifier('a"b', "postgres") == '"a""b"'
    assert quote_identifier("a`b", "mysql") == "`a``b`"
    assert quote_identifier("a]b[", "tsql") == "[a]]b[]"
    assert quote_table("a.b", None, "sqlite") == '"a.b"'
    assert quote_table("t", 's"', "sqlite") == '"s"""."t"'


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", None, 7])
def test_impossible_identifiers_are_refused(name: Any) -> None:
    for family in FAMILIES:
        with pytest.raises(ParameterError):
            quote_identifier(name, family)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_sqlite_takes_any_quoted_name(name: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE t ({quote_identifier(name, 'sqlite')})")
    assert connection.execute("SELECT name FROM pragma_table_info('t')").fetchall() == [(name,)]
    connection.close()


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    wanted = r'^reading frames needs pyarrow, which is not installed: pip install "echo-connhandler\[arrow\]"$'
    for module in ("pyarrow", "pyarrow.some_part"):
        with pytest.raises(MissingExtraError, match=wanted):
            require(module, extra="arrow", purpose="reading frames")


def test_a_broken_library_speaks_for_itself(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library_x.py").write_text("import part_that_is_missing")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="part_that_is_missing") as caught:
        require("broken_library_x", extra="arrow", purpose="x")
    assert not isinstance(caught.value, MissingExtraError)
