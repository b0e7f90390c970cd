"""FEAT's reply, read."""

from __future__ import annotations

import pytest

from echo_connhandler._core.ftp.features import Features
from echo_connhandler._core.ftp.replies import Reply

VSFTPD = (" AUTH TLS", " EPRT", " EPSV", " MDTM", " PASV", " PBSZ", " PROT", " REST STREAM", " SIZE", " TVFS")
PROFTPD = (
    " EPSV",
    " HASH CRC32;MD5;SHA-1*;SHA-256;SHA-512",
    " MFMT",
    " MLST modify*;perm*;size*;type*;unique*;UNIX.group*;",
    " REST STREAM",
    " UTF8",
)


def features(*lines: str) -> Features:
    return Features.of(Reply(211, ("Features:", *lines, "End")))


def test_what_servers_list() -> None:
    vsftpd, proftpd = features(*VSFTPD), features(*PROFTPD)
    assert (vsftpd.mlst, vsftpd.utf8, vsftpd.rest_stream) == (False, False, True)
    assert (proftpd.mlst, proftpd.utf8, proftpd.rest_stream) == (True, True, True)
    assert vsftpd.has("SIZE")
    assert not vsftpd.has("MFMT")
    assert proftpd.commands["HASH"] == "CRC32;MD5;SHA-1*;SHA-256;SHA-512"


def test_names_in_small_letters_and_several_lines_of_one() -> None:
    found = features("auth TLS", " AUTH SSL", "mlst type*;size;", " rest stream", "", "UTF8")
    assert found.commands == {"AUTH": "TLS;SSL", "MLST": "type*;size;", "REST": "stream", "UTF8": ""}
    assert found.rest_stream


@pytest.mark.parametrize("reply", [Reply(500, ("Unknown command.",)), Reply(530, ("Log in.",)), Reply(211, ("None",))])
def test_a_server_may_have_none(reply: Reply) -> None:
    assert Features.of(reply) == Features()


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ("type*;size*;modify*;perm;", ()),
        ("type*;size;modify*;perm*;unique;", ("type", "size", "modify", "unique")),
        ("Type*;Size*;Modify;", ("type", "size", "modify")),
        ("", ()),
    ],
)
def test_facts_that_are_off_are_asked_for(facts: str, wanted: tuple[str, ...]) -> None:
    assert features(f" MLST {facts}").facts_to_ask_for == wanted
