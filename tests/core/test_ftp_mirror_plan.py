"""What makes one tree like another, and what transfers reckon with."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from echo_connhandler._core.errors import Kind
from echo_connhandler._core.ftp.mirror_plan import Node, Plan, Selection, parents, plan_mirror, undecided, with_times
from echo_connhandler._core.ftp.transfer_values import (
    Pace,
    Progress,
    broken,
    check_rate,
    is_temporary_name,
    source_of,
    stamp,
    temporary_path,
    token_of,
    up_to_date,
    validator_of,
)

NOON = dt.datetime(2025, 1, 1, 12, tzinfo=dt.UTC)
LATER = NOON + dt.timedelta(seconds=1)
EARLIER = NOON - dt.timedelta(seconds=1)


def file(path: str, size: int | None = 1, modified: dt.datetime | None = NOON, **more: Any) -> Node:
    return Node(path, size=size, modified=modified, **more)


def folder(path: str) -> Node:
    return Node(path, is_dir=True)


def paths(nodes: tuple[Node, ...]) -> list[str]:
    return [node.path for node in nodes]


# Plans


def test_an_empty_target_gets_everything_in_order() -> None:
    plan = plan_mirror([file("b/c/x"), folder("b/c"), folder("b"), file("a"), folder("empty")], [])
    assert plan.make == ("b", "b/c", "empty")
    assert paths(plan.transfer) == ["a", "b/c/x"]
    assert (plan.clear, plan.skip, plan.delete, dict(plan.problems)) == ((), (), (), {})


def test_folders_that_are_there_are_not_made_and_empty_ones_only_where_everything_is_wanted() -> None:
    source = [folder("a"), folder("b"), folder("b/c"), file("b/c/x"), folder("d")]
    assert plan_mirror(source, [folder("b")]).make == ("a", "b/c", "d")
    assert plan_mirror(source, [folder("b")], everything=False).make == ("b/c",)


@pytest.mark.parametrize(
    ("there", "skipped"),
    [
        (file("x"), True),
        (file("x", modified=LATER), True),
        (file("x", modified=NOON.replace(microsecond=0)), True),
        (file("x", modified=EARLIER), False),
        (file("x", size=2, modified=LATER), False),
        (file("x", modified=None), False),
        (file("x", size=None), False),
        (file("x", strays=True), False),
    ],
)
def test_newer_only_leaves_what_has_the_size_and_is_not_older(there: Node, skipped: bool) -> None:
    source = [file("x", modified=NOON.replace(microsecond=500_000))]
    plan = plan_mirror(source, [there], newer_only=True)
    assert (plan.skip, paths(plan.transfer)) == ((("x",), []) if skipped else ((), ["x"]))
    assert paths(plan_mirror(source, [there]).transfer) == ["x"]


def test_times_that_matter_and_are_unknown_are_asked_for() -> None:
    source = [
        file("same", modified=None),
        file("other", 2, None),
        file("new", modified=None),
        file("known"),
        folder("f"),
    ]
    target = [file("same"), file("other"), file("known"), folder("f")]
    assert undecided(source, target) == ["same"]
    assert undecided([file("x")], [file("x", modified=None)]) == ["x"]
    assert undecided([file("x", None, None)], [file("x")]) == ["x"]
    known = with_times(source, {"same": NOON})
    assert plan_mirror(known, target, newer_only=True).skip == ("known", "same")


def test_only_with_delete_goes_what_the_source_lacks_deepest_first() -> None:
    target = [folder("a"), folder("a/b"), file("a/b/x"), file("a/y"), file("z"), file("kept")]
    source = [file("kept")]
    assert plan_mirror(source, target).delete == ()
    assert paths(plan_mirror(source, target, delete=True).delete) == ["a/b/x", "a/y", "a/b", "z", "a"]


def test_a_folder_stays_where_something_of_it_stays() -> None:
    target = [folder("a"), file("a/x.csv"), file("a/x.txt"), folder("b"), file("b/y.csv")]
    plan = plan_mirror([], target, delete=True, takes=lambda path: path.endswith(".csv"))
    assert paths(plan.delete) == ["b/y.csv", "a/x.csv", "b"]


def test_what_is_of_another_kind_is_in_the_way_or_goes_first() -> None:
    source = [file("a"), folder("b"), file("b/x"), file("c")]
    target = [folder("a"), folder("a/deep"), file("a/deep/y"), file("b"), file("c")]
    plan = plan_mirror(source, target)
    assert "a folder of this name" in plan.problems["a"]
    assert "a file of this name" in plan.problems["b"]
    assert paths(plan.transfer) == ["c"]
    assert plan.make == ()
    cleared = plan_mirror(source, target, delete=True)
    assert paths(cleared.clear) == ["a/deep/y", "a/deep", "b", "a"]
    assert cleared.make == ("b",)
    assert paths(cleared.transfer) == ["a", "b/x", "c"]
    assert cleared.delete == ()


def test_a_link_in_the_place_of_a_folder_is_not_gone_through() -> None:
    source = [folder("a"), file("a/x"), file("b")]
    target = [Node("a", strays=True), Node("b", strays=True)]
    for delete in (False, True):
        plan = plan_mirror(source, target, delete=delete)
        assert "link" in plan.problems["a"]
        assert paths(plan.transfer) == ["b"]
        assert plan.delete == plan.clear == ()


def test_names_that_fall_together_are_told_and_left() -> None:
    source = [folder("A"), file("A/x"), folder("a"), file("a/y"), file("Data"), file("DATA"), file("data2")]
    assert plan_mirror(source, []).problems == {}
    plan = plan_mirror(source, [], fold=str.casefold)
    assert sorted(plan.problems) == ["A", "DATA", "Data", "a"]
    assert "'Data'" in plan.problems["DATA"]
    assert paths(plan.transfer) == ["data2"]
    assert plan.make == ()


def test_a_name_listed_twice_is_told() -> None:
    assert "one of the same name" in plan_mirror([file("x"), file("x")], []).problems["x"]


def test_what_falls_together_is_not_deleted_either() -> None:
    plan = plan_mirror([file("X"), file("x")], [file("x"), file("y")], delete=True, fold=str.casefold)
    assert paths(plan.delete) == ["y"]


def test_names_are_compared_as_the_target_compares_them() -> None:
    plan = plan_mirror([file("Data")], [file("data")], delete=True, newer_only=True, fold=str.casefold)
    assert plan == Plan(skip=("Data",))


def test_the_folders_above() -> None:
    assert list(parents("a/b/c")) == ["a", "a/b"]
    assert list(parents("a")) == []


# Which files


@pytest.mark.parametrize(
    ("path", "include", "exclude", "taken"),
    [
        ("a/x.csv", (), (), True),
        ("a/x.csv", ("*.csv",), (), True),
        ("a/x.txt", ("*.csv",), (), False),
        ("a/x.csv", ("a/*.csv",), (), True),
        ("a/b/x.csv", ("a/*.csv",), (), False),
        ("a/b/x.csv", ("a/**/*.csv",), (), True),
        ("a/b/x.csv", ("a",), (), True),
        ("a/b/x.csv", ("/a/b/",), (), True),
        ("a/x.csv", (), ("*.csv",), False),
        ("a/x.csv", ("*.csv",), ("a",), False),
        ("tmp/deep/x", (), ("tmp",), False),
        ("deep/tmp/x", (), ("tmp",), False),
        ("deep/tmp/x", (), ("deep/t?p",), False),
        ("x.CSV", ("*.csv",), (), False),
        (".x.csv.0123456789abcdef0123.part", (), (), False),
        ("x.csv.part", (), (), True),
    ],
)
def test_patterns_choose(path: str, include: tuple[str, ...], exclude: tuple[str, ...], taken: bool) -> None:
    assert Selection(include, exclude).takes(path) is taken


def test_folders_are_entered_unless_excluded() -> None:
    selection = Selection(("*.csv",), ("tmp",))
    assert not selection.excludes("a")
    assert selection.excludes("a/tmp")
    assert not selection.everything
    assert Selection((), ("tmp",)).everything


def test_patterns_are_sequences_of_texts() -> None:
    with pytest.raises(TypeError, match="sequence of patterns"):
        Selection("*.csv", ())
    with pytest.raises(ValueError, match="exclude has a control character"):
        Selection((), ("a\r\nDELE b",))


# Values of transfers


def test_an_upload_goes_under_a_hidden_name_in_the_same_folder() -> None:
    token = token_of("content", "/data/x.csv")
    assert temporary_path("/data/x.csv", token) == f"/data/.x.csv.{token}.part"
    assert temporary_path("x.csv", token) == f".x.csv.{token}.part"
    assert is_temporary_name(f".x.csv.{token}.part")
    assert not is_temporary_name("x.csv.part")
    assert not is_temporary_name(f"x.csv.{token}.part")
    assert token != token_of("other", "/data/x.csv") != token_of("content", "/data/y.csv")


def test_long_names_are_shortened_between_characters() -> None:
    path = temporary_path("/d/" + "ã" * 120, token_of("x"))
    name = path.rpartition("/")[2]
    assert len(name.encode()) <= 143
    assert is_temporary_name(name)
    assert set(name.split(".")[1]) == {"ã"}


def test_what_tells_versions_apart_needs_size_and_time() -> None:
    assert validator_of(5, NOON) == "5 2025-01-01T12:00:00+00:00"
    assert validator_of(5, None) is validator_of(None, NOON) is None
    assert source_of("u@h", "/a") != source_of("u@h", "/b") != source_of("v@h", "/b")


def test_times_are_written_in_whole_seconds_of_utc() -> None:
    assert stamp(NOON.timestamp() + 0.9) == "20250101120000"


def test_what_is_unknown_is_not_up_to_date() -> None:
    assert up_to_date(1, NOON, than_size=1, than_modified=NOON)
    assert not up_to_date(None, NOON, than_size=None, than_modified=NOON)
    assert not up_to_date(1, None, than_size=1, than_modified=NOON)
    assert not up_to_date(1, NOON, than_size=1, than_modified=None)


def test_progress_never_falls_and_ends_at_the_size() -> None:
    told: list[tuple[int, int | None]] = []
    progress = Progress(lambda *now: told.append(now))
    for done in (1, 5, 2, 7, 12):
        progress.report(done, 10)
    progress.end(10)
    assert told == [(1, 10), (5, 10), (5, 10), (7, 10), (10, 10), (10, 10)]
    Progress(None).report(1, 2)
    Progress(None).end(2)


def test_a_pace_waits_as_long_as_the_bytes_should_have_taken() -> None:
    pace = Pace(100.0, due=1000.0)
    assert pace.wait(50, 1000.0) == 0.5
    assert pace.wait(50, 1000.5) == 0.5
    assert pace.wait(100, 1010.0) == 0.0
    assert pace.wait(100, 1010.0) == 1.0  # and not for the nine seconds in which nothing passed
    assert pace.piece(1 << 20) == 1024
    assert Pace(1e6, due=0).piece(1 << 20) == 100_000
    assert Pace(None, due=0).wait(10**9, 0) == 0.0
    assert Pace(None, due=0).piece(1 << 20) == 1 << 20


@pytest.mark.parametrize("rate", [0, -1, True, "fast", float("inf"), float("nan")])
def test_a_rate_is_a_number_above_zero(rate: Any) -> None:
    check_rate(None)
    check_rate(0.5)
    with pytest.raises(ValueError, match="rate_limit must be"):
        check_rate(rate)


def test_a_transfer_that_broke_is_tried_again() -> None:
    assert broken("short")._kind is Kind.TEMPORARY
