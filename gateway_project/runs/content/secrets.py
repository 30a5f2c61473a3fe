"""Finds secrets in texts and puts ``[redacted: what it was]`` in their place. The default of ``CONTENT_REDACTION``.

It knows what looks like a secret or is called one. A secret without a shape, in a sentence that does not name it,
stays: what must not be kept at all wants the mode ``digest`` or ``none``. Every pattern takes time in proportion to
the text.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of secret.

    Attributes:
        pattern: what its first group matches stays.
        marks: a text that has none of them, in lower case, need not be searched; none given: every text is.
        confirm: may say of what was found that it is none.
    """

    name: str
    pattern: re.Pattern[str]
    marks: tuple[str, ...] = ()
    confirm: Callable[[str], bool] = lambda _: True


def _kind(
    name: str, pattern: str, *marks: str, confirm: Callable[[str], bool] = lambda _: True, flags: int = 0
) -> Kind:
    return Kind(name, re.compile(pattern, flags), marks, confirm)


def is_card_number(text: str) -> bool:
    """Whether the digits are a payment card's: their first names an industry that issues some, and Luhn's sum is right.

    Source: ISO/IEC 7812-1.
    """
    digits = [int(character) for character in text if character.isdigit()]
    if digits[0] not in (2, 3, 4, 5, 6) or len(set(digits)) == 1:
        return False
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


_WORD = r"[A-Za-z0-9_\-]"
_QUOTE = r"(?:\\?[\"'])?"
_ALREADY = r"(?!\[redacted:)"
_VALUE = rf"{_ALREADY}(?:\"[^\"\n]+\"|'[^'\n]+'|[^\s\"',;&{{}}\\]+)"

KINDS: tuple[Kind, ...] = (
    # To the end where the end is missing: the text may have been cut, or the answer broken off.
    _kind(
        "private key",
        r"()-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        "private key",
        flags=re.DOTALL,
    ),
    _kind(
        "JSON web token",
        # First a look whether two dots follow: else the rest would be read again for each word that begins like one.
        rf"(?<!{_WORD})(?={_WORD}++\.{_WORD}*+\.)({_WORD}*?\b)eyJ{_WORD}{{8,}}(?:\.{_WORD}*){{2,4}}",
        "eyj",
    ),
    _kind(
        "API key",
        r"()(?<![A-Za-z0-9])(?:"
        rf"sk-{_WORD}{{16,}}|gw-[0-9a-f]{{12}}-{_WORD}{{8,}}|(?:sk|rk|pk|whsec)_(?:live_|test_)?{_WORD}{{16,}}|"
        rf"(?:AKIA|ASIA)[A-Z0-9]{{16}}|gh[opusr]_[A-Za-z0-9]{{20,}}|github_pat_\w{{20,}}|glpat-{_WORD}{{16,}}|"
        rf"xox[abeoprs]-{_WORD}{{10,}}|xapp-{_WORD}{{10,}}|AIza{_WORD}{{30,}}|ya29\.{_WORD}{{16,}}|"
        rf"hf_[A-Za-z0-9]{{20,}}|npm_[A-Za-z0-9]{{30,}}|pypi-{_WORD}{{30,}}|SG\.{_WORD}{{16,}}\.{_WORD}{{16,}}|"
        rf"dop_v1_[0-9a-f]{{40,}}|(?:gsk|pplx|xai|r8)[_-]{_WORD}{{20,}}"
        r")",
        *("sk-", "gw-", "sk_", "rk_", "pk_", "whsec_", "akia", "asia", "gh", "glpat-", "xox", "xapp-", "aiza", "ya29."),
        *("hf_", "npm_", "pypi-", "sg.", "dop_v1_", "gsk", "pplx", "xai", "r8"),
    ),
    _kind(
        "credentials",
        rf"(\bauthorization{_QUOTE}\s{{0,5}}[:=]\s{{0,5}}{_QUOTE}(?:(?:bearer|basic|digest|token|negotiate)\s+)?+)"
        rf"{_ALREADY}[^\s\"',;\\]+",
        "authorization",
        flags=re.IGNORECASE,
    ),
    _kind("credentials", rf"(\bbearer\s{{1,5}}){_ALREADY}[A-Za-z0-9._~+/\-]{{16,}}=*", "bearer", flags=re.IGNORECASE),
    _kind(
        "credentials",
        rf"(\bbasic\s{{1,5}}){_ALREADY}[A-Za-z0-9+/]{{8,}}={{0,2}}",
        "basic",
        confirm=lambda found: any(character in "0123456789=+/" for character in found),
        flags=re.IGNORECASE,
    ),
    _kind("password", rf"((?<=://)[^\s/?#:@\"'<>]{{0,200}}:){_ALREADY}[^\s/?#\"'<>]{{1,500}}(?=@)", "://"),
    _kind(
        "parameter",
        r"([?&](?:[a-z_\-]{0,20}key|[a-z_\-]{0,20}token|[a-z_\-]{0,20}secret|password|passwd|pwd|pass|auth|code|sig|"
        rf"[a-z_\-]{{0,20}}signature|x-amz-credential)=){_ALREADY}[^&\s#\"'<>]+",
        "=",
        flags=re.IGNORECASE,
    ),
    _kind(
        "password",
        r"((?:passwor[dt]|passwd|passphrase|passcode|pwd|kennwort)"
        rf"{_QUOTE}(?:\s{{0,5}}[:=]\s{{0,5}}\\?|\s{{1,5}}(?:is|ist)\s{{1,5}}:?)){_VALUE}",
        *("passw", "passphrase", "passcode", "pwd", "kennwort"),
        flags=re.IGNORECASE,
    ),
    _kind(
        "secret",
        r"((?:secret|api[_\- ]?key|apikey|access[_\- ]?key|private[_\- ]?key|encryption[_\- ]?key|signing[_\- ]?key|"
        r"secret[_\- ]?key|account[_\- ]?key|token|credential|set-cookie|cookie|sessionid)"
        rf"{_QUOTE}\s{{0,5}}[:=]\s{{0,5}}\\?){_VALUE}",
        *("secret", "key", "token", "credential", "cookie", "sessionid"),
        flags=re.IGNORECASE,
    ),
    _kind(
        "card number",
        r"()(?<![\d.])(?:\d{13,19}|\d{4}(?P<four>[ -])\d{4}(?P=four)\d{4}(?P=four)\d{1,7}|"
        r"\d{4}(?P<six>[ -])\d{6}(?P=six)\d{4,5})(?!\d)",
        confirm=is_card_number,
    ),
)


def redact_secrets(text: str) -> str:
    """`text` without what looks like a secret: done again it changes nothing more."""
    return redact(text, KINDS)


def redact(text: str, kinds: Iterable[Kind]) -> str:
    """`text` without secrets of these kinds, for hooks that add some of their own."""
    lowered = text.lower()
    for kind in kinds:
        if not kind.marks or any(mark in lowered for mark in kind.marks):
            text = kind.pattern.sub(_replacement(kind), text)
    return text


def _replacement(kind: Kind) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        lead = match[1]
        return f"{lead}[redacted: {kind.name}]" if kind.confirm(match[0][len(lead) :]) else match[0]

    return replace
