"""Hostile requests of every method that changes or watches pools: wrong kinds, numbers out of
range, lists that are too long, handles of others. After each the daemon is as it was.
"""

import fcntl
import os

from hostile_case import BATCH_MAX, HOLDS_MAX, HostileCase
from protocol_case import main
from protocol_client import VERSION, Handle, Pool, Refusal, pack_handles

KINDS = (None, False, 0, -1, 2 ** 63, 2 ** 64 - 1, 1.5, float("nan"), "", "x" * 1000, "good\0", b"",
         bytes(40000), [], [[[[]]]], [1] * 10000, {}, {"a": {"b": {}}})
NUMBERS = (0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 50, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1, -1)
WAITERS_MAX = 1024
OPERATIONS = ("free", "release", "retain", "adopt", "detach")

# A good request of each method, of a pool that doesn't exist or a number that is nobody's.
REQUESTS = {
    "pool.grow": {"name": "none", "capacity": 17, "capacity_max": 17},
    "pool.trim": {"name": "none"},
    "allocate": {"pool": 0, "request": 1, "count": 1, "timeout": 0, "priority": 0,
                 "evictable": False},
    "cancel": {"pool": 0, "request": 1},
    **{method: {"pool": 0, "handles": bytes(16)} for method in OPERATIONS},
    "stats.reset": {"name": "none"},
    "holders": {"name": "none"},
    "events": {"after": 0, "name": "none", "timeout": 0},
    "settle": {"requests": bytes(8)},
}


class TestKinds(HostileCase):
    def test_each_field_of_each_kind(self):
        client = self.client()
        for method, params in REQUESTS.items():
            for field in params:
                for value in KINDS + NUMBERS:
                    with self.subTest(method=method, field=field, value=value):
                        self.assert_answered(client, method, {**params, field: value})
        self.assertEqual(client.call("ping")["pid"], self.daemon.pid)

    def assert_answered(self, client, method, params):
        """With an error, but for requests that listen, which get nothing."""
        try:
            reply = client.call(method, **params)
        except Refusal as refusal:
            self.assertIn(refusal.name, {"INVALID_ARGUMENT", "NO_SUCH_POOL", "NOT_A_MEMBER"})
        else:
            self.assertEqual((method, params["name"]), ("events", ""))
            self.assertEqual(set(reply), {"events", "next", "lost"})

    def test_each_field_of_resume(self):
        connection = self.connect()
        session = self.client().hello
        good = {"version": VERSION, "session": session["session"], "token": bytes(16),
                "pools": bytes(4)}
        for field in good:
            for value in KINDS + NUMBERS:
                with self.subTest(field=field, value=value):
                    with self.assertRaises(Refusal) as context:
                        connection.call("resume", **{**good, field: value})
                    self.assertIn(context.exception.name, {"INVALID_ARGUMENT", "NO_SUCH_SESSION",
                                                           "PROTOCOL_MISMATCH"})
        self.assert_refused("HELLO_REQUIRED", connection.call, "ping")

    def test_each_method_without_anything(self):
        client = self.client()
        for method in REQUESTS:
            if method != "events":
                self.assert_refused("INVALID_ARGUMENT", client.call, method)
        client.call("events")

    def test_unknown_fields_of_each(self):
        client = self.client()
        for method, params in REQUESTS.items():
            for field in ("", "x", "Name", "pool_", "x" * 255):
                self.assert_refused("INVALID_ARGUMENT", client.call, method,
                                    **{**params, field: 1})


