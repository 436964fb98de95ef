"""How pools grow and give memory back, by the bare protocol."""

import os
import struct
import unittest

import msgpack

from protocol_case import NS_MAX, ProtocolCase, main
from protocol_client import Refusal

PAGE = 4096


class TestGrowth(ProtocolCase):
    def grown(self, name, **options):
        """The capacities that a pool comes to as it is filled; then one more is refused."""
        pool = self.make(name, capacity=4, **options)
        capacities = []
        while len(capacities) == 0 or self.usage(name) < options["capacity_max"]:
            pool.allocate()
            capacities.append(self.info(name)["capacity"])
        self.assertEqual(self.assert_refused("MAX_CAPACITY_EXCEEDED", pool.allocate),
                         {"pool": name, "current": 10, "requested": 11, "max": 10,
                          "allocated": 10})
        self.assertEqual(self.stats(name)["growth_count"], len(set(capacities)) - 1)
        return sorted(set(capacities))

    def test_each_policy_up_to_the_maximum_and_one_above(self):
        for name, growth, steps in (
                ("l", "linear:3", [4, 7, 10]), ("l1", "linear:100", [4, 10]),
                ("e", "exponential:1.5", [4, 6, 9, 10]),
                ("e1", "exponential:1.001", [4, 5, 6, 7, 8, 9, 10]),
                ("c", "custom:2,5,8", [4, 5, 8, 10]), ("c1", "custom:9,100", [4, 9, 10])):
            with self.subTest(growth):
                self.assertEqual(self.grown(name, growth=growth, capacity_max=10), steps)

    def test_without_a_policy_it_is_exhausted_below_the_maximum(self):
        pool = self.make("p", capacity=4, capacity_max=10)
        pool.allocate(count=4)
        self.assertEqual(self.assert_refused("POOL_EXHAUSTED", pool.allocate)["capacity"], 4)

    def test_takes_as_many_steps_as_a_request_needs(self):
        pool = self.make("p", capacity=4, growth="linear:2", capacity_max=20)
        self.assertEqual(len(pool.allocate(count=11)), 11)
        self.assertEqual((self.info("p")["capacity"], self.stats("p")["growth_count"]), (12, 1))

    def test_takes_none_if_that_is_not_enough(self):
        pool = self.make("p", capacity=4, growth="linear:1", capacity_max=10)
        for timeout in (0, -1):
            self.assertEqual(self.assert_refused("MAX_CAPACITY_EXCEEDED", pool.allocate, count=11,
                                                 timeout=timeout),
                             {"pool": "p", "current": 4, "requested": 11, "max": 10})
        self.assertEqual(self.info("p")["capacity"], 4)
        self.assertEqual(len(pool.allocate(count=10)), 10)

    def test_objects_stay_and_new_ones_are_reached(self):
        pool = self.client(witness=True).open("p", write=True, map=True, create=True,
                                              object_size=1000, capacity=4, capacity_max=100,
                                              growth="linear:50")
        old = pool.allocate(count=4)
        for i, handle in enumerate(old):
            pool.get(handle)[:] = bytes([i]) * 1000
        new = pool.allocate(count=50)
        self.assertEqual(struct.unpack_from("<I", pool.ctl, 256), (54,))
        pool.map_again()
        for i, handle in enumerate(new):
            pool.get(handle)[:] = bytes([100 + i]) * 1000
        for i, handle in enumerate(old):
            self.assertEqual(bytes(pool.get(handle)), bytes([i]) * 1000)

    def test_grows_ahead_of_need(self):
        pool = self.make("p", capacity=4, growth="linear:2", capacity_max=8, grow_ahead=2)
        for count, capacity in ((2, 4), (1, 6), (1, 6), (1, 8), (1, 8), (1, 8), (1, 8)):
            pool.allocate(count=count)
            self.assertEqual(self.info("p")["capacity"], capacity)
        self.assert_refused("MAX_CAPACITY_EXCEEDED", pool.allocate)

    def test_large_growth_is_waited_for_by_who_does_not_wait(self):
        pool = self.make("p", object_size=2 ** 20, capacity=1, growth="linear:20", capacity_max=30)
        pool.allocate()
        self.assertEqual(len(pool.allocate(count=10)), 10)
        self.assertEqual((self.info("p")["capacity"], self.stats("p")["growth_count"]), (21, 1))

    def test_large_growth_is_waited_for_by_all_whom_it_serves(self):
        pool = self.make("p", object_size=2 ** 20, capacity=1, growth="linear:20", capacity_max=30)
        pool.allocate()
        for msgid in [pool.send_allocate() for _ in range(20)]:
            self.assertEqual(len(self.one.wait(msgid)["handles"]), 16)
        self.assertEqual(self.info("p")["capacity"], 21)

    def test_is_an_event(self):
        pool = self.make("p", capacity=4, growth="linear:3", capacity_max=8, watermark="off")
        pool.allocate(count=5)
        pool.allocate(count=3)
        self.assertEqual([(event["kind"], event["capacity"], event["count"])
                          for event in self.one.events(name="p")["events"]],
                         [("grown", 7, 3), ("grown", 8, 1)])

    @unittest.skipUnless("OWN_SHM" in os.environ, "needs a small /dev/shm")
    def test_without_memory_says_how_much_and_leaves_it_as_it_was(self):
        pool = self.make("p", object_size=2 ** 20, capacity=1, growth="linear:1000",
                         capacity_max=1001)
        pool.allocate()
        before = self.info("p")
        detail = self.assert_refused("SHARED_MEMORY_FULL", pool.allocate)
        self.assertGreater(detail["needed"], 1000 * 2 ** 20)
        self.assertLess(detail["available"], 256 * 2 ** 20)
        self.assert_refused("SHARED_MEMORY_FULL", self.one.call, "pool.grow", name="p",
                            capacity=1000)
        self.assertEqual(self.info("p"), before)
        self.assertEqual(self.failures_told(), 1)
        self.assertEqual(self.one.call("pool.grow", name="p", capacity=2)["capacity"], 2)
        self.assert_refused("SHARED_MEMORY_FULL", self.one.call, "pool.grow", name="p",
                            capacity=1000)
        self.assertEqual(self.failures_told(), 2)

    def failures_told(self):
        return sum(event["kind"] == "growth-failed"
                   for event in self.one.events(name="p")["events"])


