"""Who gets slots before whom, by the bare protocol: priorities, reserves, eviction."""

import itertools

from protocol_case import ProtocolCase, main

NORMAL, CRITICAL, BEST_EFFORT = 0, 1, 2


class QueueCase(ProtocolCase):
    def setUp(self):
        super().setUp()
        self.two = self.client(name="two")
        self.mine = self.one.open("frames", write=True)
        self.other = self.two.open("frames", write=True)

    def assert_granted(self, msgid, count=1):
        self.assertEqual(len(self.two.wait(msgid)["handles"]), 16 * count)

    def assert_waiting(self, count):
        self.assertEqual(self.stats()["waiters"], count)


class TestOrder(QueueCase):
    def setUp(self):
        super().setUp()
        self.held = self.mine.allocate(count=8, priority=CRITICAL)

    def free(self, count=1):
        for _ in range(count):
            self.mine.free(self.held.pop())

    def wait_in_queue(self, *priorities, **options):
        msgids = [self.other.send_allocate(timeout=-1, priority=priority, **options)
                  for priority in priorities]
        self.two.call("ping")
        return msgids

    def test_is_by_priority_then_by_age(self):
        for priorities in itertools.permutations((NORMAL, CRITICAL, BEST_EFFORT)):
            order = priorities * 2
            msgids = self.wait_in_queue(*order)
            self.assert_waiting(6)
            expected = [msgid for wanted in (CRITICAL, NORMAL, BEST_EFFORT)
                        for priority, msgid in zip(order, msgids) if priority == wanted]
            for left in range(6, 0, -1):
                self.free()
                self.assert_waiting(left - 1)
            self.two.call("ping")
            self.assertEqual(self.two.order[-7:-1], expected)
            self.two.call("pool.close", pool=self.number)
            self.other = self.two.open("frames", write=True)
            self.held += self.mine.allocate(count=6)

    def test_nobody_of_the_same_or_lower_importance_overtakes(self):
        large, = self.wait_in_queue(NORMAL, count=3)
        small, low = self.wait_in_queue(NORMAL, BEST_EFFORT)
        self.free(2)
        self.assert_waiting(3)
        for priority in (NORMAL, BEST_EFFORT):
            self.assertEqual(self.assert_refused("POOL_EXHAUSTED", self.mine.allocate,
                                                 priority=priority),
                             {"pool": "frames", "capacity": 8, "allocated": 6, "requested": 1,
                              "waiters": 3, "reserved": 0})
        self.free()
        self.assert_granted(large, 3)
        self.assert_waiting(2)
        self.free(2)
        self.assert_granted(small)
        self.assert_granted(low)

    def test_more_important_ones_overtake(self):
        large, = self.wait_in_queue(NORMAL, count=3)
        self.free(2)
        self.held += self.mine.allocate(priority=CRITICAL)
        urgent, = self.wait_in_queue(CRITICAL, count=2)
        self.assert_waiting(2)
        self.free(1)
        self.assert_granted(urgent, 2)
        self.assert_waiting(1)
        self.free(3)
        self.assert_granted(large, 3)

    def test_critical_ones_wait_for_each_other(self):
        large, = self.wait_in_queue(CRITICAL, count=3)
        self.free(2)
        self.assert_refused("POOL_EXHAUSTED", self.mine.allocate, priority=CRITICAL)
        self.free()
        self.assert_granted(large, 3)

    def test_timeout_of_the_important_one_lets_others_have_their_turn(self):
        urgent = self.other.send_allocate(count=3, priority=CRITICAL, timeout=30_000_000)
        low, = self.wait_in_queue(BEST_EFFORT, count=2)
        self.free(2)
        self.assert_refused("TIMEOUT", self.two.wait, urgent)
        self.assert_granted(low, 2)

    def test_waiting_is_counted(self):
        msgid, = self.wait_in_queue(NORMAL)
        self.free()
        self.assert_granted(msgid)
        stats = self.stats()
        self.assertEqual((stats["waiters"], stats["total_waits"], stats["timeouts"]), (0, 1, 0))
        self.assertGreater(stats["wait_max"], 0)
        self.assertGreaterEqual(stats["wait_p99"], stats["wait_p50"])


