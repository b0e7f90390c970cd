"""How a server is asked for a digest, and what counts as its answer."""

from __future__ import annotations

import hashlib
import zlib

import pytest

from echo_connhandler._core.ftp.checksums import Way, check_verify, digest_in, new_digest, way_to_ask

SHA1 = "7c4a8d09ca3762af61e59520943dc26494f8941b"
MD5 = "e10adc3949ba59abbe56e057f20f883e"


@pytest.mark.parametrize(
    ("offered", "way"),
    [
        ({}, None),
        ({"SIZE": "", "MDTM": ""}, None),
        ({"HASH": "CRC32;MD5;SHA-1*;SHA-256;SHA-512", "XCRC": ""}, Way("HASH", "sha1")),
        ({"HASH": "sha-256;md5"}, Way("HASH", "sha256", "OPTS HASH SHA-256")),
        ({"HASH": "BLAKE3*;MD5"}, Way("HASH", "md5", "OPTS HASH MD5")),
        ({"HASH": "BLAKE3*", "XMD5": ""}, Way("XMD5", "md5")),
        ({"XCRC": "filename;start;end", "XSHA256": "", "XMD5": ""}, Way("XSHA256", "sha256")),
        ({"XSHA": ""}, Way("XSHA", "sha1")),
        ({"MD5": "", "XMD5": ""}, Way("MD5", "md5")),
        ({"XCRC": ""}, Way("XCRC", "crc32")),
    ],
)
def test_the_best_way_that_a_server_offers_is_taken(offered: dict[str, str], way: Way | None) -> None:
    assert way_to_ask(offered, "folder/file.csv") == way


def test_commands_that_take_a_range_behind_the_path_are_not_used_for_paths_with_spaces() -> None:
    offered = {"XCRC": "", "XSHA": ""}
    assert way_to_ask(offered, "data 0 10") is None
    assert way_to_ask({**offered, "MD5": ""}, "data 0 10") == Way("MD5", "md5")
    assert way_to_ask({**offered, "HASH": "SHA-1*"}, "data 0 10") == Way("HASH", "sha1")


@pytest.mark.parametrize(
    ("way", "lines", "digest"),
    [
        (Way("HASH", "sha1"), ("Computing SHA-1 digest", f"SHA-1 0-6 {SHA1} a file"), SHA1),
        (Way("HASH", "sha1"), (f"SHA-1 0-5 {SHA1} file",), SHA1),  # both ways to tell the end are in use
        (Way("HASH", "sha1"), (f"sha-1 0-6 {SHA1.upper()}",), SHA1),
        (Way("HASH", "sha1"), (f"SHA-1 0-4 {SHA1} file",), None),  # of a part
        (Way("HASH", "sha1"), (f"SHA-1 1-6 {SHA1} file",), None),
        (Way("HASH", "sha256"), (f"SHA-1 0-6 {SHA1} file",), None),  # of another algorithm
        (Way("HASH", "sha1"), (f"SHA-1 0-6 {SHA1[:-1]} file",), None),
        (Way("HASH", "sha1"), ("done",), None),
        (Way("XSHA", "sha1"), ("Computing SHA1 digest", SHA1.upper()), SHA1),
        (Way("XMD5", "md5"), (f"{MD5} file",), MD5),
        (Way("XMD5", "md5"), (f'"file" {MD5}',), MD5),
        (Way("XMD5", "md5"), (f"{MD5[1:]} file",), None),
        (Way("XMD5", "md5"), ("",), None),
        (Way("MD5", "md5"), (f"a b c {MD5.upper()}",), MD5),
        (Way("MD5", "md5"), (f"{SHA1[:32]} {MD5}",), MD5),  # the file's name looks like a digest
        (Way("XCRC", "crc32"), ("972D361",), "0972d361"),
        (Way("XCRC", "crc32"), ("0972d361",), "0972d361"),
        (Way("XCRC", "crc32"), ("00972d361",), None),
        (Way("XCRC", "crc32"), ("not computed",), None),
    ],
)
def test_only_a_digest_of_the_whole_file_counts(way: Way, lines: tuple[str, ...], digest: str | None) -> None:
    assert digest_in(way, lines, 6) == digest


def test_an_empty_file_has_any_range() -> None:
    empty = hashlib.sha1(b"").hexdigest()
    assert digest_in(Way("HASH", "sha1"), (f"SHA-1 0-0 {empty} f",), 0) == empty


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1", "md5"])
def test_digests_are_those_of_hashlib(algorithm: str) -> None:
    digest = new_digest(algorithm)
    digest.update(b"123")
    digest.update(b"456")
    assert digest.hexdigest() == hashlib.new(algorithm, b"123456").hexdigest()


def test_crc32_has_eight_digits() -> None:
    digest = new_digest("crc32")
    digest.update(b"123")
    digest.update(b"456")
    assert int(digest.hexdigest(), 16) == zlib.crc32(b"123456")
    assert new_digest("crc32").hexdigest() == "00000000"


def test_other_words_than_those_known_are_refused() -> None:
    for word in ("auto", "size", "hash"):
        check_verify(word)
    with pytest.raises(ValueError, match="'auto', 'size', 'hash', got 'md5'"):
        check_verify("md5")
