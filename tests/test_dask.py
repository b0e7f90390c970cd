"""Partitions read by dask's processes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from echo_connhandler import SqlLiteConnProperties, SqlLiteHandler

dask: Any = import_module("dask")  # its types are only half there


def test_dask_reads_partitions(tmp_path: Path) -> None:
    with SqlLiteHandler(SqlLiteConnProperties(path=tmp_path / "x.db")) as handler:
        handler.write_frame(pd.DataFrame({"n": range(100), "v": "x"}), "t", mode="create")
        parts = handler.read_partitioned("SELECT * FROM t", "n", 2)
    frames = dask.compute(
        *[dask.delayed(part).read_to_pandas() for part in parts], scheduler="processes", num_workers=1
    )
    assert sorted(pd.concat(frames)["n"]) == [*range(100)]
    assert len(frames) == 2
