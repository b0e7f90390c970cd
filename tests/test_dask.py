"""Partitions read by dask's processes."""

from __future__ import annotations

from pathlib import Path

import dask
import pandas as pd
from dask.delayed import delayed

from echo_connhandler import SqlLiteConnProperties, SqlLiteHandler


def test_dask_reads_partitions(tmp_path: Path) -> None:
    with SqlLiteHandler(SqlLiteConnProperties(path=tmp_path / "x.db")) as handler:
        handler.write_frame(pd.DataFrame({"n": range(100), "v": "x"}), "t", mode="create")
        parts = handler.read_partitioned("SELECT * FROM t", "n", 2)
    frames = dask.compute(*[delayed(part).read_to_pandas() for part in parts], scheduler="processes", num_workers=1)
    assert sorted(pd.concat(frames)["n"]) == [*range(100)]
    assert len(frames) == 2
