"""Frames in files on FTP servers: read and written as CSV and Parquet."""

from __future__ import annotations

import datetime as dt
import gzip
import io
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echo_connhandler.errors import (
    FtpNotFoundError,
    InvalidRequestError,
    TransferError,
)
from echo_connhandler.testing import no_waits
from tests.ftp_servers import FTP_SERVICES, FtpService
from tests.servers.ftp_proxy import FtpProxy

TABLE = pa.table(
    {
        "turbine": pa.array(["KWF1", "KWF2", 'a"b,c\nd', "", None]),
        "power": pa.array([1.5, -2.25, float("inf"), 0.0, None]),
        "count": pa.array([1, 2**62, -3, 0, None]),
        "day": pa.array([dt.date(2021, 1, 1), None, None, None, dt.date(1900, 2, 28)]),
        "on": pa.array([True, False, None, True, True]),
    }
)
ENDINGS = (".csv", ".csv.gz", ".parquet")


@pytest.fixture
def service(request: pytest.FixtureRequest) -> FtpService:
    return FTP_SERVICES["pyftpdlib"](request)


@pytest.fixture
def proxy(service: FtpService) -> Iterator[FtpProxy]:
    with FtpProxy(service.server) as running:
        yield running


@pytest.mark.parametrize("ending", ENDINGS)
async def test_what_is_written_is_read_again(ftp_service: FtpService, ending: str) -> None:
    path = ftp_service.path(f"frame{ending}")
    async with ftp_service.make() as handler:
        assert await handler.async_write_frame(TABLE, path) == 5
        assert (await handler.async_read_to_arrow(path)).equals(TABLE)
        frame = await handler.async_read_to_pandas(path)
        assert frame["count"].dtype == "Int64"
        assert frame["on"].dtype == "boolean"
        assert await handler.async_write_frame(frame, path) == 5
        other = await handler.async_read_to_polars(path)
        assert other["count"].to_list() == TABLE["count"].to_pylist()
        assert await handler.async_write_frame(other, path) == 5
        assert (await handler.async_read_to_arrow(path)).cast(TABLE.schema).equals(TABLE)
    assert [each.name for each in ftp_service.folder.iterdir()] == [f"frame{ending}"]


MAKERS: dict[str, Callable[[], Any]] = {
    "table": lambda: TABLE,
    "batch": lambda: TABLE.to_batches()[0],
    "reader": TABLE.to_reader,
    "pandas": TABLE.to_pandas,
    "polars": lambda: pl.from_arrow(TABLE),
}


@pytest.mark.parametrize("kind", MAKERS)
async def test_frames_of_all_kinds_are_written(service: FtpService, kind: str) -> None:
    async with service.make() as handler:
        for ending in ENDINGS:
            assert await handler.async_write_frame(MAKERS[kind](), service.path(f"x{ending}")) == 5
    assert pq.read_metadata(service.folder / "x.parquet").num_rows == 5


async def test_files_are_what_other_programs_expect(service: FtpService) -> None:
    async with service.make() as handler:
        await handler.async_write_frame(pd.DataFrame({"a": [1, 2], "b": ["x", None]}), service.path("x.csv"))
        await handler.async_write_frame(pd.DataFrame({"a": [1, 2]}), service.path("x.csv.gz"))
        await handler.async_write_frame(TABLE.slice(0, 0), service.path("empty.csv"))
    assert (service.folder / "x.csv").read_bytes() == b'"a","b"\n1,"x"\n2,\n'
    assert gzip.decompress((service.folder / "x.csv.gz").read_bytes()) == b'"a"\n1\n2\n'
    assert (service.folder / "empty.csv").read_bytes() == b'"turbine","power","count","day","on"\n'


async def test_options_of_csv(service: FtpService) -> None:
    (service.folder / "x.csv").write_bytes("título;valor\nação;1,5\nNA;2,5\n".encode("latin-1"))
    async with service.make() as handler:
        table = await handler.async_read_to_arrow(
            service.path("x.csv"), delimiter=";", decimal_point=",", encoding="latin-1", include_columns=["valor"]
        )
        assert table.to_pydict() == {"valor": [1.5, 2.5]}
        table = await handler.async_read_to_arrow(
            service.path("x.csv"), sep=";", skip_rows=1, column_names=["a", "b"], encoding="latin-1"
        )
        assert table.to_pydict() == {"a": ["ação", "NA"], "b": ["1,5", "2,5"]}
        (service.folder / "x.parquet").write_bytes(b"")
        pq.write_table(TABLE, service.folder / "x.parquet")
        table = await handler.async_read_to_arrow(
            service.path("x.parquet"), columns=["count"], filters=[("turbine", "=", "KWF1")]
        )
        assert table.to_pydict() == {"count": [1]}
        frame = await handler.async_read_to_pandas(service.path("x.parquet"), columns=["power"])
        assert list(frame.columns) == ["power"]


async def test_files_of_brazilian_portals(service: FtpService) -> None:
    text = "código;data;valor\n01;31/12/2025;1.234,50\n02;;\n"
    (service.folder / "x.csv").write_bytes(text.encode("latin-1"))
    (service.folder / "x.csv.gz").write_bytes(gzip.compress(text.encode()))
    async with service.make() as handler:
        for name in ("x.csv", "x.csv.gz"):
            table = await handler.async_read_to_arrow(service.path(name), separator=";")
            assert table.to_pydict() == {
                "código": ["01", "02"],
                "data": ["31/12/2025", None],
                "valor": [Decimal("1234.50"), None],
            }


