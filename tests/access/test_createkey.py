"""``manage.py createkey``: the key alone on the last line, and nowhere else."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from gateway_project import clock
from gateway_project.access.models import APIKey

pytestmark = pytest.mark.django_db


def createkey(*arguments: str) -> tuple[str, str]:
    """Standard output and standard error."""
    out, err = StringIO(), StringIO()
    call_command("createkey", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_standard_output_is_the_key_alone() -> None:
    out, err = createkey("shop")
    [text] = out.splitlines()
    key = APIKey.objects.get()
    assert APIKey.objects.find(text) == key
    assert (key.name, key.agents, key.expires_at) == ("shop", [], None)
    assert text not in err
    assert "all agents" in err


def test_agents_and_expiry() -> None:
    year = clock.now().year + 1
    createkey("shop", "--agent", "scripted", "--expires", f"{year}-03-01T12:00:00+02:00")
    key = APIKey.objects.get()
    assert key.agents == ["scripted"]
    assert key.expires_at == datetime(year, 3, 1, 10, tzinfo=UTC)


def test_how_much_is_kept_of_its_content() -> None:
    createkey("shop", "--content", "redacted")
    assert APIKey.objects.get().content == "redacted"
    with pytest.raises(CommandError, match="content"):
        createkey("shop", "--content", "all")


@pytest.mark.parametrize("text", ["{}-03-01", "{}0301"])
def test_a_date_means_its_end_however_it_is_written(text: str) -> None:
    year = clock.now().year + 1
    createkey("shop", "--expires", text.format(year))
    assert APIKey.objects.get().expires_at == datetime(year, 3, 1, 23, 59, 59, 999999, tzinfo=UTC)


def test_a_time_without_an_offset_is_utc() -> None:
    year = clock.now().year + 1
    createkey("shop", "--expires", f"{year}-03-01T12:00")
    assert APIKey.objects.get().expires_at == datetime(year, 3, 1, 12, tzinfo=UTC)


def test_a_name_is_taken_up_to_the_columns_end_without_blanks_around_it() -> None:
    createkey(f" {'n' * 100} ")
    assert APIKey.objects.get().name == "n" * 100


@pytest.mark.parametrize(("name", "complaint"), [("", "blank"), (" ", "blank"), ("n" * 101, "at most 100 characters")])
def test_what_is_no_name_is_refused_on_every_database(name: str, complaint: str) -> None:
    with pytest.raises(CommandError, match=f"NAME: .*{complaint}"):
        createkey(name)
    assert not APIKey.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--agent", "scriptd"), "Did you mean 'scripted'"),
        (("--expires", "soon"), "no date or time"),
        (("--expires", "2026-13-01"), "--expires"),
        (("--expires", str(clock.now() - timedelta(seconds=1))), "lies in the past"),
    ],
)
def test_what_is_wrong_is_said_and_no_key_is_made(arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        createkey("shop", *arguments)
    assert not APIKey.objects.exists()
