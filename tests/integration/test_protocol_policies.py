"""What a pool lets sessions and users have, and an instance its users, by the bare protocol."""

import os
import unittest

from ctl_case import can_be_another
from protocol_case import NS_MAX, ProtocolCase, main
from protocol_client import VERSION, Client
from test_access import MEMBER, STRANGER, acting
from test_protocol_queue import CRITICAL, QueueCase


class TestMaximum(QueueCase):
    def test_growth_needs_one(self):
        for growth in ("linear:1", "exponential:2", "custom:10"):
            self.assertEqual(self.assert_refused("INVALID_ARGUMENT", self.make, "p", growth=growth),
                             {"field": "growth"})
            self.assertIn("capacity_max", self.message)
            self.make("p", growth=growth, capacity_max=4)
            self.one.call("pool.destroy", name="p", force=True)


class TestRefusals(QueueCase):
    frames = {"capacity_max": 12, "growth": "linear:2", "reserve_critical": 2, "session_slots": 11}
    COUNTERS = {"allocation_failures", "timeouts", "total_waits", "wait_p50", "wait_p99", "wait_max",
                "average_usage", "age"}

    def state(self):
        """All there is to see of the pool but the counters that count refusals, and time."""
        stats = {name: value for name, value in self.stats().items() if name not in self.COUNTERS}
        holders = [(holder["session"], holder["slots"])
                   for holder in self.one.call("holders", name="frames")["holders"]]
        return self.info(), stats, holders

    def test_leave_the_pool_as_it_was(self):
        shared, own, *_ = self.mine.allocate(count=10)
        self.other.retain(shared)
        before = self.state()
        for refuse in (
                lambda: self.assert_refused("MAX_CAPACITY_EXCEEDED", self.other.allocate),
                lambda: self.assert_refused("MAX_CAPACITY_EXCEEDED", self.other.allocate, count=10),
                lambda: self.assert_refused("TIMEOUT", self.other.allocate, timeout=1),
                lambda: self.assert_refused("QUOTA_EXCEEDED", self.mine.allocate, count=2,
                                            priority=CRITICAL),
                lambda: self.assert_refused("MAX_CAPACITY_EXCEEDED", self.other.allocate, count=3,
                                            priority=CRITICAL),
                lambda: self.assert_refused("OBJECT_SHARED", self.mine.free, own, shared),
                lambda: self.assert_refused("OBJECT_SHARED", self.other.adopt, own, shared),
                lambda: self.assert_refused("NOT_PERMITTED", self.mine.detach, own),
                lambda: self.assert_refused("NOT_HOLDER", self.other.release, shared, own),
                lambda: self.assert_refused("MAX_CAPACITY_EXCEEDED", self.one.call, "pool.grow",
                                            name="frames", capacity=13)):
            refuse()
            self.assertEqual(self.state(), before)

    def test_cancelling_leaves_it_as_it_was(self):
        self.mine.allocate(count=10)
        before = self.state()
        msgid = self.other.send_allocate(timeout=-1)
        self.wait_for_waiters(1)
        self.assertEqual(self.other.cancel(), 1)
        self.assert_refused("CANCELLED", self.two.wait, msgid)
        self.assertEqual(self.state(), before)