class TestCancel(QueueCase):
    def setUp(self):
        super().setUp()
        self.held = self.mine.allocate(count=8)

    def wait(self, client=None, pool=None, **options):
        (pool or self.other).send_allocate(timeout=-1, **options)
        (client or self.two).call("ping")
        return (client or self.two).last_msgid - 1, (client or self.two).requests

    def test_one(self):
        (first, number), (second, _) = self.wait(), self.wait()
        self.assertEqual(self.other.cancel(request=number), 1)
        self.assertEqual(self.assert_refused("CANCELLED", self.two.wait, first), {"pool": "frames"})
        self.assert_waiting(1)
        self.assertEqual(self.other.cancel(request=number), 0)
        self.mine.free(self.held[0])
        self.assert_granted(second)

    def test_answers_come_before_the_reply(self):
        msgid, _ = self.wait()
        self.other.cancel()
        self.assertEqual(self.two.order[-2:], [msgid, self.two.last_msgid])

    def test_all_in_the_pool(self):
        elsewhere = self.two.open("p", write=True, create=True, object_size=1, capacity=1)
        elsewhere.allocate()
        there, _ = self.wait(pool=elsewhere)
        mine, _ = self.wait(self.one, self.mine)
        msgids = [self.wait(priority=priority)[0] for priority in (0, 1, 2)]
        self.assertEqual(self.other.cancel(), 3)
        for msgid in msgids:
            self.assert_refused("CANCELLED", self.two.wait, msgid)
        self.assert_waiting(1)
        self.assertEqual(self.stats("p")["waiters"], 1)
        self.assertEqual((self.mine.cancel(), elsewhere.cancel()), (1, 1))
        self.assert_refused("CANCELLED", self.one.wait, mine)
        self.assert_refused("CANCELLED", self.two.wait, there)

    def test_what_does_not_wait(self):
        self.assertEqual((self.other.cancel(), self.other.cancel(request=2 ** 50 - 1)), (0, 0))
        self.assert_refused("NOT_A_MEMBER", self.client().call, "cancel", pool=self.number)

    def test_what_others_wait_for(self):
        _, number = self.wait()
        self.assertEqual((self.mine.cancel(request=number), self.mine.cancel()), (0, 0))
        self.assert_waiting(1)

    def test_lets_the_next_have_its_turn(self):
        (_, number), (small, _) = self.wait(count=3), self.wait()
        self.mine.free(self.held[0])
        self.assert_waiting(2)
        self.other.cancel(request=number)
        self.assert_granted(small)

    def test_is_no_failure(self):
        self.wait()
        self.other.cancel()
        stats = self.stats()
        self.assertEqual((stats["allocation_failures"], stats["timeouts"], stats["waiters"]),
                         (0, 0, 0))


class TestReserves(QueueCase):
    frames = {"reserve_critical": 2, "reserve_normal": 3}

    def assert_reserved(self, priority, allocated, reserved):
        self.assertEqual(self.assert_refused("POOL_EXHAUSTED", self.mine.allocate,
                                             priority=priority),
                         {"pool": "frames", "capacity": 8, "allocated": allocated, "requested": 1,
                          "waiters": 0, "reserved": reserved})

    def test_keep_slots_for_the_more_important(self):
        self.mine.allocate(count=3, priority=BEST_EFFORT)
        self.assert_reserved(BEST_EFFORT, 3, 5)
        self.mine.allocate(count=3, priority=NORMAL)
        self.assert_reserved(BEST_EFFORT, 6, 2)
        self.assert_reserved(NORMAL, 6, 2)
        self.assertIn("reserved", self.message)
        self.mine.allocate(count=2, priority=CRITICAL)
        for priority in (NORMAL, BEST_EFFORT, CRITICAL):
            self.assert_reserved(priority, 8, 0)

    def test_who_could_never_have_them_does_not_wait(self):
        for count, priority in ((4, BEST_EFFORT), (7, NORMAL), (9, CRITICAL)):
            self.assert_refused("POOL_EXHAUSTED", self.mine.allocate, count=count, timeout=-1,
                                priority=priority)
            self.mine.free(*self.mine.allocate(count=count - 1, priority=priority))

    def test_waits_until_enough_are_free_for_both(self):
        held = self.mine.allocate(count=8, priority=CRITICAL)
        msgid = self.other.send_allocate(timeout=-1)
        self.two.call("ping")
        self.mine.free(*held[:2])
        self.assert_waiting(1)
        self.mine.free(held[2])
        self.assert_granted(msgid)

    def test_growth_makes_room_beside_them(self):
        pool = self.make("p", capacity=4, capacity_max=8, growth="linear:1", reserve_critical=2)
        for capacity in (4, 4, 5, 6, 7, 8):
            pool.allocate()
            self.assertEqual(self.info("p")["capacity"], capacity)
        self.assertEqual(self.assert_refused("MAX_CAPACITY_EXCEEDED", pool.allocate),
                         {"pool": "p", "current": 8, "requested": 9, "max": 8, "allocated": 6,
                          "reserved": 2})
        self.assertEqual(len(pool.allocate(count=2, priority=CRITICAL)), 2)


    def test_growth_makes_up_for_those_that_are_taken(self):
        pool = self.make("p", capacity=10, capacity_max=20, growth="linear:1", reserve_critical=5)
        pool.allocate(count=8, priority=CRITICAL)
        pool.allocate()
        self.assertEqual((self.info("p")["capacity"], self.usage("p")), (14, 9))
        self.assertEqual(len(pool.allocate(count=5, priority=CRITICAL)), 5)


