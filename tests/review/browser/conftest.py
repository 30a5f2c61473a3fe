"""A browser, somebody logged in, and a server whose pages may run nothing but what they bring as files."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 60_000

Open = Callable[..., Page]


def only_our_files(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A strict Content-Security-Policy: no inline script and no inline style runs."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = "default-src 'self'; img-src 'self' data:; object-src 'none'"
        return response

    return middleware


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Playwright's process. Its loop runs in this thread, which Django must not take for an asynchronous caller."""
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    with sync_playwright() as started:
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
        yield started
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
    else:
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = before


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """One browser for the tests of a file: while it runs, no other test may have an event loop in this thread."""
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    expect.set_options(timeout=PATIENCE_MS)
    launched = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
    yield launched
    launched.close()


@pytest.fixture
def open_page(transactional_db: None, live_server: LiveServer, browser: Browser, settings: Any) -> Iterator[Open]:
    """Open an address of the admin as its superuser: a page of that width, in light or dark."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.review.browser.conftest.only_our_files"]
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_at(address: str, *, width: int = 1280, scheme: Any = "light") -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        context.add_cookies([{"name": "sessionid", "value": _session(), "url": live_server.url}])
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(live_server.url + address)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert [text for text in wrong if not any(harmless in text for harmless in _HARMLESS)] == []


_HARMLESS = ("favicon", "404", "ERR_NETWORK_CHANGED")
"""The last is said of a request that is sent again, when another test adds or removes a network interface."""


def _session() -> str:
    user, _ = User.objects.get_or_create(username="auditor", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value
