"""The page on loopback: it answers who has its address, and nobody else."""

from collections.abc import Iterator
from threading import Thread

import pytest
import requests
from aep_intake_cli.site import Site


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
    answer = requests.get(site.address + "?" + "&".join("a=1" for _ in range(50)), timeout=9)
    assert answer.status_code == 400
