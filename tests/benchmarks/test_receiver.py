import pytest
from bench.receiver import Arrivals, Connection, content_length


class Written:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, piece: bytes) -> None:
        self.pieces.append(piece)


def receiving(arrivals: Arrivals) -> tuple[Connection, Written]:
    connection, written = Connection(arrivals), Written()
    connection.transport = written  # type: ignore[assignment]
    return connection, written


REQUEST = b"POST /sink HTTP/1.1\r\nwebhook-id: e1\r\nContent-Length: 3\r\n\r\nabc"


@pytest.fixture
def arrivals() -> Arrivals:
    return Arrivals()


def test_a_request_is_counted_once_wherever_it_is_cut(arrivals):
    for cut in range(1, len(REQUEST)):
        arrivals.reset()
        connection, written = receiving(arrivals)
        connection.data_received(REQUEST[:cut])
        assert arrivals.total == 0
        connection.data_received(REQUEST[cut:])
        assert arrivals.total == 1
        assert len(written.pieces) == 1


def test_two_requests_in_one_piece_are_two(arrivals):
    connection, written = receiving(arrivals)
    connection.data_received(REQUEST * 2)
    assert arrivals.paths[b"/sink"][0] == 2
    assert len(written.pieces) == 2


def test_arrivals_are_kept_by_event_id_and_the_first_one_counts(arrivals):
    arrivals.times = {}
    connection, _ = receiving(arrivals)
    connection.data_received(REQUEST)
    first = dict(arrivals.times)
    connection.data_received(REQUEST)
    assert list(first) == [b"e1"]
    assert arrivals.times == first


def test_a_path_that_hangs_gets_no_answer(arrivals):
    connection, written = receiving(arrivals)
    connection.data_received(REQUEST.replace(b"/sink", b"/hang"))
    assert written.pieces == []
    assert (arrivals.total, arrivals.hung) == (0, 1)


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 12\r\nX: y", 12),
        (b"POST / HTTP/1.1\r\ncontent-length: 7", 7),
        (b"POST / HTTP/1.1\r\nX: y", 0),
    ],
)
def test_the_length_is_found_in_either_case(head, length):
    assert content_length(head) == length
