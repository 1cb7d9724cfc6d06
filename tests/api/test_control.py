"""What comes from the control process, and what is answered while it is away?"""

from typing import Any

import pytest

from edge_agent.api import site
from edge_agent.feedback.ledger import Ledger

pytestmark = pytest.mark.anyio


@pytest.mark.usefixtures("controlled")
async def test_a_label_is_answered_after_its_commit(api: Any, ledger: Ledger) -> None:
    seq = await ledger.append("window", {}, loop="p1")
    response = await api["site"].post("/v1/labels", json={"seq": seq, "value": "cavitation", "by": "ann", "note": "heard"})
    assert response.status_code == 200, response.text
    said = ledger.find(response.json()["seq"])
    assert said is not None
    assert said.payload == {"about": [seq], "value": "cavitation", "author": "ann (site)", "note": "heard"}


@pytest.mark.usefixtures("controlled")
async def test_only_what_one_may_see_can_be_labelled(api: Any, ledger: Ledger) -> None:
    hidden = await ledger.append("window", {}, loop="p3")
    assert (await api["company"].post("/v1/labels", json={"seq": hidden, "value": "x"})).status_code == 404
    assert (await api["company"].post("/v1/labels", json={"seq": 999, "value": "x"})).status_code == 404


async def test_a_token_without_the_right_may_not_label(api: Any) -> None:
    response = await api["consortium"].post("/v1/labels", json={"seq": 1, "value": "x"})
    assert (response.status_code, "may not label" in response.json()["error"]) == (403, True)


@pytest.mark.usefixtures("controlled")
async def test_what_the_control_process_refuses_is_told(api: Any, ledger: Ledger) -> None:
    seqs = [await ledger.append("window", {}, loop=loop) for loop in ("p1", "p2")]
    response = await api["site"].post("/v1/labels", json={"seq": seqs, "value": "x"})
    assert (response.status_code, "different loops" in response.json()["error"]) == (422, True)


async def test_without_a_control_process_a_label_is_not_taken(api: Any, ledger: Ledger) -> None:
    response = await api["site"].post("/v1/labels", json={"seq": 1, "value": "x"})
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert ledger.last_seq == 1


@pytest.mark.usefixtures("controlled")
async def test_status_and_metrics_come_from_the_control_process(api: Any) -> None:
    status = (await api["site"].get("/v1/status")).json()
    assert (status["degraded"], status["loops"]["p1"]["mode"]) == (False, "armed")
    text = (await api["site"].get("/metrics")).text
    assert 'edge_agent_loop_turns_total{loop="p1"} 5.0' in text
    assert "edge_agent_api_control_up 1.0" in text


async def test_without_a_control_process_status_says_what_is_known(api: Any, ledger: Ledger) -> None:
    status = (await api["site"].get("/v1/status")).json()
    assert (status["degraded"], status["ledger"]) == (True, {"epoch": ledger.epoch, "last_seq": 1})
    assert "edge_agent_api_control_up 0.0" in (await api["site"].get("/metrics")).text


@pytest.mark.usefixtures("controlled")
async def test_the_page_shows_loops_and_records_and_runs_nothing(api: Any, ledger: Ledger) -> None:
    await ledger.append("outcome", {"tag": "speed", "status": "refused", "why": "<script>alert(1)</script>"}, loop="p1")
    response = await api["site"].get("/")
    assert "relief" in response.text
    assert "&lt;script&gt;" in response.text
    assert "<script" not in response.text
    assert "src=" not in response.text
    assert response.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_page_shows_a_loop_that_does_not_run_with_the_reason() -> None:
    page = site.render("a", {"refused": {"p2": "not signed by a trusted key"}}, ())
    assert "does not run" in page
    assert "not signed by a trusted key" in page


async def test_the_page_shows_only_what_the_token_may_see(api: Any, ledger: Ledger) -> None:
    await ledger.append("outcome", {"why": "secret of the site"}, loop="p3")
    assert "secret of the site" in (await api["site"].get("/")).text
    assert "secret of the site" not in (await api["company"].get("/")).text


async def test_openapi_describes_every_address(api: Any) -> None:
    from edge_agent.api.app import ADDRESSES

    document = (await api["site"].get("/openapi.json")).json()
    assert {(method.upper(), path) for path, item in document["paths"].items() for method in item} == {
        (a.method, a.path) for a in ADDRESSES
    }
    assert set(document["components"]["schemas"]) >= {"RecordOut", "CursorIn", "LabelIn"}


async def test_every_field_of_a_record_is_described(api: Any) -> None:
    from edge_agent.api.feedback import Line
    from edge_agent.api.models import RecordOut

    assert tuple(RecordOut.model_fields) == Line.__struct_fields__