class TestPoolGrow(ProtocolCase):
    def grow(self, **options):
        return self.one.call("pool.grow", name="frames", **options)

    def test_up_to_the_maximum_and_one_above(self):
        pool = self.make("p", capacity=4, capacity_max=6)
        self.assertEqual(self.one.call("pool.grow", name="p", capacity=5),
                         {"capacity": 5, "capacity_max": 6})
        self.assertEqual(self.assert_refused("MAX_CAPACITY_EXCEEDED", self.one.call, "pool.grow",
                                             name="p", capacity=7),
                         {"pool": "p", "current": 5, "requested": 7, "max": 6})
        self.assertEqual(self.one.call("pool.grow", name="p", capacity=6)["capacity"], 6)
        self.assertEqual(len(pool.allocate(count=6)), 6)

    def test_maximum_up_to_the_reserve_and_one_above(self):
        self.assertEqual(self.assert_refused("MAX_CAPACITY_EXCEEDED", self.grow, capacity=9),
                         {"pool": "frames", "current": 8, "requested": 9, "max": 8})
        self.assertEqual(self.grow(capacity_max=9), {"capacity": 8, "capacity_max": 9})
        self.assertEqual(self.grow(capacity=9), {"capacity": 9, "capacity_max": 9})
        self.assertEqual(self.assert_refused("MAX_CAPACITY_EXCEEDED", self.grow, capacity_max=33),
                         {"pool": "frames", "current": 9, "requested": 33, "max": 32})
        self.assertEqual(self.grow(capacity=32, capacity_max=32),
                         {"capacity": 32, "capacity_max": 32})
        self.assert_refused("MAX_CAPACITY_EXCEEDED", self.grow, capacity=33)

    def test_what_is_refused_changes_nothing(self):
        before = self.info()
        self.assert_refused("MAX_CAPACITY_EXCEEDED", self.grow, capacity=33, capacity_max=20)
        self.assertEqual(self.info(), before)

    def test_maximum_is_not_lowered(self):
        self.assertEqual(self.assert_refused("INVALID_CAPACITY", self.grow, capacity_max=7),
                         {"capacity": 7, "max": 32})

    def test_less_than_there_is_changes_nothing(self):
        for options in ({}, {"capacity": 0}, {"capacity": 1}, {"capacity": 8, "capacity_max": 8}):
            self.assertEqual(self.grow(**options), {"capacity": 8, "capacity_max": 8})
        self.assertEqual(self.stats()["growth_count"], 0)

    def test_serves_who_waits(self):
        pool = self.one.open("frames", write=True)
        pool.allocate(count=8)
        msgid = pool.send_allocate(count=2, timeout=-1)
        self.grow(capacity=9, capacity_max=10)
        self.assertEqual(self.stats()["waiters"], 1)
        self.grow(capacity=10)
        self.assertEqual(len(self.one.wait(msgid)["handles"]), 32)

    def test_of_no_pool(self):
        self.assertEqual(self.assert_refused("NO_SUCH_POOL", self.one.call, "pool.grow",
                                             name="none", capacity=9), {"pool": "none"})

    def test_much_at_a_time_for_many(self):
        """Each waits for the growth that is under way, and then for its own."""
        self.make("p", object_size=2 ** 20, capacity=1, capacity_max=60)
        msgids = [self.one.send("pool.grow", {"name": "p", "capacity": capacity})
                  for capacity in (20, 40, 30, 60)]
        self.assertLessEqual({20, 40, 60}, {self.one.wait(msgid)["capacity"] for msgid in msgids})
        self.assertEqual(self.info("p")["capacity"], 60)

    def test_others_are_answered_meanwhile(self):
        """Of requests that arrive together, the growth that came first is done last."""
        self.make("p", object_size=2 ** 20, capacity=1, capacity_max=100)
        pool = self.one.open("frames", write=True)
        grow, allocate, ping = range(1001, 1004)
        self.one.send_bytes(b"".join(msgpack.packb([0, *request]) for request in (
            (grow, "pool.grow", {"name": "p", "capacity": 100}),
            (allocate, "allocate", {"pool": pool.number, "request": 1000}),
            (ping, "ping", {}))))
        self.assertEqual(self.one.wait(grow)["capacity"], 100)
        self.assertEqual(self.one.order[-3:], [allocate, ping, grow])

    def test_pool_is_destroyed_meanwhile(self):
        self.make("p", object_size=2 ** 20, capacity=1, capacity_max=100)
        grow = self.one.send("pool.grow", {"name": "p", "capacity": 100})
        destroy = self.one.send("pool.destroy", {"name": "p", "force": True})
        self.assertEqual(self.one.wait(destroy), {"freed": 0})
        try:
            self.assertEqual(self.one.wait(grow)["capacity"], 100)
        except Refusal as refusal:
            self.assertEqual((refusal.name, refusal.detail), ("POOL_DESTROYED", {"pool": "p"}))
        self.assert_refused("NO_SUCH_POOL", self.one.call, "stats", name="p")