class TestSessionQuota(QueueCase):
    frames = {"session_slots": 3}

    def assert_exceeded(self, call, *arguments, requested=1, allocated=3, **options):
        self.assertEqual(self.assert_refused("QUOTA_EXCEEDED", call, *arguments, **options),
                         {"pool": "frames", "field": "session_slots", "requested": requested,
                          "allocated": allocated, "max": 3})

    def test_at_the_limit_and_one_above(self):
        held = self.mine.allocate(count=2)
        held += self.mine.allocate()
        self.assert_exceeded(self.mine.allocate)
        self.assertEqual(len(self.other.allocate(count=3)), 3)
        self.mine.free(held[0])
        self.assertEqual(len(self.mine.allocate()), 1)
        self.assertEqual(self.usage(), 6)

    def test_more_than_that_is_refused_at_once_whatever_the_timeout(self):
        for timeout in (0, NS_MAX, -1):
            self.assert_exceeded(self.mine.allocate, count=4, timeout=timeout, requested=4,
                                 allocated=0)

    def test_what_is_waited_for_counts(self):
        three = self.client().open("frames", write=True)
        for pool in (self.mine, three):
            pool.allocate(count=3)
        self.other.allocate()
        msgid = self.other.send_allocate(count=2, timeout=-1)
        self.two.call("ping")
        self.assert_exceeded(self.other.allocate, timeout=-1)
        self.assertEqual(self.other.cancel(), 1)
        self.assert_refused("CANCELLED", self.two.wait, msgid)
        self.assertEqual(len(self.other.allocate()), 1)

    def test_holds_count_each(self):
        a, b = self.mine.allocate(count=2)
        self.other.retain(a, b)
        self.other.retain(a)
        self.assert_exceeded(self.other.retain, b)
        self.assert_exceeded(self.other.allocate)
        self.other.release(a)
        self.assertEqual(len(self.other.allocate()), 1)

    def test_adoption_moves_the_charge(self):
        a, b, c = self.mine.allocate(count=3)
        self.other.allocate(count=2)
        self.assert_exceeded(self.other.adopt, a, b, requested=2, allocated=2)
        self.other.adopt(a)
        self.assert_exceeded(self.other.adopt, b)
        self.assertEqual(len(self.mine.allocate()), 1)
        self.assert_exceeded(self.mine.allocate)
        self.assertEqual(self.mine.free(b, c), 2)

    def test_what_anybody_frees_is_given_back(self):
        held = self.mine.allocate(count=3)
        self.other.free(*held)
        self.assertEqual(len(self.mine.allocate(count=3)), 3)

    def test_nothing_is_detached(self):
        handle, = self.mine.allocate()
        self.assertEqual(self.assert_refused("NOT_PERMITTED", self.mine.detach, handle),
                         {"pool": "frames"})
        self.assertEqual(self.mine.free(handle), 1)


class TestUserQuota(QueueCase):
    frames = {"user_slots": 3}

    def assert_exceeded(self, call, *arguments, requested=1, allocated=3, **options):
        self.assertEqual(self.assert_refused("QUOTA_EXCEEDED", call, *arguments, **options),
                         {"pool": "frames", "field": "user_slots", "requested": requested,
                          "allocated": allocated, "max": 3})

    def test_at_the_limit_and_one_above(self):
        self.mine.allocate(count=2)
        held = self.other.allocate()
        for pool in (self.mine, self.other):
            self.assert_exceeded(pool.allocate)
        self.other.free(*held)
        self.assertEqual(len(self.mine.allocate()), 1)

    def test_is_given_back_with_the_end_of_a_session(self):
        with Client(self.daemon.socket) as client:
            client.open("frames", write=True).allocate(count=3)
            self.assert_exceeded(self.mine.allocate)
        self.until(lambda: self.usage() == 0)
        self.assertEqual(len(self.mine.allocate(count=3)), 3)

    def test_of_another_pool_is_another(self):
        self.mine.allocate(count=3)
        self.assertEqual(len(self.make("p", user_slots=4).allocate(count=4)), 4)

    def test_one_slot_is_no_slots(self):
        pool = self.make("p", user_slots=1)
        self.assert_refused("QUOTA_EXCEEDED", pool.allocate, count=2)
        self.assertIn("user_slots allows 1 slot, with 0 held", self.message)

    def test_nothing_is_detached(self):
        handle, = self.mine.allocate()
        self.assert_refused("NOT_PERMITTED", self.mine.detach, handle)


