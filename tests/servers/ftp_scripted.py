"""An FTP server of our own that is right by itself and wrong as it's told. It knows one folder of files in memory."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping

from tests.servers.tcp import TcpServer, reset_on_close

__all__ = ("FtpSession", "ScriptedFtpServer", "Step", "half", "hang", "reset")

_SECONDS = 10.0

# In place of what is right: bytes to send; None: the connection is closed; or a function of session and argument that
# says whether the connection stays.
Step = bytes | None | Callable[["FtpSession", str], bool]


class ScriptedFtpServer(TcpServer):
    """Answers each command as `wrong` says, else as FTP wants it.

    Attributes:
        files: what RETR and SIZE know, by path; STOR adds to it.
        listing: what MLSD and LIST send.
        commands: all that came, over all connections.

    Args:
        wrong: by command, what is done in place of what is right: always, or if it's a list, one each time and then
            what is right again. "" is the greeting.
    """

    def __init__(
        self,
        *,
        files: Mapping[str, bytes] | None = None,
        listing: bytes = b"",
        wrong: Mapping[str, Step | list[Step]] | None = None,
    ) -> None:
        super().__init__()
        self.files = dict(files or {})
        self.listing = listing
        self.commands: list[str] = []
        self._wrong = dict(wrong or {})

    def step(self, command: str) -> tuple[bool, Step]:
        """Say whether something wrong is to be done, and what."""
        with self._changed:
            wrong = self._wrong.get(command, [])
            if not isinstance(wrong, list):
                return True, wrong
            return (True, wrong.pop(0)) if wrong else (False, None)

    def handle(self, connection: socket.socket) -> None:
        with contextlib.closing(FtpSession(self, connection)) as session:
            go_on, lines = session.do("", ""), connection.makefile("rb")
            with lines:
                while go_on and (line := lines.readline()):
                    text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
                    self.commands.append(text)
                    command, _, argument = text.partition(" ")
                    go_on = session.do(command.upper(), argument)


class FtpSession:
    """One control connection, and the way to its next data connection."""

    def __init__(self, server: ScriptedFtpServer, connection: socket.socket) -> None:
        self.server, self.connection = server, connection
        self.listener: socket.socket | None = None
        self.active: tuple[str, int] | None = None
        self.rest = 0

    def close(self) -> None:
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    def say(self, *lines: str) -> bool:
        """Send lines of a reply."""
        self.connection.sendall("".join(f"{line}\r\n" for line in lines).encode())
        return True

    def do(self, command: str, argument: str) -> bool:
        """Answer one command; False ends the connection."""
        is_wrong, step = self.server.step(command)
        if is_wrong:
            if callable(step):
                return step(self, argument)
            if step is None:
                return False
            self.connection.sendall(step)
            return True
        return self.right(command, argument)

    def right(self, command: str, argument: str) -> bool:
        """Do what FTP wants."""
        known = getattr(self, f"_{(command or 'greeting').lower()}", None)
        return known(argument) if known else self.say(f"500 {command} is unknown here")

    def listen(self) -> int:
        """Wait for the next data connection; gives the port."""
        self.close()
        self.listener = socket.create_server((self.server.host, 0))
        self.listener.settimeout(_SECONDS)
        return int(self.listener.getsockname()[1])

    def data(self, *, local: str | None = None) -> socket.socket:
        """Give the data connection; an active one comes from the address `local`."""
        if self.active is not None:
            connection = socket.create_connection(self.active, _SECONDS, (local or self.server.host, 0))
        else:
            assert self.listener is not None
            connection = self.listener.accept()[0]
            self.close()
        connection.settimeout(_SECONDS)
        return connection

    def send(self, content: bytes) -> bool:
        """Say 150, send it on the data connection, say 226."""
        self.say("150 it comes")
        with self.data() as data:
            data.sendall(content)
        return self.say("226 that was all")

    def _greeting(self, argument: str) -> bool:
        return self.say("220 ready")

    def _user(self, argument: str) -> bool:
        return self.say("331 password")

    def _pass(self, argument: str) -> bool:
        return self.say("230 in")

    def _feat(self, argument: str) -> bool:
        features = ("MLST type*;size*;modify*;", "EPSV", "EPRT", "SIZE", "MDTM", "REST STREAM", "UTF8")
        return self.say("211-features", *(f" {feature}" for feature in features), "211 end")

    def _opts(self, argument: str) -> bool:
        return self.say("200 fine")

    def _type(self, argument: str) -> bool:
        return self.say("200 fine")

    def _noop(self, argument: str) -> bool:
        return self.say("200 fine")

    def _pwd(self, argument: str) -> bool:
        return self.say('257 "/" is where you are')

    def _cwd(self, argument: str) -> bool:
        return self.say("250 fine")

    def _quit(self, argument: str) -> bool:
        self.say("221 bye")
        return False

    def _epsv(self, argument: str) -> bool:
        self.active = None
        return self.say(f"229 Extended Passive Mode (|||{self.listen()}|)")

    def _pasv(self, argument: str) -> bool:
        self.active = None
        port = self.listen()
        return self.say(f"227 Passive Mode (127,0,0,1,{port >> 8},{port & 255})")

    def _eprt(self, argument: str) -> bool:
        _, _, host, port, _ = argument.split("|")
        self.active = (host, int(port))
        return self.say("200 fine")

    def _port(self, argument: str) -> bool:
        numbers = argument.split(",")
        self.active = (".".join(numbers[:4]), int(numbers[4]) * 256 + int(numbers[5]))
        return self.say("200 fine")

    def _rest(self, argument: str) -> bool:
        self.rest = int(argument)
        return self.say("350 from there")

    def _size(self, argument: str) -> bool:
        content = self.server.files.get(argument)
        return self.say("550 no such file" if content is None else f"213 {len(content)}")

    def _mdtm(self, argument: str) -> bool:
        return self.say("213 20250102030405" if argument in self.server.files else "550 no such file")

    def _mlst(self, argument: str) -> bool:
        content = self.server.files.get(argument)
        if content is not None:
            return self.say("250-", f" type=file;size={len(content)};modify=20250102030405; {argument}", "250 end")
        if argument in ("", "/"):
            return self.say("250-", " type=dir;modify=20250102030405; /", "250 end")
        return self.say("550 no such file")

    def _mlsd(self, argument: str) -> bool:
        return self.send(self.server.listing)

    def _list(self, argument: str) -> bool:
        return self.send(self.server.listing)

    def _retr(self, argument: str) -> bool:
        content, rest, self.rest = self.server.files.get(argument), self.rest, 0
        return self.say("550 no such file") if content is None else self.send(content[rest:])

    def _stor(self, argument: str) -> bool:
        self.say("150 go on")
        rest, self.rest = self.rest, 0
        content = self.server.files.get(argument, b"")[:rest]
        with self.data() as data:
            while more := data.recv(65536):
                content += more
        self.server.files[argument] = content
        return self.say("226 kept")

    def _dele(self, argument: str) -> bool:
        gone = self.server.files.pop(argument, None)
        return self.say("550 no such file" if gone is None else "250 gone")

    def _rnfr(self, argument: str) -> bool:
        self.renamed = argument
        return self.say("350 to what" if argument in self.server.files else "550 no such file")

    def _rnto(self, argument: str) -> bool:
        self.server.files[argument] = self.server.files.pop(self.renamed)
        return self.say("250 renamed")


def hang(session: FtpSession, argument: str) -> bool:
    """Say nothing until the client hangs up."""
    while session.connection.recv(65536):
        pass
    return False


def half(session: FtpSession, argument: str) -> bool:
    """Send half of the file, and then nothing more until the client hangs up."""
    content = session.server.files[argument]
    session.say("150 it comes")
    with session.data() as data:
        data.sendall(content[: len(content) // 2])
        data.settimeout(None)
        with contextlib.suppress(OSError):
            while data.recv(65536):
                pass
    return False


def reset(session: FtpSession, argument: str) -> bool:
    """End the connection with RST."""
    reset_on_close(session.connection)
    return False
