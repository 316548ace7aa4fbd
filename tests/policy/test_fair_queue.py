"""Sessions take turns, and no place is lost or given twice."""

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from latimer.policy.fair_queue import FairQueue


def test_places_then_the_queue_then_full() -> None:
    queue: FairQueue[int] = FairQueue(2, 1)
    assert [queue.enter("a", n) for n in range(4)] == ["in", "in", "waits", "full"]
    assert (queue.taken, queue.waiting, queue.free) == (2, 1, False)
    assert queue.give_back() == 2
    assert queue.give_back() is None
    assert queue.free


def test_one_session_keeps_its_order() -> None:
    queue: FairQueue[int] = FairQueue(1, 10)
    for n in range(5):
        queue.enter("a", n)
    assert [queue.give_back() for _ in range(5)] == [1, 2, 3, 4, None]


def test_twenty_subagents_do_not_starve_another_session() -> None:
    queue: FairQueue[str] = FairQueue(1, 100)
    for n in range(20):
        queue.enter("busy", f"busy {n}")
    queue.enter("other", "other 0")
    queue.enter("other", "other 1")
    assert [queue.give_back() for _ in range(4)] == ["busy 1", "other 0", "busy 2", "other 1"]


def test_who_leaves_is_not_called() -> None:
    queue: FairQueue[int] = FairQueue(1, 10)
    for n in range(4):
        queue.enter("a", n)
    queue.leave("a", 2)
    queue.leave("a", 2)
    queue.leave("nobody", 9)
    assert queue.waiting == 2
    assert [queue.give_back() for _ in range(3)] == [1, 3, None]


@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=40))
def test_nobody_waits_for_more_than_one_round(sessions: list[str]) -> None:
    """Until a session's turn comes, and between two of its turns, every other one has at most one."""
    queue: FairQueue[str] = FairQueue(1, 100)
    queue.enter("first", "first")
    for session in sessions:
        queue.enter(session, session)
    turns = [called for _ in sessions if (called := queue.give_back())]
    assert Counter(turns) == Counter(sessions)
    for session in set(sessions):
        places = [-1, *(place for place, called in enumerate(turns) if called == session)]
        for before, after in itertools.pairwise(places):
            others = Counter(turns[before + 1 : after])
            assert max(others.values(), default=0) <= 1, (turns, session)


class Queues(RuleBasedStateMachine):
    """Against a model: who is in, and who waits."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue(3, 5)
        self.inside: set[int] = set()
        self.waiting: dict[int, str] = {}
        self.number = 0

    @rule(session=st.sampled_from("abc"))
    def enter(self, session: str) -> None:
        self.number += 1
        match self.queue.enter(session, self.number):
            case "in":
                assert not self.waiting
                self.inside.add(self.number)
            case "waits":
                assert len(self.inside) == 3
                self.waiting[self.number] = session
            case "full":
                assert len(self.waiting) == 5

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        self.inside.remove(data.draw(st.sampled_from(sorted(self.inside))))
        called = self.queue.give_back()
        if called is not None:
            session = self.waiting.pop(called)
            assert all(called < other for other, whose in self.waiting.items() if whose == session)
            self.inside.add(called)
        else:
            assert not self.waiting

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.waiting)))
        self.queue.leave(self.waiting.pop(ticket), ticket)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.queue.taken == len(self.inside) <= 3
        assert self.queue.waiting == len(self.waiting) <= 5


TestQueues = Queues.TestCase
