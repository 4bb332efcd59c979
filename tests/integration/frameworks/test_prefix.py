"""Sites below a prefix, behind an nginx that removes it and behind one that does not: one resource, one name."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.address import Address, Response
from tests.support.proxies import free_ports
from tests.support.server import Server
from tests.support.waiting import eventually

APPLICATIONS = Path(__file__).parent / "applications"
SITES = ["django", "django-wsgi", "falcon", "falcon-wsgi", "fastapi", "flask", "starlette"]

CONFIGURATION = """
daemon off; {user} pid nginx.pid; error_log stderr; events {{}}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server {{
    listen {address};
    location /shop/admin/ {{ return 403; }}
    location /shop/ {{
      proxy_pass http://{upstream}{replacement};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Prefix /shop;
    }}
  }}
}}
"""


@contextmanager
def nginx(directory: Path, upstream: Address, replacement: str) -> Iterator[Address]:
    """An nginx that passes what is below /shop/ on, with `replacement` in its place, but nothing below /shop/admin/."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("needs nginx (Debian package nginx)")
    address = Address("127.0.0.1", free_ports(1)[0])
    user = "user root;" if os.getuid() == 0 else ""
    text = CONFIGURATION.format(user=user, address=address, upstream=upstream, replacement=replacement)
    (directory / "nginx.conf").write_text(text)
    with (directory / "nginx.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-p", str(directory), "-c", "nginx.conf"], stdin=log, stdout=log, stderr=log
        )

    def listens() -> bool:
        assert process.poll() is None, (directory / "nginx.log").read_text()
        try:
            address.connect(1).close()
        except OSError:
            return False
        return True

    try:
        eventually(listens, "nginx listens")
        yield address
    finally:
        process.terminate()
        process.wait(30)


class Scene:
    def __init__(self, server: Address, proxy: Address, *, strips: bool) -> None:
        self.server, self.proxy, self.strips = server, proxy, strips

    def ask(self, site: str, target: str) -> Response:
        return self.proxy.request("GET", target, headers={"Host": site})


@pytest.fixture(scope="module", params=[True, False], ids=["stripped", "whole"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    settings = {
        "app": {"target": "mounted_sites:site", "directory": str(APPLICATIONS)},
        "proxy": {"strips_prefix": request.param},
    }
    directory = tmp_path_factory.mktemp("scene")
    with Server(directory, settings) as server, nginx(directory, server.address, "/" * request.param) as proxy:
        yield Scene(server.address, proxy, strips=request.param)


@pytest.mark.parametrize("site", SITES)
def test_a_page_is_found_and_links_to_itself(scene: Scene, site: str) -> None:
    response = scene.ask(site, "/shop/hello")
    assert (response.status, response.text) == (200, "/shop/hello")


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(
    "target", ["/shop/admin/users", "/shop/%61dmin/users", "/shop/shop/admin/users", "/shop/%73hop/admin/users"]
)
def test_what_the_proxy_denies_has_no_other_name(scene: Scene, site: str, target: str) -> None:
    assert scene.ask(site, target).status in {403, 404}


@pytest.mark.parametrize("site", SITES)
def test_a_path_that_has_the_prefix_once_more_is_another_one(scene: Scene, site: str) -> None:
    assert scene.ask(site, "/shop/shop/open").status == 200
    assert scene.ask(site, "/shop/open").status == 404


@pytest.mark.parametrize("site", ["seen", "seen-wsgi"])
def test_a_request_about_the_server_as_a_whole_has_no_path_to_put_the_prefix_before(scene: Scene, site: str) -> None:
    fields = {"Host": site, "X-Forwarded-Prefix": "/shop"}
    assert scene.server.request("OPTIONS", "*", headers=fields).text == "*"
    target = "/hello" if scene.strips else "/shop/hello"
    assert scene.server.request("OPTIONS", target, headers=fields).text == "/shop/hello"


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("scene", [False], indirect=True, ids=["whole"], scope="module")
def test_a_path_without_the_prefix_that_has_to_be_there_is_not_found(scene: Scene, site: str) -> None:
    headers = {"Host": site, "X-Forwarded-Prefix": "/shop"}
    for target in ("/hello", "/shopping/hello", "/"):
        assert scene.server.request("GET", target, headers=headers).status == 404
    assert scene.server.request("GET", "/shop/hello", headers=headers).status == 200