class TestInstanceQuotas(ProtocolCase):
    """What each user may have of the instance, by the daemon's options."""

    BYTES = 2 << 20
    arguments = ("--user-sessions", "8", "--user-pools", "3", "--user-bytes", str(BYTES),
                 "--user-waiters", "2")

    def assert_exceeded(self, call, *arguments, field, allocated, requested=1, **options):
        self.assertEqual(self.assert_refused("QUOTA_EXCEEDED", call, *arguments, **options),
                         {"field": field, "requested": requested, "allocated": allocated,
                          "max": allocated if field != "bytes" else self.BYTES})
        self.assertIn(f"--user-{field}", self.message)

    def let_everybody_in(self):
        os.chmod(self.daemon.directory, 0o755)
        os.chmod(self.daemon.socket, 0o666)

    def assert_no_session_more(self, connection):
        """But for who is somebody else."""
        self.assert_exceeded(connection.call, "hello", version=VERSION, field="sessions", allocated=8)
        with acting(MEMBER, MEMBER, []), Client(self.daemon.socket) as other:
            other.call("ping")

    @unittest.skipUnless(can_be_another(), "needs other users")
    def test_sessions(self):
        self.let_everybody_in()
        with acting(STRANGER, STRANGER, []):
            clients = [self.client() for _ in range(8)]
            connection = self.connect()
        self.assert_no_session_more(connection)
        for client in clients:
            client.close()
        self.until(lambda: len(self.one.call("sessions")["sessions"]) == 1)
        connection.call("hello", version=VERSION)

    @unittest.skipUnless(can_be_another(), "needs other users")
    def test_sessions_count_under_the_next_daemon_too(self):
        self.let_everybody_in()
        with acting(STRANGER, STRANGER, []):
            clients = [self.client(witness=True) for _ in range(8)]
        self.daemon.die_and_start()
        self.one = self.client()  # it is there
        self.let_everybody_in()
        with acting(STRANGER, STRANGER, []):
            connection = self.connect()
            clients[0].resume()
        self.assert_no_session_more(connection)
        clients[0].close()
        clients[1].close()
        self.until(lambda: len(self.one.call("sessions")["sessions"]) == 7)
        connection.call("hello", version=VERSION)

    def test_sessions_of_the_daemons_own_user_are_not_limited(self):
        clients = [self.client() for _ in range(20)]
        self.assertEqual(len(clients[-1].call("sessions")["sessions"]), 21)

    def test_pools(self):
        for name in ("a", "b"):
            self.make(name)
        self.assert_exceeded(self.make, "c", field="pools", allocated=3)
        self.one.call("pool.destroy", name="a", force=True)
        self.make("c")

    def test_bytes(self):
        left = self.BYTES - self.info()["memory"]
        self.make("a", object_size=4096, alignment=4096, capacity=1)
        rest = self.info("a")["memory"] - 4096
        self.one.call("pool.destroy", name="a")
        count = (left - rest) // 4096
        self.assert_exceeded(self.make, "a", object_size=4096, alignment=4096, capacity=count + 1,
                             field="bytes", allocated=self.BYTES - left, requested=left + 4096)
        pool = self.make("a", object_size=4096, alignment=4096, capacity=count - 1,
                         capacity_max=count + 1, growth="linear:1")
        self.assertEqual(len(pool.allocate(count=count)), count)
        for call, arguments in ((pool.allocate, ()), (self.one.call, ("pool.grow",))):
            self.assert_exceeded(call, *arguments, field="bytes", allocated=self.BYTES,
                                 requested=4096, **({"name": "a", "capacity": count + 1}
                                                    if arguments else {}))
        self.one.call("pool.destroy", name="a", force=True)
        self.make("a")

    def test_bytes_of_holders(self):
        pool = self.one.open("frames", write=True)
        a, b = pool.allocate(count=2)
        before = self.info()["memory"]
        pool.retain(a)
        self.assertEqual(self.info()["memory"], before + 4096)
        other = self.make("p", object_size=4096, alignment=4096, capacity=1, capacity_max=512)
        handle, = other.allocate()
        left = self.BYTES - self.info()["memory"] - self.info("p")["memory"]
        self.one.call("pool.grow", name="p", capacity=1 + left // 4096)
        self.assert_exceeded(other.retain, handle, field="bytes", allocated=self.BYTES,
                             requested=4096)
        pool.retain(b)  # there is room in what it has

    def test_waiters(self):
        pool = self.one.open("frames", write=True)
        pool.allocate(count=8)
        pool.send_allocate(timeout=-1)
        self.one.send_events(after=self.last_event(), timeout=-1)
        for call in (lambda: pool.allocate(timeout=-1),
                     lambda: self.one.events(after=self.last_event(), timeout=-1)):
            self.assert_exceeded(call, field="waiters", allocated=2)
        pool.cancel()
        msgid = pool.send_allocate(timeout=-1)
        self.wait_for_waiters(1)
        pool.cancel()
        self.assert_refused("CANCELLED", self.one.wait, msgid)

    def last_event(self):
        return self.one.events()["next"]


if __name__ == "__main__":
    main()