class TestConfigurations(HostileCase):
    TEXTS = ("", "x", "\0", "linear:" + "9" * 100, "exponential:1e308", "exponential:nan",
             "exponential:" + "9" * 170, "custom:" + "1," * 90, "custom:" + ",".join("1234567890"),
             "linear:0x10", "linear:+1", "linear:\u0661", "%s%n", "100 %", "1" * 15, "x" * 191)

    def test_numbers_of_all_sizes(self):
        client = self.client()
        for field in ("object_size", "alignment", "capacity", "capacity_max", "grow_ahead", "mode",
                      "gid", "reserve_critical", "reserve_normal", "session_slots", "user_slots",
                      "zero", "hold_limit", "trim_after"):
            for value in NUMBERS:
                self.try_to_create(client, **{field: value})
                self.try_to_create(client, **{"growth": "linear:1", "capacity_max": 2,
                                              field: value})

    def test_texts_of_all_kinds(self):
        client = self.client()
        for text in self.TEXTS:
            for field in ("growth", "watermark", "template"):
                self.try_to_create(client, capacity_max=2, **{field: text})

    def try_to_create(self, client, **options):
        """It is made, and goes, or is refused for a reason that says something."""
        try:
            client.call("pool.create", **{"name": "evil", "object_size": 1, "capacity": 1,
                                          **options})
        except Refusal as refusal:
            self.assertIn(refusal.name, {"INVALID_ARGUMENT", "INVALID_CAPACITY",
                                         "INVALID_ALIGNMENT", "INVALID_OBJECT_SIZE",
                                         "SHARED_MEMORY_FULL", "OUT_OF_MEMORY"})
        else:
            client.call("pool.destroy", name="evil", force=True)

    def test_steps_that_overflow(self):
        client = self.client()
        for growth in ("linear:4294967295", "exponential:16", "custom:4294967295"):
            pool = client.open("evil", write=True, create=True, object_size=1, capacity=3,
                               capacity_max=5, growth=growth)
            self.assertEqual(len(pool.allocate(count=5)), 5)
            self.assert_refused("MAX_CAPACITY_EXCEEDED", pool.allocate, count=BATCH_MAX, timeout=-1)
            client.call("pool.destroy", name="evil", force=True)

    def test_largest_template(self):
        client = self.client()
        pool = client.open("evil", write=True, create=True, object_size=32768, capacity=100,
                           template=b"t" * 32768, zero=1)
        for _ in range(10):
            pool.free(*pool.allocate(count=100))
        client.call("pool.destroy", name="evil")

    def test_comparing_with_everything(self):
        client = self.client()
        for field, value in (("growth", "x" * 191), ("watermark", "x" * 15),
                             ("template", b"x" * 32768), ("capacity", 2 ** 64 - 1),
                             ("capacity_max", 2 ** 64 - 1), ("hold_limit", 2 ** 63 - 1),
                             ("grow_ahead", 2 ** 64 - 1), ("zero", 2)):
            self.assertEqual(self.assert_refused("CONFIG_MISMATCH", client.open, "good",
                                                 **{field: value})["pool"], "good")


