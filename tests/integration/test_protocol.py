"""Every method of the protocol against a real daemon, by a client that shares no code with it."""

import itertools
import os
import signal
import subprocess
import sys
import time

from protocol_case import FRAMES, ProtocolCase, main
from protocol_client import VERSION, Closed, Handle, Refusal

class TestSession(ProtocolCase):
    def test_hello_says_limits(self):
        self.assertEqual({key: self.one.hello[key] for key in
                          ("version", "message_max", "batch_max", "descriptors")},
                         {"version": VERSION, "message_max": 65536, "batch_max": 2048, "descriptors": 0})
        self.assertEqual(len(self.one.hello["token"]), 16)

    def test_each_session_has_a_number_and_a_token(self):
        two = self.client()
        self.assertNotEqual(two.hello["session"], self.one.hello["session"])
        self.assertNotEqual(two.hello["token"], self.one.hello["token"])

    def test_another_version_is_refused_and_the_connection_stays(self):
        connection = self.connect()
        detail = self.assert_refused("PROTOCOL_MISMATCH", connection.call, "hello", version=1)
        self.assertEqual(detail, {"requested": 1, "actual": VERSION})
        self.assertEqual(connection.call("hello", version=VERSION)["version"], VERSION)

    def test_ping_names_the_daemon(self):
        reply = self.one.call("ping")
        self.assertEqual((reply["pid"], reply["instance"]), (self.daemon.pid, "test"))

    def test_sessions_are_listed(self):
        two = self.client(name="two")
        two.open("frames", write=True).allocate(count=3)
        sessions = {session["name"]: session for session in self.one.call("sessions")["sessions"]}
        self.assertEqual(sessions["two"], {
            "session": two.hello["session"], "name": "two", "pid": os.getpid(), "uid": os.geteuid(),
            "connected": True, "pools": 1, "allocated": 3, "waiting": 0})

    def test_sessions_are_listed_in_pages(self):
        clients = [self.client(name=f"client {i}") for i in range(200)]
        after, numbers, pages = 0, [], 0
        while True:
            reply = self.one.call("sessions", after=after)
            numbers += [session["session"] for session in reply["sessions"]]
            pages += 1
            if not reply["more"]:
                break
            self.assertEqual(len(reply["sessions"]), 64)
            after = numbers[-1]
        self.assertEqual(pages, 4)
        self.assertEqual(numbers, [client.hello["session"] for client in [self.one] + clients])

    def test_session_ends_with_its_connection(self):
        two = self.client()
        two.open("frames", write=True).allocate(count=8)
        self.assertEqual(self.usage(), 8)
        two.close()
        self.until(lambda: self.usage() == 0)
        self.assertEqual(self.stats()["reclaimed"], 8)

    def test_session_with_a_witness_outlives_its_connection_while_mapped(self):
        two = self.client(witness=True)
        pool = two.open("frames", write=True, map=True)
        handle, = pool.allocate()
        two.socket.close()
        self.until(lambda: not self.session(two)["connected"])
        self.assertEqual(self.usage(), 1)
        self.assertIsNotNone(pool.get(handle))
        pool.unmap()
        two.witness.close()
        self.until(lambda: self.usage() == 0)

    def session(self, client):
        after = client.hello["session"] - 1
        return self.one.call("sessions", after=after)["sessions"][0]

    def test_session_with_a_witness_but_no_pool_ends_with_its_mapping(self):
        two = self.client(witness=True)
        two.socket.close()
        self.until(lambda: not self.session(two)["connected"])
        two.witness.close()
        self.until(lambda: len(self.one.call("sessions")["sessions"]) == 1)

    def test_killed_process_gives_back_what_it_mapped(self):
        script = ("import sys; sys.path.insert(0, sys.argv[1]); from protocol_client import Client;"
                  "client = Client(sys.argv[2], witness=True);"
                  "pool = client.open('frames', write=True, map=True);"
                  "pool.get(pool.allocate(count=5)[0])[:4] = b'mine';"
                  "print('ready', flush=True); sys.stdin.read()")
        process = subprocess.Popen([sys.executable, "-c", script, os.path.dirname(__file__),
                                    self.daemon.socket], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        with process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            self.assertEqual(self.usage(), 5)
            process.send_signal(signal.SIGKILL)
        self.until(lambda: self.usage() == 0)
        self.assertEqual(self.stats()["reclaimed"], 5)


class TestPools(ProtocolCase):
    def test_create_refuses_a_taken_name(self):
        detail = self.assert_refused("POOL_EXISTS", self.one.call, "pool.create", **FRAMES)
        self.assertEqual(detail, {"pool": "frames"})

    def test_create_refuses_what_cannot_be(self):
        for change, name, detail in (
                ({"object_size": 0}, "INVALID_OBJECT_SIZE", {"requested": 0, "max": 2 ** 32}),
                ({"object_size": 2 ** 32 + 1}, "INVALID_OBJECT_SIZE",
                 {"requested": 2 ** 32 + 1, "max": 2 ** 32}),
                ({"alignment": 24}, "INVALID_ALIGNMENT", {"alignment": 24, "max": 4096}),
                ({"alignment": 8192}, "INVALID_ALIGNMENT", {"alignment": 8192, "max": 4096}),
                ({"capacity": 0}, "INVALID_CAPACITY", {"capacity": 0, "max": 2 ** 30}),
                ({"capacity": 2 ** 64 - 1}, "INVALID_CAPACITY",
                 {"capacity": 2 ** 64 - 1, "max": 2 ** 30}),
                ({"name": "-x"}, "INVALID_ARGUMENT", {"field": "name"}),
                ({"name": ""}, "INVALID_ARGUMENT", {"field": "name"}),
                ({"name": "a/b"}, "INVALID_ARGUMENT", {"field": "name"}),
                ({"mode": 0o1000}, "INVALID_ARGUMENT", {"field": "mode"})):
            with self.subTest(change):
                self.assertEqual(self.assert_refused(name, self.one.call, "pool.create",
                                                     **{**FRAMES, "name": "other", **change}),
                                 detail)

    def test_create_without_room_says_how_much(self):
        detail = self.assert_refused("SHARED_MEMORY_FULL", self.one.call, "pool.create",
                                     name="huge", object_size=2 ** 30, capacity=1000)
        self.assertGreater(detail["needed"], 1000 * 2 ** 30)
        self.assertLess(detail["available"], detail["needed"])

    def test_open_says_what_the_pool_is(self):
        reply = self.one.open("frames").reply
        self.assertGreater(reply["nonce"], 0)
        self.assertGreater(reply["member"], 0)
        self.assertEqual({key: reply[key] for key in ("pool", "created", "object_size", "stride",
                                                      "alignment", "capacity", "type",
                                                      "descriptors")},
                         {"pool": self.number, "created": False, "object_size": 1000,
                          "stride": 1024, "alignment": 64, "capacity": 8, "type": "frame",
                          "descriptors": 0})

    def test_open_creates_once(self):
        options = {**FRAMES, "name": "new", "create": True}
        self.assertTrue(self.one.call("pool.open", **options)["created"])
        self.assertFalse(self.client().call("pool.open", **options)["created"])

    def test_open_compares_size_alignment_and_type(self):
        for change, name, detail in (
                ({"object_size": 999}, "OBJECT_SIZE_MISMATCH", {"requested": 999, "actual": 1000}),
                ({"alignment": 32}, "ALIGNMENT_MISMATCH", {"requested": 32, "actual": 64}),
                ({"type": "photo"}, "TYPE_MISMATCH",
                 {"requested_type": "photo", "actual_type": "frame"})):
            with self.subTest(change):
                self.assertEqual(self.assert_refused(name, self.one.open, "frames", **change),
                                 {"pool": "frames", **detail})

    def test_open_refuses_a_missing_pool(self):
        self.assertEqual(self.assert_refused("NO_SUCH_POOL", self.one.open, "none"),
                         {"pool": "none"})

    def test_open_maps_with_a_witness_only(self):
        self.assertEqual(self.assert_refused("INVALID_ARGUMENT", self.one.open, "frames", map=True),
                         {"field": "map"})

    def test_open_again_gives_the_same_member(self):
        first, second = self.one.open("frames"), self.one.open("frames", write=True)
        self.assertEqual(first.reply["member"], second.reply["member"])
        first.allocate()
        first.close()
        self.assert_refused("NOT_A_MEMBER", second.allocate)

    def test_close_frees_what_is_held(self):
        pool = self.one.open("frames", write=True)
        pool.allocate(count=5)
        self.assertEqual(pool.close(), 5)
        self.assertEqual(self.usage(), 0)
        self.assert_refused("NOT_A_MEMBER", pool.close)

    def test_list_describes_pools(self):
        self.one.open("frames", write=True).allocate(count=2)
        pool, = self.one.call("pool.list", name="frames")["pools"]
        self.assertGreater(pool.pop("memory"), 8 * 1024)
        self.assertEqual(pool, {
            "pool": self.number, "name": "frames", "type": "frame", "object_size": 1000,
            "kind": 1, "damaged": False, "alignment": 64, "stride": 1024, "capacity": 8,
            "capacity_max": 8, "reserve": 32,
            "growth": "", "grow_ahead": 0, "owner_frees": False, "reserve_critical": 0,
            "reserve_normal": 0, "session_slots": 0, "user_slots": 0, "zero": 0,
            "template_size": 0, "watermark": "", "hold_limit": 0, "trim_after": 0,
            "prefault": False, "lock": False, "huge": False, "allocated": 2, "members": 1,
            "uid": os.geteuid(), "gid": os.getegid(), "mode": 0o600})
        self.assertEqual(self.one.call("pool.list")["pools"][0]["pool"], self.number)
        self.assert_refused("NO_SUCH_POOL", self.one.call, "pool.list", name="none")

    def test_list_comes_in_pages(self):
        numbers = [self.number]
        for i in range(200):
            numbers.append(self.one.call("pool.create", name=f"p{i}", object_size=1,
                                         capacity=1)["pool"])
        listed, after, sizes, more = [], 0, [], True
        while more:
            reply = self.one.call("pool.list", after=after)
            listed += [pool["pool"] for pool in reply["pools"]]
            after, more = listed[-1], reply["more"]
            sizes.append(len(reply["pools"]))
        self.assertEqual((listed, sizes), (numbers, [64, 64, 64, 9]))

    def test_destroy_refuses_a_pool_in_use_unless_forced(self):
        two = self.client()
        two.open("frames", write=True).allocate(count=3)
        self.assertEqual(self.assert_refused("POOL_IN_USE", self.one.call, "pool.destroy",
                                             name="frames"),
                         {"pool": "frames", "allocated": 3, "members": 1})
        self.assertEqual(self.one.call("pool.destroy", name="frames", force=True), {"freed": 3})
        self.assert_refused("NO_SUCH_POOL", self.one.call, "stats", name="frames")
        self.assert_refused("NO_SUCH_POOL", self.one.call, "pool.destroy", name="frames")

    def test_destroyed_pool_gives_no_handles_to_its_members(self):
        two = self.client(witness=True)
        pool = two.open("frames", write=True, map=True)
        handle, = pool.allocate()
        self.one.call("pool.destroy", name="frames", force=True)
        self.assertIsNone(pool.get(handle))
        self.assert_refused("NOT_A_MEMBER", pool.allocate)
        self.assert_refused("NOT_A_MEMBER", pool.free, handle)

    def test_numbers_of_pools_are_not_used_again(self):
        self.one.call("pool.destroy", name="frames")
        self.assertGreater(self.one.call("pool.create", **FRAMES)["pool"], self.number)


class TestSlots(ProtocolCase):
    def setUp(self):
        super().setUp()
        self.two = self.client(name="two", witness=True)
        self.mapped = self.two.open("frames", write=True, map=True)
        self.pool = self.one.open("frames", write=True)

    def test_object_is_read_in_place(self):
        handle, = self.mapped.allocate()
        self.mapped.get(handle)[:5] = b"hello"
        three = self.client(witness=True).open("frames", map=True)
        self.assertFalse(three.writable)
        self.assertEqual(bytes(three.get(handle)[:5]), b"hello")
        self.mapped.get(handle)[:5] = b"there"
        self.assertEqual(bytes(three.get(handle)[:5]), b"there")

    def test_mappings_for_reading_cannot_be_written(self):
        handle, = self.mapped.allocate()
        three = self.client(witness=True).open("frames", map=True)
        with self.assertRaises(TypeError):
            three.get(handle)[0] = 1

    def test_objects_are_aligned_and_apart(self):
        handles = self.mapped.allocate(count=8)
        for i, handle in enumerate(handles):
            self.mapped.get(handle)[:] = bytes([i]) * 1000
        for i, handle in enumerate(handles):
            self.assertEqual(bytes(self.mapped.get(handle)), bytes([i]) * 1000)
        self.assertEqual(sorted(handle.index for handle in handles), list(range(8)))

    def test_freed_handle_is_stale_for_ever(self):
        handle, = self.mapped.allocate()
        self.assertEqual(self.mapped.free(handle), 1)
        self.assertIsNone(self.mapped.get(handle))
        again, = self.mapped.allocate()
        self.assertEqual((again.index, again.generation), (handle.index, handle.generation + 1))
        self.assertIsNone(self.mapped.get(handle))
        self.assertIsNotNone(self.mapped.get(again))

    def test_any_writer_frees(self):
        handle, = self.mapped.allocate()
        self.pool.free(handle)
        self.assertIsNone(self.mapped.get(handle))

    def test_free_frees_all_or_none(self):
        a, b = self.pool.allocate(count=2)
        stale, = self.pool.allocate()
        self.pool.free(stale)
        for handles, name, position in (
                ((a, b, stale), "STALE_HANDLE", 2),
                ((a, stale, b), "STALE_HANDLE", 1),
                ((a, b, a), "DUPLICATE_HANDLE", 2),
                ((b._replace(pool=b.pool + 1), a), "WRONG_POOL", 0),
                ((Handle(0, 0, 0, 0),), "WRONG_POOL", 0),
                ((a._replace(nonce=a.nonce ^ 1),), "STALE_HANDLE", 0),
                ((a._replace(generation=a.generation + 1),), "STALE_HANDLE", 0),
                ((a._replace(index=8),), "STALE_HANDLE", 0),
                ((a._replace(index=2 ** 32 - 1),), "STALE_HANDLE", 0)):
            with self.subTest(name=name, handles=handles):
                self.assertEqual(self.assert_refused(name, self.pool.free, *handles),
                                 {"pool": "frames", "position": position})
                self.assertEqual(self.usage(), 2)
        self.assertEqual(self.pool.free(a, b), 2)

    def test_reader_may_neither_allocate_nor_free(self):
        handle, = self.pool.allocate()
        reader = self.client().open("frames")
        self.assertEqual(self.assert_refused("NOT_A_MEMBER", reader.allocate), {"pool": "frames"})
        self.assert_refused("NOT_A_MEMBER", reader.free, handle)

    def test_allocate_gives_all_or_none(self):
        self.pool.allocate(count=5)
        self.assertEqual(self.assert_refused("POOL_EXHAUSTED", self.pool.allocate, count=4),
                         {"pool": "frames", "capacity": 8, "allocated": 5, "requested": 4,
                          "waiters": 0, "reserved": 0})
        self.assertIn(" 'one' (pid", self.holders)
        self.assertEqual(self.usage(), 5)
        self.assertEqual(len(self.pool.allocate(count=3)), 3)

    def test_allocate_beyond_the_capacity_never_waits(self):
        self.assert_refused("POOL_EXHAUSTED", self.pool.allocate, count=9, timeout=-1)

    def test_stats_count(self):
        handles = self.pool.allocate(count=6)
        self.pool.free(*handles[:4])
        self.assert_refused("POOL_EXHAUSTED", self.pool.allocate, count=7)
        self.assert_refused("TIMEOUT", self.pool.allocate, count=7, timeout=1)
        stats = self.stats()
        for name in ("age", "average_usage", "wait_p50", "wait_p99", "wait_max", "hold_p50",
                     "hold_p99", "hold_max"):
            self.assertGreater(stats.pop(name), 0, name)
        self.assertEqual(stats, {
            "pool": self.number, "capacity": 8, "current_usage": 2, "available": 6,
            "cached": 0, "peak_usage": 6, "total_allocations": 6, "total_deallocations": 4,
            "allocation_failures": 2, "timeouts": 1, "reclaimed": 0, "waiters": 0,
            "total_waits": 1, "growth_count": 0, "evictions": 0, "watermarks": 0, "held_long": 0,
            "total_held_long": 0})


class TestWaiting(ProtocolCase):
    def setUp(self):
        super().setUp()
        self.two = self.client(name="two")
        self.mine = self.one.open("frames", write=True)
        self.other = self.two.open("frames", write=True)
        self.held = self.mine.allocate(count=8)

    def wait_for_waiters(self, count):
        self.until(lambda: self.stats()["waiters"] == count)

    def test_free_on_another_connection_ends_the_wait(self):
        msgid = self.other.send_allocate(timeout=-1)
        self.wait_for_waiters(1)
        self.mine.free(self.held[3])
        reply = self.two.wait(msgid)
        self.assertEqual(len(reply["handles"]), 16)
        self.assertEqual(self.stats()["waiters"], 0)

    def test_wait_ends_when_another_session_does(self):
        three = self.client()
        pool = three.open("frames", write=True)
        self.mine.free(*self.held)
        pool.allocate(count=8)
        msgid = self.other.send_allocate(count=8, timeout=-1)
        self.wait_for_waiters(1)
        three.close()
        self.assertEqual(len(self.two.wait(msgid)["handles"]), 128)

    def test_wait_times_out_and_not_before(self):
        for timeout in (1, 20_000_000):
            start = time.monotonic_ns()
            detail = self.assert_refused("TIMEOUT", self.other.allocate, timeout=timeout)
            self.assertGreaterEqual(time.monotonic_ns() - start, timeout)
            self.assertEqual(detail, {"pool": "frames", "capacity": 8, "allocated": 8,
                                      "requested": 1, "waiters": 0, "reserved": 0})

    def test_replies_come_out_of_order(self):
        waiting = self.other.send_allocate(timeout=-1)
        pings = [self.two.send("ping", {}) for _ in range(3)]
        for msgid in pings:
            self.two.wait(msgid)
        self.mine.free(self.held[0])
        self.two.wait(waiting)
        self.assertEqual(self.two.order[-4:], pings + [waiting])

    def test_nobody_overtakes(self):
        large = self.other.send_allocate(count=4, timeout=-1)
        small = self.other.send_allocate(timeout=-1)
        self.wait_for_waiters(2)
        self.mine.free(*self.held[:3])
        self.assertEqual(self.usage(), 5)
        self.assert_refused("POOL_EXHAUSTED", self.mine.allocate)
        self.mine.free(*self.held[3:5])
        self.two.wait(large)
        self.two.wait(small)
        self.assertEqual(self.two.order[-2:], [large, small])

    def test_timeout_of_the_first_lets_the_second_have_its_turn(self):
        large = self.other.send_allocate(count=4, timeout=30_000_000)
        small = self.other.send_allocate(timeout=-1)
        self.wait_for_waiters(2)
        self.mine.free(self.held[0])
        with self.assertRaises(Refusal):
            self.two.wait(large)
        self.assertEqual(len(self.two.wait(small)["handles"]), 16)

    def test_wait_ends_with_its_connection(self):
        self.other.send_allocate(timeout=-1)
        self.wait_for_waiters(1)
        self.two.close()
        self.wait_for_waiters(0)
        self.mine.free(*self.held)
        self.assertEqual(self.usage(), 0)

    def test_close_ends_the_wait(self):
        msgid = self.other.send_allocate(timeout=-1)
        self.two.call("pool.close", pool=self.number)
        self.assert_refused("NOT_A_MEMBER", self.two.wait, msgid)

    def test_destroy_ends_the_wait(self):
        msgid = self.other.send_allocate(timeout=-1)
        self.wait_for_waiters(1)
        self.one.call("pool.destroy", name="frames", force=True)
        self.assertEqual(self.assert_refused("POOL_DESTROYED", self.two.wait, msgid),
                         {"pool": "frames"})


class TestRequests(ProtocolCase):
    """Every field of every request: missing, of another type, unknown."""

    CONFIGURATION = {
        "object_size": 1000, "alignment": 64, "capacity": 8, "capacity_max": 16,
        "growth": "linear:1", "grow_ahead": 1, "type": "frame", "mode": 0o600, "gid": 0,
        "owner_frees": True, "reserve_critical": 1, "reserve_normal": 1, "session_slots": 1,
        "user_slots": 1, "zero": 1, "template": b"x", "watermark": "50%", "hold_limit": 1,
        "trim_after": 1, "prefault": True, "lock": True, "huge": True}
    HANDLES = {"pool": 1, "handles": bytes(16)}
    REQUESTS = {
        "ping": {},
        "pool.create": {"name": "frames", **CONFIGURATION},
        "pool.open": {"name": "frames", "write": True, "map": False, "create": True,
                      **CONFIGURATION},
        "pool.close": {"pool": 1},
        "pool.list": {"after": 0, "name": "frames"},
        "pool.destroy": {"name": "none", "force": False},
        "pool.grow": {"name": "frames", "capacity": 8, "capacity_max": 8},
        "pool.trim": {"name": "frames"},
        "allocate": {"pool": 1, "request": 1, "count": 1, "timeout": 0, "priority": 0,
                     "evictable": True},
        "cancel": {"pool": 1, "request": 1},
        "free": HANDLES, "release": HANDLES, "retain": HANDLES, "adopt": HANDLES,
        "detach": HANDLES,
        "stats": {"name": "frames"},
        "stats.reset": {"name": "frames"},
        "holders": {"name": "frames"},
        "events": {"after": 0, "name": "frames", "timeout": 0},
        "sessions": {"after": 0},
        "hello": {"version": VERSION, "name": "x", "witness": False},
        "resume": {"version": VERSION, "session": 1, "token": b"x", "pools": b""},
        "settle": {"requests": b"x"},
        "check": {},
    }
    REQUIRED = {"pool.create": {"name"}, "pool.open": {"name"}, "pool.close": {"pool"},
                "pool.destroy": {"name"}, "pool.grow": {"name"}, "pool.trim": {"name"},
                "allocate": {"pool", "request"}, "cancel": {"pool"}, "free": {"pool", "handles"},
                "release": {"pool", "handles"}, "retain": {"pool", "handles"},
                "adopt": {"pool", "handles"}, "detach": {"pool", "handles"}, "stats": {"name"},
                "stats.reset": {"name"}, "holders": {"name"}, "hello": {"version"},
                "resume": {"version", "session", "token"}, "settle": {"requests"}}
    LIMITS = {"zero": 2, "mode": 0o777, "priority": 2, "hold_limit": 2 ** 63 - 1,
              "trim_after": 2 ** 63 - 1, "request": 2 ** 50 - 1, "count": 2048,
              "growth": 191, "watermark": 15, "name": 63, "type": 63, "template": 32768,
              "handles": 32768, "token": 16, "pools": 4096, "requests": 16384}

    def test_fields_above_their_limit_are_refused(self):
        """Those at the limit are let through, to be refused by what they mean or not."""
        for method, params in self.REQUESTS.items():
            for field, limit in self.LIMITS.items():
                if field in params:
                    good, bad = (({str: "x", bytes: b"x"}[type(params[field])] * size
                                  if isinstance(params[field], (str, bytes)) else size)
                                 for size in (limit, limit + 1))
                    self.assert_argument_refused(method, {**params, field: bad}, field)
                    try:
                        self.one.call(method, **{**params, field: good})
                    except Refusal as refusal:
                        self.assertNotIn("must be", refusal.message)

    def assert_argument_refused(self, method, params, field):
        with self.subTest(method=method, params=params):
            self.assertEqual(self.assert_refused("INVALID_ARGUMENT", self.one.call, method,
                                                 **params), {"field": field})

    def test_fields_of_other_types_are_refused(self):
        values = (None, True, -1, 1, 1.5, "x", b"x", [], {})
        for method, params in self.REQUESTS.items():
            for field, good in params.items():
                for value in values:
                    number = isinstance(good, int) and not isinstance(good, bool)
                    fits = (type(value) is int and number and (value >= 0 or field == "timeout")
                            or type(value) is type(good) and not number)
                    if not fits:
                        self.assert_argument_refused(method, {**params, field: value}, field)

    def test_missing_fields_are_refused(self):
        for method, params in self.REQUESTS.items():
            for field in self.REQUIRED.get(method, ()):
                left = {key: value for key, value in params.items() if key != field}
                self.assert_argument_refused(method, left, field)

    def test_unknown_fields_are_refused(self):
        for method, params in self.REQUESTS.items():
            self.assert_argument_refused(method, {**params, "wish": 1}, "wish")

    def test_params_must_be_a_map(self):
        for method, params in itertools.product(self.REQUESTS, (None, 1, "x", [], [{}])):
            with self.subTest(method=method, params=params):
                self.assert_refused("INVALID_ARGUMENT", self.one.wait,
                                    self.one.send(method, params))

    def test_unknown_method_is_refused(self):
        for method in ("", "fly", "Ping", "x" * 10000, "pool.create\0"):
            self.assertEqual(self.assert_refused("UNKNOWN_METHOD", self.one.call, method), {})

    def test_hello_is_needed_once(self):
        connection = self.connect()
        for method, params in self.REQUESTS.items():
            if method not in ("hello", "resume"):
                self.assert_refused("HELLO_REQUIRED", connection.call, method, **params)
        connection.call("hello", version=VERSION)
        self.assert_refused("INVALID_ARGUMENT", connection.call, "hello", version=VERSION)

    def test_malformed_bytes_end_the_connection_with_a_word(self):
        connection = self.connect()
        connection.send_bytes(b"\xc1")
        farewell = connection.wait_closed()
        self.assertEqual((farewell["code"], farewell["name"], farewell["detail"]),
                         (1, "MALFORMED", {}))
        with self.assertRaises((Closed, OSError)):
            connection.call("ping")


if __name__ == "__main__":
    main()
