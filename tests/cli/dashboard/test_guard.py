"""What stands before the dashboard: the token, the cookie, the host's name, and what may be changed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from http.cookies import SimpleCookie
from typing import Any

import pytest

from pilotune.pipeline.cli.dashboard.guard import Guard


class Studies:
    def __init__(self, shown: set[int] | None = None, busy: bool = False):
        self.shown, self.is_busy = shown or {1}, busy

    def shows(self, study_id: int) -> bool:
        return study_id in self.shown

    def busy(self, study_id: int | None = None) -> bool:
        return self.is_busy


def dashboard(environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the dashboard"]


def call(guard: Guard, path: str = "/", method: str = "GET", **environ: str) -> tuple[str, dict[str, str], str]:
    """Status, headers and body of an answer."""
    answer: list[Any] = []
    path, _, query = path.partition("?")
    request: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query,
                               "HTTP_HOST": "127.0.0.1:8080", "wsgi.input": io.BytesIO(), **environ}  # fmt: skip
    body = b"".join(guard(request, lambda status, headers, exc_info=None: answer.extend([status, headers])))
    return answer[0], dict(answer[1]), body.decode()


def cookie_of(guard: Guard) -> str:
    """The cookie that a browser gets by the URL that is printed."""
    status, headers, _ = call(guard, f"/?token={guard.token}")
    assert status == "200 OK"
    (cookie,) = SimpleCookie(headers["Set-Cookie"]).values()
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert guard.token not in headers["Set-Cookie"]
    return f"{cookie.key}={cookie.value}"


@pytest.fixture
def guard() -> Guard:
    return Guard(dashboard, Studies(), "digits")


def test_the_printed_url_lets_a_browser_in_and_nothing_else_does(guard: Guard) -> None:
    cookie = cookie_of(guard)
    assert call(guard, "/dashboard", HTTP_COOKIE=cookie)[2] == "the dashboard"
    assert call(guard, "/dashboard", HTTP_COOKIE=f"theme=dark; {cookie}")[2] == "the dashboard"
    name, _, value = cookie.partition("=")
    other = cookie_of(Guard(dashboard, Studies(), "digits"))
    cookies = [
        "",
        f"{name}=",
        f"{name}={value[:-1]}",
        f"{name}={value}x",
        f"x={value}",
        other,
        "\x00;=;",
        f"{name}=\xff",
    ]
    for wrong in [*cookies, f"{name}={guard.token}"]:
        status, _, body = call(guard, "/dashboard", HTTP_COOKIE=wrong)
        assert (status, "pilotune dashboard" in body) == ("403 Forbidden", True)


@pytest.mark.parametrize(
    "path", ["/", "/?token=", "/?token=x", "/dashboard?token={}", "/api/studies?token={}", "/?t={}"]
)
def test_a_wrong_token_or_one_in_the_wrong_place_gets_403(guard: Guard, path: str) -> None:
    status, headers, _ = call(guard, path.format(guard.token))
    assert status == "403 Forbidden"
    assert "Set-Cookie" not in headers
    assert call(guard, f"/?token={guard.token}", method="POST")[0] == "403 Forbidden"


@pytest.mark.parametrize(
    "host", ["evil.example.org", "evil.example.org:8080", "127.0.0.1.evil.org", "", "[::2]:1", "a@127.0.0.1"]
)
def test_a_request_for_another_host_gets_403_even_with_the_cookie(guard: Guard, host: str) -> None:
    cookie = cookie_of(guard)
    assert call(guard, "/dashboard", HTTP_COOKIE=cookie, HTTP_HOST=host)[0] == "403 Forbidden"
    assert call(guard, f"/?token={guard.token}", HTTP_HOST=host)[0] == "403 Forbidden"


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
def test_a_tunnel_may_begin_at_another_port(guard: Guard, host: str) -> None:
    assert call(guard, "/dashboard", HTTP_COOKIE=cookie_of(guard), HTTP_HOST=host)[0] == "200 OK"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"])
def test_without_write_every_method_that_could_change_something_is_refused(guard: Guard, method: str) -> None:
    status, _, body = call(guard, "/api/studies", method, HTTP_COOKIE=cookie_of(guard))
    assert status == "403 Forbidden"
    assert "read-only; pilotune dashboard digits --write" in body


@pytest.mark.parametrize("path", ["/api/studies/{}", "/api/studies/{}/plot/slice", "/csv/{}", "/artifacts/{}/a"])
def test_other_studies_of_the_database_are_not_found(guard: Guard, path: str) -> None:
    cookie = cookie_of(guard)
    assert call(guard, path.format(1), HTTP_COOKIE=cookie)[0] == "200 OK"
    for number in ("2", "9" * 30):
        assert call(guard, path.format(number), HTTP_COOKIE=cookie)[0] == "404 Not Found"


def test_changes_come_only_from_pages_of_this_server() -> None:
    guard = Guard(dashboard, Studies(), "digits", write=True)
    cookie = cookie_of(guard)

    def put(**headers: str) -> str:
        return call(guard, "/api/studies/1/note", "PUT", HTTP_COOKIE=cookie, **headers)[0]

    assert put() == put(HTTP_ORIGIN="http://127.0.0.1:8080", HTTP_SEC_FETCH_SITE="same-origin") == "200 OK"
    for site in ("cross-site", "same-site", "none"):
        assert put(HTTP_SEC_FETCH_SITE=site) == "403 Forbidden"
    for origin in ("http://127.0.0.1:9999", "https://evil.example.org", "null", ""):
        assert put(HTTP_ORIGIN=origin) == "403 Forbidden"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/studies/1"),
        ("DELETE", "/api/studies/1/"),
        ("POST", "/api/studies/1/rename"),
        ("POST", "/api/trials/7/tell"),
    ],
)
def test_a_campaign_that_runs_keeps_its_study_and_its_trials(method: str, path: str) -> None:
    for busy, status in [(True, "409 Conflict"), (False, "200 OK")]:
        guard = Guard(dashboard, Studies(busy=busy), "digits", write=True)
        assert call(guard, path, method, HTTP_COOKIE=cookie_of(guard))[0] == status


def test_every_answer_forbids_frames_and_referrers(guard: Guard) -> None:
    for path, cookie in [("/", ""), (f"/?token={guard.token}", ""), ("/dashboard", cookie_of(guard))]:
        _, headers, _ = call(guard, path, HTTP_COOKIE=cookie)
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("after", ["abc", "-1", "", "1e3", "9" * 20])
def test_what_optuna_dashboard_would_fail_at_is_refused_in_a_sentence(guard: Guard, after: str) -> None:
    cookie = cookie_of(guard)
    assert call(guard, "/api/studies/1?after=5", HTTP_COOKIE=cookie)[0] == "200 OK"
    if after:  # an empty one is left out when a query is read
        status, _, body = call(guard, f"/api/studies/1?after={after}", HTTP_COOKIE=cookie)
        assert (status, "must be a whole number" in body) == ("400 Bad Request", True)


def test_a_client_that_names_no_encoding_gets_an_answer() -> None:
    def as_the_dashboard(environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        assert "gzip" not in environ["HTTP_ACCEPT_ENCODING"]
        return dashboard(environ, start_response)

    guard = Guard(as_the_dashboard, Studies(), "digits")
    assert call(guard, "/dashboard", HTTP_COOKIE=cookie_of(guard))[2] == "the dashboard"
