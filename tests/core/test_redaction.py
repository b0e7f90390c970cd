"""What is shown never holds a secret."""

from __future__ import annotations

import string
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from echo_connhandler._core.redaction import MASK, Redactor, redact_url

secrets = st.text(string.ascii_letters + string.digits + "+/=&%@: ", min_size=4).filter(lambda s: s.strip() == s)


def test_urls_lose_user_info_fragment_and_values_that_sound_secret() -> None:
    url = "https://me:planted@h.example:8/p?page=2&api_token=planted&X-Amz-Signature=planted&senha=planted#planted"
    assert redact_url(url) == f"https://h.example:8/p?page=2&api_token={MASK}&X-Amz-Signature={MASK}&senha={MASK}"


@given(secrets, st.text())
def test_a_known_secret_is_masked_in_any_text_and_spelling(secret: str, around: str) -> None:
    text = Redactor([secret])(f"{around}|{secret}|{quote(secret, safe='')}")
    assert f"|{secret}|" not in text
    assert f"|{quote(secret, safe='')}" not in text


def test_the_token_of_a_header_value_is_a_secret_of_its_own() -> None:
    redactor = Redactor(["Bearer planted-token"])
    assert redactor("token planted-token refused") == f"token {MASK} refused"


@given(st.text())
def test_text_without_secrets_is_left_alone(text: str) -> None:
    if "://" not in text:
        assert Redactor(["planted-secret"])(text) == text.replace("planted-secret", MASK)