class TestTrim(ProtocolCase):
    def setUp(self):
        super().setUp()
        self.pool = self.client(witness=True).open("p", write=True, map=True, create=True,
                                                   object_size=PAGE, alignment=PAGE, capacity=64)

    def trim(self, name="p"):
        return self.one.call("pool.trim", name=name)["bytes"]

    def memory(self):
        """Of the data file, as the system counts it; what the daemon says differs by the rest."""
        blocks = os.fstat(self.pool.descriptors[2]).st_blocks * 512
        rest = self.info("p")["memory"] - blocks
        self.assertEqual(rest % PAGE, 0)
        self.assertLess(rest, 32 * PAGE)
        return blocks

    def fill(self):
        handles = self.pool.allocate(count=64)
        for i, handle in enumerate(handles):
            self.pool.get(handle)[:] = bytes([i + 1]) * PAGE
        return handles

    def test_gives_back_what_is_free_and_keeps_the_rest(self):
        handles = self.fill()
        self.assertEqual((self.trim(), self.memory()), (0, 64 * PAGE))
        self.pool.free(*handles[::2])
        self.assertEqual((self.trim(), self.memory()), (32 * PAGE, 32 * PAGE))
        self.assertEqual((self.trim(), self.memory()), (0, 32 * PAGE))
        for i, handle in enumerate(handles[1::2]):
            self.assertEqual(bytes(self.pool.get(handle)), bytes([2 * i + 2]) * PAGE)

    def test_what_was_given_back_is_had_again_as_zeros(self):
        self.pool.free(*self.fill())
        self.assertEqual((self.trim(), self.memory()), (64 * PAGE, 0))
        one, = self.pool.allocate()
        self.assertEqual((bytes(self.pool.get(one)), self.memory()), (bytes(PAGE), PAGE))
        rest = self.pool.allocate(count=63)
        self.assertEqual(self.memory(), 64 * PAGE)
        for handle in rest:
            self.pool.get(handle)[:] = b"x" * PAGE

    def test_a_page_is_kept_for_one_object_on_it(self):
        pool = self.make("small", object_size=1024, capacity=8)
        handles = sorted(pool.allocate(count=8), key=lambda handle: handle.index)
        pool.free(*handles[1:])
        self.assertEqual(self.trim("small"), PAGE)
        pool.free(handles[0])
        self.assertEqual(self.trim("small"), PAGE)

    def test_growth_goes_on_behind_it(self):
        self.assertEqual(self.trim(), 64 * PAGE)
        self.one.call("pool.grow", name="p", capacity=80, capacity_max=80)
        self.assertEqual(self.memory(), 16 * PAGE)
        self.assertEqual(len(self.pool.allocate(count=80)), 80)
        self.assertEqual(self.memory(), 80 * PAGE)

    def test_happens_by_itself_when_nobody_allocates(self):
        pool = self.make("quiet", object_size=PAGE, capacity=64, trim_after=1)
        full = self.info("p")["memory"]
        self.until(lambda: self.info("quiet")["memory"] == full - 64 * PAGE)
        self.assertEqual(len(pool.allocate(count=64)), 64)
        self.assertEqual(self.info("quiet")["memory"], full)

    def test_happens_by_itself_after_frees_too(self):
        """Each time but the first it is a free alone that begins the quiet time anew."""
        pool = self.client(witness=True).open("quiet", write=True, map=True, create=True,
                                              object_size=PAGE, alignment=PAGE, capacity=64,
                                              trim_after=10 * 10 ** 6)
        full = self.info("quiet")["memory"]
        handles = pool.allocate(count=64)
        for i, handle in enumerate(handles):
            pool.get(handle)[:] = bytes([i + 1]) * PAGE
        for kept in (63, 32, 1):
            pool.free(*handles[kept:])
            del handles[kept:]
            self.until(lambda: self.info("quiet")["memory"] == full - (64 - kept) * PAGE)
        self.assertEqual(bytes(pool.get(handles[0])), b"\1" * PAGE)
        pool.close()
        self.until(lambda: self.info("quiet")["memory"] == full - 64 * PAGE)

    def test_of_no_pool(self):
        self.assert_refused("NO_SUCH_POOL", self.one.call, "pool.trim", name="none")

    @unittest.skipUnless("OWN_SHM" in os.environ, "would fill the machine's shared memory")
    def test_memory_that_somebody_else_took_is_not_had_again(self):
        kept, *freed = self.fill()
        self.pool.free(*freed)
        self.assertEqual(self.trim(), 63 * PAGE)
        with open("/dev/shm/filler", "wb") as filler:
            space = os.statvfs("/dev/shm")
            os.posix_fallocate(filler.fileno(), 0, space.f_bavail * space.f_frsize)
            try:
                detail = self.assert_refused("SHARED_MEMORY_FULL", self.pool.allocate)
                self.assertLessEqual({"needed", "available"}, set(detail))
                self.assertGreaterEqual(detail["needed"], PAGE)
                self.assertEqual(detail["available"], 0)
                msgid = self.pool.send_allocate(timeout=-1)
                self.assert_refused("SHARED_MEMORY_FULL", self.pool.client.wait, msgid)
            finally:
                os.unlink("/dev/shm/filler")
        self.assertEqual(self.usage("p"), 1)
        self.assertEqual(bytes(self.pool.get(kept)), b"\1" * PAGE)
        self.assertEqual(len(self.pool.allocate(count=63, timeout=NS_MAX)), 63)


if __name__ == "__main__":
    main()
