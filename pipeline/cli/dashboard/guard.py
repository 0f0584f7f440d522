"""Stands before every request to the dashboard: other users of the host get nothing.

The URL that is printed carries a token. Whoever opens it gets a cookie with another secret, and a page that goes on to
the dashboard, so that the token stays in no address bar. A request without the cookie gets 403.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Names of this server in a request, before the port: a page of another site that a name leads here has another one."""

SAFE = frozenset({"GET", "HEAD"})
"""Methods that change nothing."""

STUDY = re.compile(r"/(?:api/studies|csv|artifacts)/(\d+)")
"""Paths that name a study by its id."""

ENDS_TRIALS = re.compile(r"/api/(studies/\d+/rename|trials/\d+/tell)/?$")
"""Paths with which a campaign that runs would lose its study, or a trial."""

HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
]
"""Headers of every answer."""

WELCOME = """<!DOCTYPE html><html lang="en"><head><meta charset="UTF-8"><title>Pilotune</title>
<meta http-equiv="refresh" content="0; url=PATH"></head><body><a href="PATH">the dashboard</a></body></html>
"""
"""Goes on to the dashboard from a page of this server: a browser sends a strict cookie only then."""


class Studies(Protocol):
    """What is asked about studies."""

    def shows(self, study_id: int) -> bool: ...
    def busy(self, study_id: int | None = None) -> bool: ...


class Guard:
    """A WSGI application that lets requests with the cookie through.

    Args:
        app: The dashboard.
        studies: Says which studies are shown, and which a campaign is working on.
        name: The study's name, for sentences.
        home: The path that the printed URL leads to.
        write: Changes are allowed.

    Attributes:
        token: The secret in the URL that is printed.
    """

    def __init__(
        self, app: WSGIApplication, studies: Studies, name: str, *, home: str = "/dashboard", write: bool = False
    ):
        self._app, self._studies, self._name, self._write = app, studies, name, write
        self._welcome_page = WELCOME.replace("PATH", home).encode()
        self.token = secrets.token_urlsafe(32)
        self._secret = secrets.token_urlsafe(32)
        # Cookies are kept by host, not by port: several dashboards must not replace each other's.
        self._cookie = f"pilotune-{secrets.token_hex(8)}"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self._names_this_host(environ):
            return self._answer(start_response, "403 Forbidden", "this server answers only to 127.0.0.1 and localhost")
        given = parse_qs(environ.get("QUERY_STRING", "")).get("token", [""])[0]
        if environ["REQUEST_METHOD"] == "GET" and environ.get("PATH_INFO") == "/" and equal(given, self.token):
            return self._welcome(start_response)
        if not self._is_let_in(environ):
            sentence = "open the URL that `pilotune dashboard` printed: it lets this browser in"
            return self._answer(start_response, "403 Forbidden", sentence)
        problem = self._problem(environ)
        if problem is not None:
            return self._answer(start_response, *problem)

        def with_headers(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> object:
            return start_response(status, [*headers, *HEADERS], exc_info)  # type: ignore[arg-type]

        environ.setdefault("HTTP_ACCEPT_ENCODING", "")  # optuna-dashboard expects that every client sends it
        return self._app(environ, with_headers)  # type: ignore[arg-type]

    def _names_this_host(self, environ: WSGIEnvironment) -> bool:
        host = re.sub(r":\d+$", "", environ.get("HTTP_HOST", ""))
        return host.lower() in HOSTS

    def _is_let_in(self, environ: WSGIEnvironment) -> bool:
        try:
            found = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(self._cookie)
        except CookieError:
            return False
        return found is not None and equal(found.value, self._secret)

    def _welcome(self, start_response: StartResponse) -> Iterable[bytes]:
        cookie = f"{self._cookie}={self._secret}; Path=/; HttpOnly; SameSite=Strict"
        headers = [("Content-Type", "text/html; charset=UTF-8"), ("Set-Cookie", cookie), ("Cache-Control", "no-store")]
        start_response("200 OK", [*headers, ("Content-Length", str(len(self._welcome_page))), *HEADERS])
        return [self._welcome_page]

    def _problem(self, environ: WSGIEnvironment) -> tuple[str, str] | None:
        """Status and sentence for a request that is let in, but refused; None if it goes on."""
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        if method not in SAFE:
            if not self._write:
                how = f"pilotune dashboard {self._name} --write allows changes"
                return "403 Forbidden", f"this dashboard is read-only; {how}"
            if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") != "same-origin" or not same_origin(environ):
                return "403 Forbidden", "another site asked for this change"
        named = STUDY.match(path)
        study_id = int(named[1]) if named and len(named[1]) < 19 else None
        if named and (study_id is None or not self._studies.shows(study_id)):
            return "404 Not Found", "this dashboard shows no such study"
        after = parse_qs(environ.get("QUERY_STRING", "")).get("after", ["0"])[0]
        if not re.fullmatch(r"[0-9]{1,9}", after):
            return "400 Bad Request", "`after` must be a whole number from 0"
        ends = ENDS_TRIALS.match(path) or (method == "DELETE" and re.fullmatch(r"/api/studies/\d+/?", path))
        if method not in SAFE and ends and self._studies.busy(study_id):
            return "409 Conflict", f"a campaign is working on this study; pilotune stop {self._name} ends it"
        return None

    def _answer(self, start_response: StartResponse, status: str, sentence: str) -> Iterable[bytes]:
        body = json.dumps({"reason": sentence}).encode() + b"\n"
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        start_response(status, [*headers, ("Content-Length", str(len(body))), *HEADERS])
        return [body]


def same_origin(environ: WSGIEnvironment) -> bool:
    """Whether a request comes from a page of this server, or from a program that does not say where from."""
    origin = environ.get("HTTP_ORIGIN")
    return origin is None or origin == f"http://{environ.get('HTTP_HOST', '')}"


def equal(given: str, secret: str) -> bool:
    """Whether two texts are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), secret.encode())
