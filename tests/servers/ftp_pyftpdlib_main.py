"""Runs pyftpdlib as a JSON file says, as a program of its own: ftp_pyftpdlib_main.py FILE PORT."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.handlers.ftps.ssl import SSLConnectionMixin
from pyftpdlib.servers import FTPServer

_shut_down = SSLConnectionMixin._do_ssl_shutdown


def shut_down(connection: Any) -> None:
    """End TLS; where TLS itself is broken, pyftpdlib would try again for ever, with all of a processor."""
    connection.tries = getattr(connection, "tries", 0) + 1
    if connection.tries > 20:
        connection._ssl_closing = False
        connection.handle_ssl_shutdown()
    else:
        _shut_down(connection)


class ImplicitHandler(TLS_FTPHandler):  # type: ignore[misc] # untyped
    """Begins with TLS; the greeting comes after the handshake."""

    def handle(self) -> None:
        self.secure_connection(self.ssl_context)

    def handle_ssl_established(self) -> None:
        super().handle()


def make_handler(settings: dict[str, Any]) -> type[Any]:
    """Give the class that serves a client."""
    authorizer = DummyAuthorizer()
    authorizer.add_user(settings["user"], settings["password"], settings["home"], perm=settings["permissions"])
    kinds = {"none": FTPHandler, "explicit": TLS_FTPHandler, "implicit": ImplicitHandler}
    members = {"authorizer": authorizer, "auth_failed_timeout": 0, "use_sendfile": False}
    if settings["tls"] != "none":
        members |= {"certfile": settings["certificate"], "keyfile": settings["key"]}
        members |= {"tls_control_required": True, "tls_data_required": True}
    return type("Handler", (kinds[settings["tls"]],), members | settings["handler"])


def main() -> None:
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    SSLConnectionMixin._do_ssl_shutdown = shut_down
    settings = json.loads(Path(sys.argv[1]).read_text())
    server = FTPServer(("127.0.0.1", int(sys.argv[2])), make_handler(settings))
    server.max_cons = 256
    server.serve_forever()


if __name__ == "__main__":
    main()
