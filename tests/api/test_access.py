"""Is the API closed to strangers, bounded, and polite to garbage?"""

import base64
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.api.app import ADDRESSES, build
from edge_agent.api.server import agent_of
from edge_agent.clock import ManualClock
from edge_agent.config.model import File

pytestmark = pytest.mark.anyio

PATHS = [(a.method, a.path.replace("{sha256}", "0" * 64).replace("{name}", "x")) for a in ADDRESSES]


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_every_address_needs_a_token(api: Any, method: str, path: str) -> None:
    response = await api["nobody"].request(method, path)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Basic" if path == "/" else "Bearer")
    assert "Authorization: Bearer" in response.json()["error"]


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_without_a_configured_token_everything_is_closed_and_says_how_to_open(
    closed_file: File, clock: ManualClock, method: str, path: str
) -> None:
    app = build(agent_of(closed_file, clock), closed_file.api.tokens, clock)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a1") as client:
        response = await client.request(method, path, headers={"Authorization": "Bearer "})
    assert response.status_code == 403
    assert "api: {tokens: [...]}" in response.json()["error"]


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer wrong", "Basic c2l0ZQ==", "Digest x", "Bearer site-secretx", "Bearer \xff", "site-secret"]
)
async def test_a_wrong_token_is_refused(api: Any, header: str) -> None:
    response = await api["nobody"].get("/v1/status", headers={"Authorization": header.encode("latin-1")})
    assert response.status_code == 401


async def test_a_browser_may_send_the_token_as_a_password_for_the_page_only(api: Any) -> None:
    header = {"Authorization": "Basic " + base64.b64encode(b"anyone:site-secret").decode()}
    assert (await api["nobody"].get("/", headers=header)).status_code == 200
    assert (await api["nobody"].get("/v1/status", headers=header)).status_code == 401
    assert (await api["nobody"].get("/", headers={"Authorization": "Basic !!"})).status_code == 401


async def test_too_many_requests_are_told_to_wait(api: Any, clock: ManualClock) -> None:
    answers = [(await api["site"].get("/openapi.json")).status_code for _ in range(210)]
    assert answers[:200] == [200] * 200
    assert answers[-1] == 429
    assert (await api["company"].get("/openapi.json")).status_code == 200
    clock.advance(1)
    assert (await api["site"].get("/openapi.json")).status_code == 200


async def test_strangers_are_slowed_down_too(api: Any) -> None:
    assert tuple(dict.fromkeys([(await api["nobody"].get("/v1/status")).status_code for _ in range(210)])) == (401, 429)


async def test_a_long_body_is_refused(api: Any) -> None:
    assert (await api["site"].post("/v1/labels", content=b"x" * 64_001)).status_code == 413


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v2", 404), ("DELETE", "/v1/feedback", 405), ("POST", "/", 405)])
async def test_what_is_not_there_says_what_is(api: Any, method: str, path: str, status: int) -> None:
    response = await api["site"].request(method, path)
    assert response.status_code == status
    assert "GET /v1/feedback" in response.json()["error"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([("PUT", "/v1/consumers/x"), ("POST", "/v1/labels")]),
    st.binary(max_size=60)
    | st.sampled_from([b"{}", b"[]", b"null", b'{"seq":NaN}', b'{"seq":1e999}', b'{"epoch":1,"seq":-1}', b"[" * 10_000]),
)
async def test_garbage_is_never_our_fault(api: Any, clock: ManualClock, where: tuple[str, str], body: bytes) -> None:
    clock.advance(10)
    response = await api["site"].request(*where, content=body)
    assert 400 <= response.status_code < 500, response.text
    assert response.json()["error"]


async def test_whose_log_ins_fail_again_and_again_is_not_even_looked_at(api: Any, clock: ManualClock) -> None:
    wrong = [(await api["nobody"].get("/v1/consumers", headers={"Authorization": f"Bearer {n}"})).status_code for n in range(25)]
    assert wrong == [401] * 20 + [429] * 5
    right = await api["site"].get("/openapi.json")  # from the same address: a right guess is not told from a wrong one
    assert (right.status_code, right.headers["retry-after"]) == (429, "5")
    clock.advance(6)
    assert (await api["site"].get("/openapi.json")).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("10.0.0.5:8467", 200),
        ("[::1]:8467", 200),
        ("localhost", 200),
        ("a1", 200),
        ("evil.example", 403),
        ("evil.example:8467", 403),
        ("", 403),
    ],
)
async def test_a_name_that_somebody_else_made_mean_our_address_is_refused(api: Any, host: str, status: int) -> None:
    assert (await api["site"].get("/openapi.json", headers={"Host": host})).status_code == status


async def test_names_of_the_configuration_are_ours(file: File, clock: ManualClock) -> None:
    app = build(agent_of(file, clock), file.api.tokens, clock, ["IPC1.plant.example"])
    headers = {"Authorization": "Bearer site-secret", "Host": "ipc1.plant.example:8467"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a1") as client:
        assert (await client.get("/openapi.json", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"), [("http://a1", 404), ("https://a1", 404), ("http://evil.example", 403), ("null", 403), ("", 403)]
)
async def test_a_foreign_page_changes_nothing(api: Any, origin: str, status: int) -> None:
    response = await api["site"].post("/v1/labels", json={"seq": 9999, "value": "x"}, headers={"Origin": origin})
    assert response.status_code == status