async def test_a_broken_connection_breaks_no_frame(service: FtpService, proxy: FtpProxy) -> None:
    table = pa.table({"a": list(range(200_000))})
    async with service.make(properties=proxy.place, max_retries=3) as handler:
        for ending in ENDINGS:
            with no_waits():
                proxy.data.cut("up", after=20_000, times=3)
                await handler.async_write_frame(table, service.path(f"x{ending}"))
                proxy.heal()
                proxy.data.cut("down", after=20_000, times=3)
                assert (await handler.async_read_to_arrow(service.path(f"x{ending}"))).equals(table)
                assert proxy.data.fired == 3
                proxy.heal()


async def test_progress_is_told(service: FtpService) -> None:
    told: list[tuple[int, int | None]] = []
    async with service.make() as handler:
        await handler.async_write_frame(TABLE, service.path("x.csv"), progress=lambda *now: told.append(now))
        size = (service.folder / "x.csv").stat().st_size
        assert told[-1] == (size, size)
        told.clear()
        await handler.async_read_to_arrow(service.path("x.csv"), progress=lambda *now: told.append(now))
        assert told[-1] == (size, size)


@pytest.mark.parametrize("name", ["x.txt", "x.csv.zip", "x", "csv", "x.xlsx"])
async def test_names_of_other_kinds_are_refused_before_anything_is_sent(service: FtpService, name: str) -> None:
    async with service.make() as handler:
        with pytest.raises(InvalidRequestError, match="ends in .csv, .csv.gz, .parquet"):
            await handler.async_read_to_arrow(name)
        with pytest.raises(InvalidRequestError, match="ends in .csv, .csv.gz, .parquet"):
            await handler.async_write_frame(TABLE, name)
        assert await handler.async_list_dir(service.root) == []


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("x.csv", b"", "is empty"),
        ("x.csv.gz", b"", "is empty"),
        ("x.parquet", b"", "is empty"),
        ("x.csv", b"\n", "can't be read as csv"),
        ("x.csv", b"a,b\n1\n", "Expected 2 columns, got 1"),
        ("x.csv", b"a,a\n1,2\n", "more than one column of the name 'a'"),
        ("x.csv", b"a\n\xe7\xe3o\n", "not written in UTF-8: give encoding="),
        ("x.csv", b"\xe7,b\n1,2\n", "not written in UTF-8: give encoding="),
        ("x.csv.gz", b"no gzip", "can't be read as csv.gz"),
        ("x.csv.gz", gzip.compress(b"a\n1\n" * 1000, mtime=0)[:-10], "can't be read as csv.gz"),
        ("x.csv.gz", gzip.compress(b"", mtime=0), "can't be read as csv.gz"),
        ("x.parquet", b"no parquet at all", "can't be read as parquet"),
    ],
)
async def test_files_that_are_not_what_their_name_says(service: FtpService, name: str, data: bytes, why: str) -> None:
    (service.folder / name).write_bytes(data)
    async with service.make() as handler:
        with pytest.raises(TransferError, match=why):
            await handler.async_read_to_arrow(service.path(name))
        assert await handler.async_exists(service.path(name))


async def test_options_are_checked_before_anything_is_sent(service: FtpService) -> None:
    async with service.make() as handler:
        with pytest.raises(TypeError, match="has no option 'sheet' here; known are .*delimiter"):
            await handler.async_read_to_arrow("none.csv", sheet=1)
        with pytest.raises(TypeError, match="sep and delimiter are the same"):
            await handler.async_read_to_arrow("none.csv", sep=";", delimiter=";")
        with pytest.raises(TypeError, match="has no option 'delimiter' here; known are columns, filters, schema"):
            await handler.async_read_to_arrow("none.parquet", delimiter=";")
        with pytest.raises(TypeError, match="has no option 'delimiter' here; known are decimal, separator"):
            await handler.async_read_to_arrow("none.csv", separator=";", delimiter=";")
        with pytest.raises((TypeError, ValueError)):
            await handler.async_read_to_arrow("none.csv", delimiter="too long")
        with pytest.raises(FtpNotFoundError):
            await handler.async_read_to_pandas(service.path("none.csv"))


async def test_what_can_not_be_written_is_told_before_anything_is_sent(service: FtpService, tmp_path: Path) -> None:
    async with service.make() as handler:
        with pytest.raises(InvalidRequestError, match="Unsupported Type:list"):
            await handler.async_write_frame(pa.table({"a": [[1]]}), service.path("x.csv"))
        with pytest.raises(InvalidRequestError, match="a NULL in a frame of one column is an empty line"):
            await handler.async_write_frame(pa.table({"a": [1, None]}), service.path("x.csv"))
        with pytest.raises(TypeError, match="a frame is"):
            await handler.async_write_frame({"a": [1]}, service.path("x.csv"))
        await handler.async_write_frame(pa.table({"a": [[1], None]}), service.path("x.parquet"))
    found = pq.read_table(io.BytesIO((service.folder / "x.parquet").read_bytes()))
    assert found.to_pydict() == {"a": [[1], None]}
    assert [each.name for each in service.folder.iterdir()] == ["x.parquet"]
