"""The page on loopback: it answers who has its address, and nobody else."""

import socket
from collections.abc import Iterator
from http import HTTPStatus
from threading import Thread

import pytest
import requests
from aep_intake_cli.site import LOOPBACK, Site


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site(lambda given: f"<p>{given}</p>") as served:
        thread = Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def test_parameters_are_those_of_the_query(site: Site) -> None:
    asked = site.address + "?view=file&uri=s3%3A%2F%2Fb%2Fa%2Bb+%C3%A9&empty="
    answer = requests.get(asked, timeout=9)
    assert answer.text == "<p>{'view': 'file', 'uri': 's3://b/a+b é'}</p>"
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def raw(site: Site, head: str) -> int:
    """The status of what is sent as it is, with the site's `{path}` and `{host}`."""
    with socket.create_connection((LOOPBACK, site.server_address[1]), timeout=9) as connection:
        connection.sendall(head.format(path=site.path, host=site.host).encode() + b"\r\n\r\n")
        return int(connection.makefile("rb").readline().split()[1])


def test_only_who_knows_the_address_gets_an_answer(site: Site) -> None:
    where = f"http://{site.host}"
    assert requests.get(site.address, timeout=9).status_code == 200
    for path in ("/", "/favicon.ico", site.path[:-2] + "/", site.path + "x", "//evil/" + site.path):
        assert requests.get(where + path, timeout=9).status_code == 404
    for host in ("localhost", "evil.example", f"evil.example:{site.server_address[1]}"):
        answer = requests.get(site.address, headers={"Host": host}, timeout=9)
        assert answer.status_code == 421
        assert site.path not in answer.text
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
        assert requests.request(method, site.address, timeout=9).status_code == 501
    for head in (
        "GET {path} HTTP/1.0",
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nHost: evil.example",
    ):
        assert raw(site, head) == HTTPStatus.MISDIRECTED_REQUEST
    for path in ("http://{host}{path}", "/x/..{path}", "{path}#x", "{path};x"):
        assert raw(site, f"GET {path} HTTP/1.1\r\nHost: {{host}}") == HTTPStatus.NOT_FOUND
    long = f"GET {{path}}?uri={'a' * 70_000} HTTP/1.1\r\nHost: {{host}}"
    assert raw(site, long) == HTTPStatus.REQUEST_URI_TOO_LONG
    answer = requests.get(site.address + "?" + "&".join("a=1" for _ in range(50)), timeout=9)
    assert answer.status_code == 400


@pytest.mark.parametrize("error", [BrokenPipeError(), ConnectionResetError(), ValueError("bug")])
def test_a_window_that_is_closed_early_is_no_error(
    site: Site, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    try:
        raise error
    except (OSError, ValueError):
        site.handle_error(None, (LOOPBACK, 1))
    assert ("ValueError: bug" in capsys.readouterr().err) == isinstance(error, ValueError)
    assert capsys.readouterr() == ("", "")
