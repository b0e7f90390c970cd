"""What a type checker must see: run by `make types`, never executed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, assert_type

import httpx
import pandas as pd
import polars as pl
import pyarrow as pa

from echo_connhandler import (
    AsyncAPIClient,
    ColumnInfo,
    FtpConnProperties,
    FtpEntry,
    FtpHandler,
    HTTPAuthenticatedClient,
    HttpConnProperties,
    HttpHandler,
    HttpSession,
    LoginFlow,
    NextLink,
    Page,
    PageNumber,
    Resilience,
    SqlLiteConnProperties,
    SqlLiteHandler,
)


def http(handler: HttpHandler) -> None:
    assert_type(handler.get("x", params={"a": 1}, response_ok=(200, 404), timeout=5), httpx.Response)
    assert_type(handler.request("GET", "x", retry=0), httpx.Response)
    assert_type(handler.get_json("x"), Any)
    assert_type(handler.connection, httpx.Client)
    assert_type(handler.async_connection, httpx.AsyncClient)
    assert_type(handler.with_headers({"a": "b"}).with_timeout(5).with_resilience(Resilience()), HttpHandler)
    assert_type(handler.props, HttpConnProperties)
    assert_type(handler.ping(), bool)
    assert_type(handler.is_connected, bool)
    with handler as same:
        assert_type(same, HttpHandler)
    handler.get("x", respons_ok=200)  # type: ignore[call-arg]
    with handler.stream("GET", "x") as response:
        assert_type(response, httpx.Response)
    assert_type(handler.download("x", "file", checksum="md5:0"), Path)
    assert_type(handler.paginate("x", PageNumber(), items="data"), Iterator[Any])
    assert_type(handler.pages("x", NextLink()), Iterator[Page])
    assert_type(handler.gather(["x", ("GET", "y"), ("POST", "z", {"json": 1})]), list[httpx.Response])
    assert_type(handler.gather(["x"], return_exceptions=True), list[httpx.Response | Exception])
    handler.gather([1])  # type: ignore[list-item]


async def async_http(handler: HttpHandler) -> None:
    assert_type(await handler.async_post("x", json={}), httpx.Response)
    assert_type(await handler.async_ping(), bool)
    async with handler.async_stream("GET", "x") as response:
        assert_type(response, httpx.Response)
    assert_type(await handler.async_download("x", "file"), Path)
    assert_type(handler.async_paginate("x", PageNumber()), AsyncIterator[Any])
    assert_type(await handler.async_gather(["x"]), list[httpx.Response])
    async with handler as same:
        assert_type(same, HttpHandler)


async def clients(client: HTTPAuthenticatedClient, api: AsyncAPIClient) -> None:
    assert_type(client.with_headers({}).with_resilience(Resilience()), HTTPAuthenticatedClient)
    assert_type(client.get_or_create_httpx_client(), httpx.Client)
    assert_type(client.get_or_create_async_httpx_client(), httpx.AsyncClient)
    assert_type(client.request("GET", "/x"), httpx.Response)
    assert_type(await api.request("GET", "x"), httpx.Response)
    with client as same:
        assert_type(same, HTTPAuthenticatedClient)


class Own(HttpHandler):
    def login_flow(self) -> LoginFlow:
        response = yield httpx.Request("POST", self.url_for("login"), json={"user": self.props.user})
        assert_type(response, httpx.Response)
        return HttpSession(headers={"Authorization": response.json()["token"]})


def sql(handler: SqlLiteHandler) -> None:
    assert_type(handler.execute("x", {"a": 1}), int)
    assert_type(handler.fetch_all("x"), list[dict[str, Any]])
    assert_type(handler.fetch_one("x"), dict[str, Any] | None)
    assert_type(handler.iterate("x"), Iterator[dict[str, Any]])
    assert_type(handler.describe_table("t"), list[ColumnInfo])
    assert_type(handler.read_to_pandas("x"), pd.DataFrame)
    assert_type(handler.read_to_polars("x"), pl.DataFrame)
    assert_type(handler.read_to_arrow("x"), pa.Table)
    assert_type(handler.write_frame(None, "t", mode="upsert", keys=["a"]), int)
    assert_type(handler.props, SqlLiteConnProperties)
    with handler.transaction() as same:
        assert_type(same, SqlLiteHandler)
    assert_type(handler.run_in_transaction(lambda tx: tx.execute("x")), int)
    handler.write_frame(None, "t", mode="upsrt")  # type: ignore[arg-type]


async def async_sql(handler: SqlLiteHandler) -> None:
    assert_type(await handler.async_fetch_value("x"), Any)
    assert_type(handler.async_iterate("x"), AsyncIterator[dict[str, Any]])
    async with handler.async_transaction() as same:
        assert_type(same, SqlLiteHandler)

    async def work(tx: SqlLiteHandler) -> str:
        await tx.async_execute("x")
        return ""

    assert_type(await handler.async_run_in_transaction(work), str)


def ftp(handler: FtpHandler) -> None:
    assert_type(handler.list_dir("a"), list[FtpEntry])
    assert_type(handler.glob("*.csv"), list[FtpEntry])
    assert_type(next(iter(handler.walk())), FtpEntry)
    assert_type(handler.info("a").size, int | None)
    assert_type(handler.exists("a"), bool)
    assert_type(handler.props, FtpConnProperties)
    with handler as same:
        assert_type(same, FtpHandler)


async def async_ftp(handler: FtpHandler) -> None:
    assert_type(await handler.async_list_dir("a"), list[FtpEntry])
    assert_type([entry async for entry in handler.async_walk()], list[FtpEntry])
    async with handler as same:
        assert_type(same, FtpHandler)
