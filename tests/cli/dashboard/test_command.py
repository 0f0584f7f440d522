"""``pilotune dashboard`` as a process: who gets an answer, what stands where, how it ends, and a real browser."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import optuna
import pytest

from ...support.browser import chromium
from ...support.cli import Pilotune, alone, of_pilotune, pilotune_  # noqa: F401
from ...support.local import PATIENCE, Here, until
from ...support.postgres import Server


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


class Dashboard:
    """A dashboard that runs.

    Attributes:
        url: What it printed.
        tunnel: The line with ssh.
    """

    def __init__(self, process: subprocess.Popen[str]):
        self.process = process
        assert process.stdout is not None
        self.url, self.tunnel = process.stdout.readline().strip(), process.stdout.readline().strip()
        if not self.url:
            raise AssertionError(process.communicate(timeout=PATIENCE))
        self.address = urlsplit(self.url)

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
        assert self.address.hostname
        connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=PATIENCE)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body

    def cookie(self) -> str:
        status, headers, _ = self.get(f"{self.address.path}?{self.address.query}")
        assert status == 200
        return headers["set-cookie"].partition(";")[0]

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, err
        token = self.address.query.partition("=")[2]
        assert token
        assert token not in out + err, "it is printed once"


@contextmanager
def dashboard(here: Here, *words: str) -> Iterator[Dashboard]:
    process = here.start("dashboard", *words)
    try:
        yield (running := Dashboard(process))
        running.end()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.real
def test_only_the_browser_with_the_printed_url_gets_an_answer(here: Here, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    of_pilotune(url)
    other = of_pilotune(url, "secret")
    with dashboard(here, "digits", "--storage", url) as served:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{40,}", served.url)
        port = served.address.port
        assert f"ssh -L {port}:127.0.0.1:{port} " in served.tunnel
        assert served.tunnel.endswith(f"@{socket.gethostname()}")
        words = Path(f"/proc/{served.process.pid}/cmdline").read_text() + str(served.process.args)
        assert served.address.query.partition("=")[2] not in words
        for path in (
            "/",
            "/dashboard",
            "/api/studies",
            "/api/meta",
            "/static/bundle.js",
            "/csv/1",
            "/?token=x",
            "/nothing",
        ):
            assert served.get(path)[0] == 403
            assert served.get(path, Cookie="pilotune=x")[0] == 403
        cookie = served.cookie()
        status, _, body = served.get("/api/studies", Cookie=cookie)
        assert (status, [each["study_name"] for each in json.loads(body)["study_summaries"]]) == (200, ["digits"])
        detail = json.loads(served.get("/api/studies/1", Cookie=cookie)[2])
        assert [trial["state"] for trial in detail["trials"]] == [
            "Complete",
            "Complete",
            "Pruned",
            "Fail",
            "Running",
            "Waiting",
        ]
        assert served.get("/dashboard/studies/1", Cookie=cookie)[0] == 200
        assert served.get(f"/api/studies/{other._study_id}", Cookie=cookie)[0] == 404
        assert served.get("/api/studies/1", "DELETE", Cookie=cookie)[0] == 403
        assert served.get("/api/studies", Cookie=cookie, Host="evil.example.org")[0] == 403
    assert sorted(optuna.get_all_study_names(url)) == ["digits", "secret"]


@pytest.mark.real
@pytest.mark.postgres
@pytest.mark.exhaustive
def test_the_password_of_postgresql_is_on_no_command_line(
    here: Here, postgres_server: Server, postgres_url: str
) -> None:
    of_pilotune(postgres_url)
    here.environment["PGPASSWORD"] = "s3cret-word"
    with dashboard(here, "digits", "--storage", postgres_url) as served:
        assert served.get("/api/studies", Cookie=served.cookie())[0] == 200
        assert "s3cret-word" not in Path(f"/proc/{served.process.pid}/cmdline").read_text() + served.url


@pytest.mark.real
def test_a_real_browser_shows_the_study(here: Here, tmp_path: Path) -> None:
    program = chromium()
    url = f"sqlite:///{tmp_path}/study.db"
    of_pilotune(url, "rings-of-gold")
    with dashboard(here, "rings-of-gold", "--storage", url) as served:
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/chromium"]
        command += ["--virtual-time-budget=20000", "--dump-dom", served.url]

        def shows() -> bool:
            page = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
            return "rings-of-gold" in page.stdout and "token=" not in page.stdout

        until(shows, "the page shows the study")


def test_a_port_that_is_taken_and_packages_that_are_missing_are_sentences(
    pilotune: Pilotune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    url = f"sqlite:///{tmp_path}/study.db"
    of_pilotune(url)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = pilotune("dashboard", "digits", "--storage", url, "--port", port)
    assert result.code == 2
    assert result.err == f"error: port {port} of 127.0.0.1 is taken; choose another, or leave --port out\n"
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "waitress" else find(name))
    result = pilotune("dashboard", "digits", "--storage", url)
    assert result.code == 2
    assert result.err == (
        "error: the dashboard needs waitress, which is not installed: pip install 'pilotune[dashboard]'\n"
    )


def test_a_study_that_does_not_exist_is_an_input_error(pilotune: Pilotune, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    of_pilotune(url)
    result = pilotune("dashboard", "digts", "--storage", url)
    assert (result.code, "did you mean 'digits'?" in result.err) == (2, True)
