"""The default redaction: what looks like a secret or is called one is not kept; what is none stays."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_project import clock
from gateway_project.runs.content.secrets import is_card_number, redact_secrets

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc=\n-----END RSA PRIVATE KEY-----"

SECRETS = {
    "OpenAI": ("use {} please", "sk-proj-abcDEF0123456789_-abcd"),
    "Anthropic": ("{}", "sk-ant-api03-abcdefghijklmnopqrstuv"),
    "ours": ("curl -H 'x: {}'", "gw-0123456789ab-abcdefghijklmnop"),
    "AWS": ("id {}", "AKIAIOSFODNN7EXAMPLE"),
    "AWS secret": ("aws_secret_access_key = {}", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    "GitHub": ("({})", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
    "GitHub, fine": ("{}", "github_pat_11ABCDEFG0abcdefghijkl_mnop"),
    "GitLab": ("{}", "glpat-abcdefghij0123456789"),
    "Slack": ("{}", "xoxb-1234567890-abcdefghij"),
    "Stripe": ("{}", "sk_live_abcdefghijklmnop0123"),
    "Google": ("{}", "AIzaSyA-abcdefghijklmnopqrstuvwxyz01234"),
    "Hugging Face": ("{}", "hf_abcdefghijklmnopqrstuv"),
    "JWT": ("Cookie {} end", JWT),
    "bearer": ("Authorization: Bearer {}", "abc.def-ghi"),
    "bare bearer": ("with bearer {}", "abcdefghijklmnop0123456789"),
    "basic": ("Authorization: Basic {}", "dXNlcjpwYXNz"),
    "bare basic": ("Basic {} was sent", "dXNlcjpwYXNzd29yZA=="),
    "header in JSON": ('{{"Authorization": "{}"}}', "abcdef"),
    "private key": ("here:\n{}\nthanks", PEM),
    "private key, cut": ("here: {}", PEM[:60]),
    "database URL": ("postgres://app:{}@db.internal:5432/shop", "s3cr3t!:x"),
    "URL with @ in it": ("https://u:{}@host/path", "p@ss"),
    "query": ("https://x.org/a?api_key={}&page=2", "abcdef"),
    "signed URL": ("https://x.org/a?X-Amz-Signature={}", "0123abcd"),
    "password": ("password: {}", "hunter2"),
    "password in a sentence": ("The password is {}", "swordfish"),
    "password in JSON": ('{{"password": "{}", "user": "nina"}}', "correct horse"),
    "password in escaped JSON": ('{{\\"password\\": \\"{}\\"}}', "hunter2"),
    "environment": ("export DB_PASSWORD='{}'", "correct horse"),
    "token": ("access_token={}", "abcdef123"),
    "secret": ("client-secret: {}", "abcdef123"),
    "API key by name": ("X-API-Key: {}", "abcdef123"),
    "cookie": ("Set-Cookie: {}; Path=/", "sid=31d4d96e407aad42"),
    "card": ("card {} exp 12/29", "4111 1111 1111 1111"),
    "card with dashes": ("{}", "5500-0000-0000-0004"),
    "card, bare": ("{}.", "378282246310005"),
}

HARMLESS = [
    "What is the capital of France?",
    "max_tokens: 100, temperature=0.5",
    "It took 1732471234567 ms and 1234567890123456 tries.",
    "Use basic understanding of risk-based and sk-learn methods.",
    "See https://example.org:8080/path?page=2#top and mailto:nina@example.org",
    "def password_of(user): ...",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "0000 0000 0000 0000",
    "run 0192f0c0-0000-7000-8000-000000000001",
]


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_not_kept(kind: str) -> None:
    around, secret = SECRETS[kind]
    text = around.format(secret)
    redacted = redact_secrets(text)
    assert secret not in redacted
    assert "[redacted: " in redacted
    assert redact_secrets(redacted) == redacted


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact_secrets(text) == text


def test_what_stands_around_a_secret_stays() -> None:
    text = "db is postgres://app:s3cr3t@db/shop, and sk-proj-abcdefghijklmnop1234 is the key."
    assert (
        redact_secrets(text) == "db is postgres://app:[redacted: password]@db/shop, and [redacted: API key] is the key."
    )


_SENTENCES = st.text(string.ascii_letters + string.digits + " .,:;=\"'\n{}?&/-äß😀", max_size=60)


@given(before=_SENTENCES, kind=st.sampled_from(sorted(SECRETS)), after=_SENTENCES)
def test_a_secret_is_found_wherever_it_stands(before: str, kind: str, after: str) -> None:
    around, secret = SECRETS[kind]
    redacted = redact_secrets(f"{before} {around.format(secret)} {after}")
    assert secret not in redacted
    assert redact_secrets(redacted) == redacted


@given(st.text(max_size=300))
def test_any_text_can_be_read_and_once_is_enough(text: str) -> None:
    once = redact_secrets(text)
    assert redact_secrets(once) == once


@pytest.mark.parametrize("before", ["", "sid-", "-", "a.", "ey-", "eyJ.", "=", "é-"])
def test_a_web_token_is_found_where_a_word_begins(before: str) -> None:
    assert redact_secrets(f"{before}{JWT} b") == f"{before}[redacted: JSON web token] b"


@given(st.integers(10**11, 10**14))
def test_of_all_last_digits_one_makes_a_card_number(number: int) -> None:
    found = [digit for digit in range(10) if is_card_number(f"4{number}{digit}")]
    assert len(found) == 1


@pytest.mark.parametrize(
    "text",
    [
        "password ",
        "a",
        "1 ",
        "://a:",
        "eyJ",
        "eyJ-",
        "eyJaaaaaaaa-",
        "token=",
        "-----BEGIN PRIVATE KEY-----",
        "?a_",
        "sk-",
        "&key=&token",
        '"',
        "is ",
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """Time in proportion: what takes the square of it would need minutes here."""
    begun = clock.monotonic()
    redact_secrets(text * (300_000 // len(text)))
    assert clock.monotonic() - begun < 30
