"""HTTP servers that nobody here wrote: nginx, and httpbin under hypercorn, each in a process of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ("free_port", "httpbin", "nginx", "started")

_NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; keepalive_requests 3; client_max_body_size 1k;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    gzip on; gzip_types application/json; gzip_min_length 1;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/www;
        default_type application/json;
        location = /moved {{ return 302 /data.json; }}
        location = /upload {{ proxy_pass http://127.0.0.1:1; }}
    }}
}}
"""


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def started(command: list[str], port: int) -> Iterator[None]:
    """Run a program that listens on this port."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(3000):
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with {process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.01)
        else:
            raise RuntimeError(f"{command[0]} does not listen")
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def nginx() -> Iterator[str]:
    """Serve /data.json, 60 KB, gzipped; /moved to it; /upload that takes 1 KB at most; three requests a connection."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise RuntimeError("these tests need nginx: scripts/servers.sh installs it")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the worker is another user
        www = Path(folder, "www")
        www.mkdir()
        (www / "data.json").write_text('{"n": [' + "1234567, " * 6000 + "0]}")
        Path(folder, "conf").write_text(_NGINX.format(folder=folder, port=port))
        with started([program, "-p", folder, "-c", f"{folder}/conf"], port):
            yield f"http://127.0.0.1:{port}"


@contextmanager
def httpbin() -> Iterator[str]:
    """Serve httpbin."""
    port = free_port()
    with started([sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", "wsgi:httpbin:app"], port):
        yield f"http://127.0.0.1:{port}"