class TestEviction(QueueCase):
    def test_frees_the_oldest_for_a_critical_request(self):
        old, new = self.other.allocate(evictable=True), self.other.allocate(evictable=True)
        self.mine.allocate(count=6)
        for priority in (NORMAL, BEST_EFFORT):
            self.assert_refused("POOL_EXHAUSTED", self.mine.allocate, priority=priority)
        handle, = self.mine.allocate(priority=CRITICAL)
        self.assertEqual(handle.index, old[0].index)
        self.assert_refused("STALE_HANDLE", self.other.free, *old)
        self.assertEqual((self.stats()["evictions"], self.usage()), (1, 8))
        self.assertEqual(self.other.free(*new), 1)

    def test_is_an_event(self):
        self.other.allocate(count=8, evictable=True)
        self.mine.allocate(count=3, priority=CRITICAL)
        event, = (event for event in self.one.events(name="frames")["events"]
                  if event["kind"] == "evicted")
        self.assertEqual((event["count"], event["pool"]), (3, self.number))

    def test_frees_what_is_missing_and_no_more(self):
        self.other.allocate(count=6, evictable=True)
        self.mine.allocate(count=5, priority=CRITICAL)
        self.assertEqual((self.stats()["evictions"], self.usage()), (3, 8))

    def test_frees_nothing_if_it_is_not_enough(self):
        kept = self.other.allocate(count=2, evictable=True)
        self.mine.allocate(count=6)
        self.assert_refused("POOL_EXHAUSTED", self.mine.allocate, count=3, priority=CRITICAL)
        self.assertEqual(self.stats()["evictions"], 0)
        self.assertEqual(self.other.free(*kept), 2)

    def test_who_waits_takes_what_becomes_evictable(self):
        held = self.mine.allocate(count=8)
        msgid = self.other.send_allocate(count=2, priority=CRITICAL, timeout=-1)
        self.two.call("ping")
        self.mine.free(held[0])
        self.assert_waiting(1)
        self.mine.free(held[1])
        self.assert_granted(msgid, 2)

    def test_spares_what_changed_hands(self):
        adopted, retained, detached = self.other.allocate(count=3, evictable=True)
        self.mine.adopt(adopted)
        self.mine.retain(retained)
        self.other.detach(detached)
        self.mine.allocate(count=5)
        self.assert_refused("POOL_EXHAUSTED", self.mine.allocate, priority=CRITICAL)

    def test_comes_after_growth(self):
        pool = self.make("p", capacity=2, capacity_max=3, growth="linear:1")
        pool.allocate(count=2, evictable=True)
        pool.allocate(priority=CRITICAL)
        self.assertEqual((self.info("p")["capacity"], self.stats("p")["evictions"]), (3, 0))
        pool.allocate(priority=CRITICAL)
        self.assertEqual((self.info("p")["capacity"], self.stats("p")["evictions"]), (3, 1))

    def test_gives_the_quota_back(self):
        pool = self.make("p", capacity=2, session_slots=2)
        pool.allocate(count=2, evictable=True)
        self.two.open("p", write=True).allocate(priority=CRITICAL)
        self.assert_refused("POOL_EXHAUSTED", pool.allocate)
        self.assertEqual(self.assert_refused("QUOTA_EXCEEDED", pool.allocate, count=2)["allocated"],
                         1)


if __name__ == "__main__":
    main()
