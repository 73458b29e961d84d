import asyncio
import json

import pytest
from bench import BODY
from bench.load import Connection, Requests

ANSWER = b'HTTP/1.1 202 Accepted\r\nServer: x\r\nContent-Length: 14\r\n\r\n{"eventId":"e"'


def test_an_answer_is_noticed_once_wherever_it_is_cut():
    for cut in range(1, len(ANSWER)):
        seen = []
        connection = Connection(lambda _, status, seen=seen: seen.append(status))
        connection.data_received(ANSWER[:cut])
        assert seen == []
        connection.data_received(ANSWER[cut:])
        assert seen == [b"202"]


def test_a_lost_connection_is_told():
    seen = []
    connection = Connection(lambda one, _: seen.append(one.lost))
    connection.connection_lost(None)
    assert seen == [True]


@pytest.mark.parametrize("ids", [True, False])
def test_every_body_is_an_envelope_of_the_stated_length(ids):
    requests = Requests("/in/bench", "bench.order", "token", ids=ids)
    made = [requests.make(number) for number in (1, 2)]
    bodies = [request.partition(b"\r\n\r\n")[2] for request in made]
    assert {len(body) for body in bodies} == {BODY}
    events = [json.loads(body) for body in bodies]
    assert {event["eventType"] for event in events} == {"bench.order"}
    assert len({event.get("eventId") for event in events}) == (2 if ids else 1)


def test_a_connection_writes_through_the_transport_it_was_given():
    connection = Connection(lambda *_: None)
    transport = asyncio.Transport()
    connection.connection_made(transport)
    assert connection.transport is transport
