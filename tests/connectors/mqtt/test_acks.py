import threading

from edge_agent.mqtt.acks import Acks


def test_nothing_is_due_before_its_commit() -> None:
    acks = Acks(lambda: None)
    committed = acks.open([1, 2], 0)
    assert (acks.due(), acks.waiting) == ([], 2)
    committed()
    assert (acks.due(), acks.waiting) == ([1, 2], 0)


def test_acknowledgements_keep_the_order_of_the_messages() -> None:
    acks = Acks(lambda: None)
    first, second = acks.open([1, 2], 10), acks.open([3], 20)
    second()
    assert acks.due() == []
    assert acks.oldest_ns() == 10
    first()
    assert acks.due() == [1, 2, 3]
    assert acks.oldest_ns() is None


def test_a_second_commit_of_the_same_batch_does_nothing() -> None:
    acks = Acks(lambda: None)
    committed = acks.open([1], 0)
    committed()
    committed()
    assert acks.due() == [1]
    committed()
    assert (acks.due(), acks.waiting) == ([], 0)


def test_a_commit_on_another_thread_wakes_the_connection() -> None:
    rung = []
    acks = Acks(lambda: rung.append(1))
    here, there = acks.open([1], 0), acks.open([2], 0)
    here()
    assert rung == []
    other = threading.Thread(target=there)
    other.start()
    other.join()
    assert rung == [1]
    assert acks.due() == [1, 2]