class TestHandles(HostileCase):
    """Of a good client's pool: what is wrong is refused whole, by all that takes handles."""

    def operations(self):
        pool = self.client().open("good", write=True)
        return [(method, getattr(pool, method)) for method in OPERATIONS]

    def test_of_all_wrong_kinds(self):
        good = self.held[0]
        for method, call in self.operations():
            for handle, error in (
                    (Handle(0, 0, 0, 0), "WRONG_POOL"),
                    (good._replace(pool=good.pool + 1), "WRONG_POOL"),
                    (good._replace(pool=2 ** 32 - 1), "WRONG_POOL"),
                    (good._replace(nonce=good.nonce ^ 1), "STALE_HANDLE"),
                    (good._replace(generation=0), "STALE_HANDLE"),
                    (good._replace(generation=good.generation + 1), "STALE_HANDLE"),
                    (good._replace(generation=2 ** 48 - 1), "STALE_HANDLE"),
                    (good._replace(index=16), "STALE_HANDLE"),
                    (good._replace(index=2 ** 32 - 1), "STALE_HANDLE")):
                with self.subTest(method=method, handle=handle):
                    self.assertEqual(self.assert_refused(error, call, handle),
                                     {"pool": "good", "position": 0})
                    if method != "release":
                        self.assertEqual(self.assert_refused(error, call, good, handle),
                                         {"pool": "good", "position": 1})

    def test_of_others(self):
        for method, call in self.operations():
            if method == "release":
                self.assertEqual(self.assert_refused("NOT_HOLDER", call, *self.held),
                                 {"pool": "good", "position": 0})

    def test_twice_and_two_thousand_times(self):
        for method, call in self.operations():
            if method != "release":
                self.assertEqual(self.assert_refused("DUPLICATE_HANDLE", call, *self.held,
                                                     *self.held), {"pool": "good", "position": 3})
                self.assert_refused("DUPLICATE_HANDLE", call, *[self.held[0]] * BATCH_MAX)

    def test_of_other_lengths(self):
        client = self.client()
        number = client.open("good", write=True).number
        data = pack_handles(self.held)
        for method in OPERATIONS:
            for handles in (b"", data[:1], data[:15], data[:17], data + b"\0",
                            bytes(16 * BATCH_MAX + 16), data.hex(), list(data), None):
                self.assertEqual(self.assert_refused("INVALID_ARGUMENT", client.call, method,
                                                     pool=number, handles=handles),
                                 {"field": "handles"})

    def test_of_pools_that_are_not_open_or_for_reading(self):
        client = self.client()
        reader = self.client().open("good")
        for method in OPERATIONS:
            for pool in (0, self.pool.number, self.pool.number + 1, 2 ** 31, 2 ** 32 - 1):
                self.assert_refused("NOT_A_MEMBER", client.call, method, pool=pool,
                                    handles=pack_handles(self.held))
            self.assert_refused("NOT_A_MEMBER", getattr(reader, method), *self.held)
        self.assert_refused("NOT_A_MEMBER", client.call, "cancel", pool=self.pool.number)

    def test_of_a_pool_that_is_gone(self):
        client = self.client()
        pool = client.open("evil", write=True, create=True, object_size=1, capacity=4)
        handles = pool.allocate(count=4)
        pool.retain(*handles)
        pool.detach(handles[0])
        client.call("pool.destroy", name="evil", force=True)
        for method in OPERATIONS:
            self.assert_refused("NOT_A_MEMBER", getattr(pool, method), *handles)
        again = client.open("evil", write=True, create=True, object_size=1, capacity=4)
        for method in OPERATIONS:
            self.assert_refused("WRONG_POOL", getattr(again, method), *handles)
        client.call("pool.destroy", name="evil")


