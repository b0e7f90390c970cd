"""Frames without the libraries they need: an error that says what to install, and nothing done."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys, asyncio
sys.modules[{missing!r}] = None
from echo_connhandler import SqlLiteConnProperties, SqlLiteHandler
from echo_connhandler.errors import MissingExtraError
handler = SqlLiteHandler(SqlLiteConnProperties(path=":memory:"))
handler.execute("CREATE TABLE t (a)")
try:
    {call}
except MissingExtraError as error:
    assert isinstance(error, ImportError)
    print(error)
print(handler.fetch_value("SELECT count(*) FROM t"))
handler.close()
"""


@pytest.mark.parametrize(
    ("missing", "call", "install"),
    [
        ("pyarrow", 'handler.read_to_arrow("SELECT 1")', "arrow"),
        ("pyarrow", 'asyncio.run(handler.async_read_to_arrow("SELECT 1"))', "arrow"),
        ("pyarrow", 'handler.iter_arrow("SELECT 1")', "arrow"),
        ("pyarrow", 'handler.write_frame({}, "t")', "arrow"),
        ("pandas", 'handler.read_to_pandas("INSERT INTO t VALUES (1) RETURNING a")', "pandas"),
        ("polars", 'handler.read_to_polars("INSERT INTO t VALUES (1) RETURNING a")', "polars"),
    ],
)
def test_a_missing_library_is_named_with_what_installs_it(missing: str, call: str, install: str) -> None:
    script = SCRIPT.format(missing=missing, call=call)
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    message, count = done.stdout.splitlines()
    assert message.endswith(f'needs {missing}, which is not installed: pip install "echo-connhandler[{install}]"')
    assert count == "0"