class TestGreed(HostileCase):
    def test_holds_without_end(self):
        pool = self.client().open("good", write=True)
        for _ in range(3):
            count = 0
            try:
                while True:
                    pool.retain(*self.held)
                    count += 1
                    self.assertLess(count, HOLDS_MAX)
            except Refusal as refusal:
                self.assertEqual((refusal.name, refusal.detail),
                                 ("LIMIT_EXCEEDED", {"max": HOLDS_MAX}))
            for _ in range(count):
                pool.release(*self.held)

    def test_all_at_once_by_who_then_vanishes(self):
        client = self.client(witness=True)
        pool = client.open("good", write=True, map=True)
        for _ in range(100):
            pool.retain(*self.held)
        self.assert_refused("OBJECT_SHARED", self.pool.free, *self.held)
        pool.unmap()
        client.close()
        self.until(lambda: len(self.good.call("sessions")["sessions"]) == 1)

    def test_requests_that_wait_in_all_ways(self):
        client = self.client()
        pool = client.open("good", write=True)
        after = self.last_event()
        for i in range(WAITERS_MAX // 2):
            pool.send_allocate(count=14, timeout=-1, priority=i % 3)
            client.send_events(after=after, timeout=-1)
        for msgid in (pool.send_allocate(count=14, timeout=-1),
                      client.send_events(after=after, timeout=-1)):
            self.assertEqual(self.assert_refused("LIMIT_EXCEEDED", client.wait, msgid),
                             {"max": WAITERS_MAX})

    def last_event(self):
        """The number of the newest."""
        after = 0
        while (reply := self.good.events(after=after))["events"]:
            after = reply["next"]
        return after

    def test_cancelling_what_never_was(self):
        client = self.client()
        pool = client.open("good", write=True)
        for number in (0, 1, 2 ** 50 - 1):
            self.assertEqual(pool.cancel(request=number), 0)
        for number in (2 ** 50, 2 ** 64 - 1, -1):
            self.assert_refused("INVALID_ARGUMENT", pool.cancel, request=number)

    def test_the_same_request_number_for_all(self):
        client = self.client()
        pool = client.open("good", write=True)
        msgids = [client.send("allocate", {"pool": pool.number, "request": 5, "count": 14,
                                           "timeout": -1}) for _ in range(100)]
        self.assertEqual(pool.cancel(request=5), 100)
        for msgid in msgids:
            self.assert_refused("CANCELLED", client.wait, msgid)

    def test_growing_to_the_end(self):
        client = self.client()
        client.call("pool.create", name="evil", object_size=1 << 20, capacity=1, capacity_max=64)
        for capacity in (65, 257, 2 ** 20 + 1, 2 ** 32, 2 ** 32 + 1, 2 ** 64 - 1):
            self.assertEqual(self.assert_refused("MAX_CAPACITY_EXCEEDED", client.call, "pool.grow",
                                                 name="evil", capacity=capacity),
                             {"pool": "evil", "current": 1, "requested": capacity, "max": 64})
        for most in (257, 2 ** 32, 2 ** 32 + 64, 2 ** 64 - 1):
            self.assertEqual(self.assert_refused("MAX_CAPACITY_EXCEEDED", client.call, "pool.grow",
                                                 name="evil", capacity_max=most)["max"], 256)
        for msgid in [client.send("pool.grow", {"name": "evil", "capacity": 2 + i % 40})
                      for i in range(200)]:
            client.wait(msgid)
        client.call("pool.destroy", name="evil")

    def test_growing_and_gone_before_it_is_done(self):
        for _ in range(5):
            client = self.client()
            client.call("pool.create", name="evil", object_size=1 << 20, capacity=1,
                        capacity_max=40)
            client.send("pool.grow", {"name": "evil", "capacity": 40})
            client.close()
            self.client().call("pool.destroy", name="evil", force=True)

    def test_trimming_again_and_again(self):
        client = self.client()
        pool = client.open("evil", write=True, create=True, object_size=4096, capacity=256)
        for _ in range(50):
            self.assertGreater(client.call("pool.trim", name="evil")["bytes"], 0)
            pool.free(*pool.allocate(count=256))
        client.call("pool.destroy", name="evil")

    def test_events_of_all_numbers_and_times(self):
        client = self.client()
        for after in (0, 1, 2 ** 63, 2 ** 64 - 1):
            reply = client.events(after=after, name="good")
            self.assertLessEqual(len(reply["events"]), 64)
        for timeout in (2 ** 63, 2 ** 64 - 1, 1.0, "1"):
            self.assert_refused("INVALID_ARGUMENT", client.events, timeout=timeout)

    def test_events_that_many_wait_for(self):
        """All are told of the first, though none reads it."""
        after = self.last_event()
        clients = [self.client() for _ in range(50)]
        for client in clients:
            for _ in range(20):
                client.send_events(after=after, timeout=-1)
            client.call("ping")
        self.good.call("pool.create", name="evil", object_size=1, capacity=1)
        self.good.call("pool.destroy", name="evil")
        self.until(lambda: sum(session["waiting"] for session in
                               self.good.call("sessions")["sessions"]) == 0)

    def test_all_that_the_quota_lets(self):
        client = self.client()
        reply = client.call("pool.open", name="evil", write=True, create=True, object_size=1,
                            capacity=64, session_slots=10, user_slots=20)
        pools = [Pool(client, reply), *(self.client().open("evil", write=True) for _ in range(5))]
        taken = 0
        for pool in pools * 20:
            try:
                taken += len(pool.allocate())
            except Refusal as refusal:
                self.assertEqual(refusal.name, "QUOTA_EXCEEDED")
        self.assertEqual(taken, 20)
        client.call("pool.destroy", name="evil", force=True)


class TestWords(HostileCase):
    """Members of a leased pool may write its words, and make their object shorter or longer."""

    def open(self):
        client = self.client(witness=True)
        reply = client.call("pool.open", name="evil", create=True, write=True, map=True, kind=2,
                            object_size=64, capacity=5000, capacity_max=20000,
                            growth="linear:5000")
        descriptors = client.take_descriptors(4)
        return client, Pool(client, {**reply, "descriptors": 0}), descriptors

    def do_everything(self, client, pool):
        """Whatever it comes to."""
        for _ in range(2):
            for method, fields in (("lease", {"pool": pool.number, "count": 4096}),
                                   ("allocate", {"pool": pool.number, "request": self.request(),
                                                 "count": 2000}),
                                   ("stats", {"name": "evil"}), ("pool.trim", {"name": "evil"}),
                                   ("holders", {"name": "evil"})):
                try:
                    client.call(method, **fields)
                except Refusal as refusal:
                    self.assertIn(refusal.name, ("POOL_EXHAUSTED", "MAX_CAPACITY_EXCEEDED"))

    def request(self):
        self.requests = getattr(self, "requests", 100) + 1
        return self.requests

    def check(self, spoil):
        client, pool, descriptors = self.open()
        handles = pool.allocate(count=1000)
        client.call("lease", pool=pool.number, count=1000)
        spoil(descriptors[1])
        self.do_everything(client, pool)
        try:
            pool.free(*handles)
        except Refusal as refusal:
            self.assertEqual(refusal.name, "STALE_HANDLE")
        self.assertTrue(client.call("pool.list", name="evil")["pools"][0]["damaged"])
        kinds = [event["kind"] for event in self.all_events(client, pool.number)]
        self.assertEqual(kinds.count("damaged"), 1)
        for descriptor in descriptors:
            os.close(descriptor)
        client.call("pool.destroy", name="evil", force=True)

    def all_events(self, client, number):
        """Of that pool: there were others of its name."""
        after = 0
        while True:
            reply = client.events(after=after, name="evil")
            yield from (event for event in reply["events"] if event["pool"] == number)
            if not reply["events"]:
                return
            after = reply["next"]

    def test_words_that_are_cut_off(self):
        for size in (0, 1, 4096, 1 << 30):
            with self.subTest(size=size):
                self.check(lambda words: (os.ftruncate(words, 0), os.ftruncate(words, size)))

    def ring(self, client, bell):
        os.write(bell, (1).to_bytes(8, "little"))
        client.call("ping")

    def test_bell_that_blocks_who_reads_it(self):
        """Its flags and its count are the daemon's, too, which so never reads it."""
        client, _, descriptors = self.open()
        bell = descriptors[3]
        flags = fcntl.fcntl(bell, fcntl.F_GETFL)
        for _ in range(100):
            fcntl.fcntl(bell, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
            self.ring(client, bell)
            self.ring(client, bell)
            fcntl.fcntl(bell, fcntl.F_SETFL, flags | os.O_NONBLOCK)
            self.assertEqual(int.from_bytes(os.read(bell, 8), "little"), 2)
        for descriptor in descriptors:
            os.close(descriptor)
        client.call("pool.destroy", name="evil", force=True)

    def test_words_of_one_kind(self):
        for byte in (0, 1, 2, 3, 4, 5, 255):
            with self.subTest(byte=byte):
                self.check(lambda words: os.pwrite(words, bytes([byte]) * 40000, 0))


class TestData(HostileCase):
    """Members may write data, and so make it shorter or longer: the daemon writes there, too."""

    def check(self, **options):
        client = self.client(witness=True)
        reply = client.call("pool.open", name="evil", create=True, write=True, map=True,
                            object_size=4096, alignment=4096, capacity=50, capacity_max=100,
                            growth="linear:50", **options)
        descriptors = client.take_descriptors(3)
        pool = Pool(client, {**reply, "descriptors": 0})
        for size in (0, 1, 1 << 30, 4096 * 50, 0):
            os.ftruncate(descriptors[2], size)
            for _ in range(2):
                self.assertEqual(pool.free(*pool.allocate(count=50)), 50)
                client.call("pool.trim", name="evil")
        os.ftruncate(descriptors[2], 0)
        self.assertEqual(len(pool.allocate(count=100)), 100)
        for descriptor in descriptors:
            os.close(descriptor)
        client.call("pool.destroy", name="evil", force=True)

    def test_of_other_lengths(self):
        self.check()

    def test_of_other_lengths_zeroed_with_the_allocation(self):
        self.check(zero=1, template=b"begin")

    def test_of_other_lengths_zeroed_with_the_free(self):
        self.check(zero=2)


if __name__ == "__main__":
    main()
