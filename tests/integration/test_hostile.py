"""Hostile clients against a real daemon. After each of them the daemon is as it was before: the same
process, with the same descriptors, pools and statistics, and a good client goes on as if nothing
had been.
"""

import array
import fcntl
import mmap
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import unittest

from hostile_case import (BATCH_MAX, MESSAGE_MAX, PING, UNREAD_MAX, HostileCase, framed, pack,
                          request)
from protocol_case import main
from protocol_client import (DEADLINE, VERSION, Client, Handle, Refusal, connect_socket,
                             pack_handles, unpack_handles)

WAITERS_MAX, SESSIONS_MAX, POOLS_MAX = 1024, 4096, 1024

# All but hello and resume.
METHODS = ("ping", "pool.create", "pool.open", "pool.close", "pool.list", "pool.destroy",
           "pool.grow", "pool.trim", "allocate", "cancel", "free", "release", "retain", "adopt",
           "detach", "stats", "stats.reset", "holders", "events", "sessions", "settle",
           "check")

# Bytes that end the connection, with MALFORMED before.
MALFORMED = {
    "byte_that_is_never_used": b"\xc1",
    "byte_that_is_never_used_in_params": framed(b"\x81\xa1k\xc1"),
    "fixed_ext": framed(b"\x81\xa1k\xd4\x01\x00"),
    "ext": framed(b"\x81\xa1k\xc7\x04\x01abcd"),
    "timestamp": b"\xd6\xff\x00\x00\x00\x00",
    "array_of_8_gigabytes": b"\xdd\x10\x00\x00\x00",
    "array_of_the_largest_size": b"\xdd\xff\xff\xff\xff",
    "map_of_the_largest_size": b"\xdf\xff\xff\xff\xff",
    "map_whose_size_doubles_to_zero": b"\xdf\x80\x00\x00\x00",
    "string_of_4_gigabytes": b"\xdb\xff\xff\xff\xff",
    "binary_of_4_gigabytes": framed(b"\xc6\xff\xff\xff\xff"),
    "arrays_of_the_largest_size_in_each_other": b"\xdc\xff\xf0" * 8 + b"\xdc\xff\xf0",
    "nine_levels": framed(b"\x81\xa1k" + b"\x91" * 7 + b"\xc0"),
    "sixty_thousand_levels": b"\x91" * 60000,
    "duplicate_key": framed(b"\x82\xa1k\x01\xa1k\x02"),
    "duplicate_key_in_another_encoding": framed(b"\x82\xa1k\x01\xd9\x01k\x02"),
    "duplicate_key_deep": framed(b"\x81\xa1k\x81\xa1k\x82\xa1k\x01\xa1k\x02"),
    "key_that_is_a_number": framed(b"\x81\x01\x02"),
    "key_that_is_binary": framed(b"\x81\xc4\x01k\x02"),
    "key_of_256_bytes": framed(b"\x81" + pack("k" * 256) + b"\x02"),
    "map_of_33_entries": framed(pack({f"k{i}": i for i in range(33)})),
    "message_one_byte_too_long": framed(b"\xc5" + struct.pack(">H", MESSAGE_MAX - 10) +
                                        b"x" * (MESSAGE_MAX - 10)),
    "message_that_outgrows_its_declaration": b"\xdc\xff\xf0" + b"\xcc\x01" * 40000,
    "number": b"\x00",
    "nil": b"\xc0",
    "string": pack("hello"),
    "map": pack({"method": "hello"}),
    "empty_array": b"\x90",
    "request_without_params": pack([0, 1, "ping"]),
    "request_with_more_than_params": pack([0, 1, "ping", {}, {}]),
    "frame_of_kind_3": pack([3, 1, "ping", {}]),
    "frame_of_negative_kind": pack([-1, 1, "ping", {}]),
    "frame_of_kind_0_0": pack([0.0, 1, "ping", {}]),
    "msgid_below_0": pack([0, -1, "ping", {}]),
    "msgid_above_32_bits": pack([0, 2 ** 32, "ping", {}]),
    "msgid_that_is_text": pack([0, "1", "ping", {}]),
    "method_that_is_a_number": pack([0, 1, 2, {}]),
    "method_that_is_binary": pack([0, 1, b"ping", {}]),
    "response": pack([1, 1, None, {}]),
    "notification": pack([2, "ping", {}]),
    "web_browser": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "json": b'{"method": "ping"}\n',
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
}


class TestMalformed(HostileCase):
    """Each of MALFORMED: as the first bytes, after hello, behind a good request, and bit by bit."""

    def check_malformed(self, data):
        self.send_until_closed(first := self.connect(), data)
        self.assert_farewell(first, "MALFORMED")

        self.send_until_closed(second := self.client(), data)
        self.assert_farewell(second, "MALFORMED")

        self.send_until_closed(third := self.client(), PING + data + PING)
        self.assert_farewell(third, "MALFORMED")
        self.assertEqual(list(third.replies), [77])

        fourth = self.connect()
        for start in range(0, len(data), len(data) // 50 + 1):
            self.send_until_closed(fourth, data[start:start + len(data) // 50 + 1])
        self.assert_farewell(fourth, "MALFORMED")


def add_malformed_tests():
    for name, data in MALFORMED.items():
        def test(self, data=data):
            self.check_malformed(data)
        setattr(TestMalformed, f"test_{name}", test)


add_malformed_tests()


class TestRequests(HostileCase):
    """Well-formed requests that nobody should send. The connection stays."""

    def test_requests_before_hello(self):
        connection = self.connect()
        for method in METHODS:
            self.assert_refused("HELLO_REQUIRED", connection.call, method, name="good")

    def test_hello_twice(self):
        client = self.client()
        for _ in range(10):
            self.assert_refused("INVALID_ARGUMENT", client.call, "hello", version=VERSION,
                                witness=True)
        self.assertEqual(len(client.descriptors), 0)

    def test_hello_of_other_versions(self):
        connection = self.connect()
        for version in (0, VERSION - 1, VERSION + 1, 2 ** 32 - 1):
            self.assert_refused("PROTOCOL_MISMATCH", connection.call, "hello", version=version)
        for version in (2 ** 32, -1, "1", None):
            self.assert_refused("INVALID_ARGUMENT", connection.call, "hello", version=version)

    def test_unknown_methods(self):
        client = self.client()
        for method in ("", "fly", "hello\0", "pool.", "x" * 60000, "\x1b[31m", "%s%n"):
            self.assert_refused("UNKNOWN_METHOD", client.call, method)

    def test_methods_that_are_no_text(self):
        client = self.client()
        client.send_bytes(b"\x94\x00\x05\xa2\xff\xfe\x80")
        self.assert_refused("UNKNOWN_METHOD", client.wait, 5)

    def test_names_that_are_no_names(self):
        client = self.client()
        for name in ("", ".", "..", "../x", "/x", "a/b", "-x", "a b", "ä", "a\0", "a\n", "x" * 64,
                     "%n", "'; DROP TABLE pools; --"):
            self.assert_refused("INVALID_ARGUMENT", client.call, "pool.create", name=name,
                                object_size=1, capacity=1)

    def test_name_of_the_longest_size(self):
        client = self.client()
        client.call("pool.create", name="x" * 63, type="t" * 63, object_size=1, capacity=1)
        self.assertEqual(client.call("pool.list", name="x" * 63)["pools"][0]["type"], "t" * 63)
        client.call("pool.destroy", name="x" * 63)

    def test_types_and_names_of_other_bytes(self):
        client = self.client()
        for text in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\x1b[31m", b"\xc2\x9b31m", b"a\0b"):
            field = b"\xa4type" + bytes([0xa0 + len(text)]) + text
            client.send_bytes(b"\x94\x00\x07" + pack("pool.create") + b"\x84" + pack("name") +
                              pack("x") + pack("object_size") + b"\x01" + pack("capacity") +
                              b"\x01" + field)
            self.assertEqual(self.assert_refused("INVALID_ARGUMENT", client.wait, 7),
                             {"field": "type"})

    def test_hello_with_a_name_that_is_no_text(self):
        for text in (b"\xff\xfe", b"\n2025 fastallocd: error: all is lost"):
            connection = self.connect()
            connection.send_bytes(b"\x94\x00\x07" + pack("hello") + b"\x82" + pack("version") +
                                  b"\x01" + pack("name") + b"\xd9" + bytes([len(text)]) + text)
            self.assert_refused("INVALID_ARGUMENT", connection.wait, 7)

    def test_sizes_that_overflow(self):
        client = self.client()
        for size, capacity, alignment, error in (
                (2 ** 64 - 1, 1, 0, "INVALID_OBJECT_SIZE"),
                (2 ** 63, 2, 0, "INVALID_OBJECT_SIZE"),
                (2 ** 32, 2 ** 32, 0, "INVALID_CAPACITY"),
                (2 ** 32, 257, 4096, "INVALID_CAPACITY"),
                (1, 2 ** 64 - 1, 1, "INVALID_CAPACITY"),
                (1, 2 ** 32 + 1, 1, "INVALID_CAPACITY"),
                (1, 1, 2 ** 31, "INVALID_ALIGNMENT"),
                (1, 1, 2 ** 32 - 1, "INVALID_ALIGNMENT"),
                (2 ** 32, 256, 4096, "SHARED_MEMORY_FULL"),
                (1024, 2 ** 30, 0, "SHARED_MEMORY_FULL")):
            self.assert_refused(error, client.call, "pool.create", name="x", object_size=size,
                                capacity=capacity, alignment=alignment)

    def test_pools_that_were_not_opened(self):
        client = self.client()
        handles = pack_handles(self.held)
        for pool in (0, self.pool.number, self.pool.number + 1, 2 ** 31, 2 ** 32 - 1):
            self.assert_refused("NOT_A_MEMBER", client.call, "allocate", pool=pool, request=1)
            self.assert_refused("NOT_A_MEMBER", client.call, "free", pool=pool, handles=handles)
            self.assert_refused("NOT_A_MEMBER", client.call, "pool.close", pool=pool)

    def test_pool_that_was_closed(self):
        client = self.client()
        pool = client.open("good", write=True)
        pool.close()
        self.assert_refused("NOT_A_MEMBER", pool.allocate)
        self.assert_refused("NOT_A_MEMBER", pool.free, *self.held)

    def test_pool_that_was_opened_for_reading(self):
        pool = self.client().open("good")
        self.assert_refused("NOT_A_MEMBER", pool.allocate)
        self.assert_refused("NOT_A_MEMBER", pool.free, *self.held)

    def test_handles_of_all_wrong_kinds(self):
        pool = self.client().open("good", write=True)
        good = self.held[0]
        for handle, error in (
                (Handle(0, 0, 0, 0), "WRONG_POOL"),
                (good._replace(pool=0), "WRONG_POOL"),
                (good._replace(pool=2 ** 32 - 1), "WRONG_POOL"),
                (good._replace(nonce=good.nonce ^ 1), "STALE_HANDLE"),
                (good._replace(nonce=0), "STALE_HANDLE"),
                (good._replace(generation=0), "STALE_HANDLE"),
                (good._replace(generation=good.generation - 1), "STALE_HANDLE"),
                (good._replace(generation=good.generation + 1), "STALE_HANDLE"),
                (good._replace(generation=2 ** 48 - 1), "STALE_HANDLE"),
                (good._replace(index=16), "STALE_HANDLE"),
                (good._replace(index=2 ** 31), "STALE_HANDLE"),
                (good._replace(index=2 ** 32 - 1), "STALE_HANDLE"),
                (self.never_allocated(), "STALE_HANDLE")):
            with self.subTest(handle):
                self.assert_refused(error, pool.free, handle)
                self.assertEqual(self.assert_refused(error, pool.free, good, handle),
                                 {"pool": "good", "position": 1})

    def never_allocated(self):
        """The handle that a slot would have which is free now."""
        handle = next(handle for i in range(16)
                      if (handle := self.held[0]._replace(index=i)).index not in
                      {held.index for held in self.held})
        return handle._replace(generation=self.pool.words[handle.index] >> 16)

    def test_handles_twice(self):
        pool = self.client().open("good", write=True)
        self.assertEqual(self.assert_refused("DUPLICATE_HANDLE", pool.free, *self.held, *self.held),
                         {"pool": "good", "position": 3})
        self.assert_refused("DUPLICATE_HANDLE", pool.free, *[self.held[0]] * BATCH_MAX)

    def test_handles_of_other_lengths(self):
        client = self.client()
        number = client.open("good", write=True).number
        data = pack_handles(self.held)
        for handles in (b"", data[:1], data[:15], data[:17], data + b"\0",
                        bytes(16 * BATCH_MAX + 16), data.hex(), list(data), None):
            self.assertEqual(self.assert_refused("INVALID_ARGUMENT", client.call, "free",
                                                 pool=number, handles=handles),
                             {"field": "handles"})

    def test_more_handles_than_a_request_may_have(self):
        client = self.client()
        number = client.open("good", write=True).number
        self.assert_refused("POOL_EXHAUSTED", client.call, "allocate", pool=number, request=1,
                            count=BATCH_MAX, timeout=-1)
        for count in (BATCH_MAX + 1, 2 ** 32 - 1, 2 ** 64 - 1, -1):
            self.assertEqual(self.assert_refused("INVALID_ARGUMENT", client.call, "allocate",
                                                 pool=number, request=1, count=count),
                             {"field": "count"})
        self.allow(allocation_failures=1)

    def test_all_handles_that_a_request_may_have(self):
        client = self.client()
        pool = client.open("big", write=True, create=True, object_size=1, capacity=BATCH_MAX)
        handles = pool.allocate(count=BATCH_MAX)
        self.assertEqual(len(set(handles)), BATCH_MAX)
        self.assertEqual(pool.free(*reversed(handles)), BATCH_MAX)
        client.call("pool.destroy", name="big", force=True)

    def test_request_numbers_and_timeouts_at_their_limits(self):
        client = self.client()
        number = client.open("good", write=True).number
        for field, value in (("request", 2 ** 50), ("request", 2 ** 64 - 1), ("request", -1),
                             ("timeout", 2 ** 63), ("timeout", 2 ** 64 - 1), ("timeout", 1.0)):
            self.assert_refused("INVALID_ARGUMENT", client.call, "allocate",
                                **{"pool": number, "request": 1, field: value})
        for timeout in (2 ** 63 - 1, -2 ** 63, -1):
            client.send("allocate", {"pool": number, "request": 2 ** 50 - 1, "count": 14,
                                     "timeout": timeout})
        self.until(lambda: self.good.call("stats", name="good")["waiters"] == 3)

    def test_the_same_msgid_for_many_requests(self):
        client = self.client()
        client.send_bytes(PING * 1000)
        client.take = lambda frame: client.order.append(frame[1])
        self.until(lambda: client.receive() and len(client.order) == 1001)
        self.assertEqual(client.order[1:], [77] * 1000)

    def test_destroying_what_others_use(self):
        detail = self.assert_refused("POOL_IN_USE", self.client().call, "pool.destroy", name="good")
        self.assertEqual(detail, {"pool": "good", "allocated": 3, "members": 1})

    def test_every_request_with_every_kind_of_value(self):
        values = (None, False, 0, -1, 2 ** 63, 2 ** 64 - 1, 1.5, float("nan"), "", "x" * 1000, b"",
                  bytes(40000), [], [[[[]]]], {}, {"a": {"b": {}}})
        fields = ("name", "pool", "handles", "count", "request", "timeout", "object_size",
                  "capacity", "alignment", "type", "mode", "after", "write", "map", "version",
                  "capacity_max", "growth", "grow_ahead", "gid", "owner_frees",
                  "reserve_critical", "reserve_normal", "session_slots", "user_slots", "zero",
                  "template", "watermark", "hold_limit", "trim_after", "prefault", "lock", "huge",
                  "priority", "evictable", "force", "create", "session", "token", "pools",
                  "requests", "change")
        client = self.client()
        for method in ("hello", "resume", *METHODS):
            for value in values:
                try:
                    client.wait(client.send(method, value))
                except Refusal:
                    pass
                for field in fields:
                    try:
                        client.call(method, **{field: value})
                    except Refusal:
                        pass
        self.assertEqual(client.call("ping")["pid"], self.daemon.pid)


class TestGreed(HostileCase):
    """Clients that take what they can get, and give nothing back."""

    def fill(self, client, data):
        """Sends it again and again, until the daemon takes no more. Returns the bytes of the last one
        that are still to be sent.
        """
        client.socket.setblocking(False)
        while True:
            left = data
            while left:
                try:
                    left = left[client.socket.send(left):]
                except BlockingIOError:
                    if select.select([], [client.socket], [], 0.1)[1]:
                        continue
                    client.socket.settimeout(DEADLINE)
                    return left
            self.assert_memory_is_flat()

    def test_clients_that_read_nothing_are_held_and_then_cut_off(self):
        """With exactly as many replies waiting in the daemon as the limit says."""
        client = self.client()
        pool = client.open("own", write=True, create=True, object_size=1, capacity=1)
        exhausted = {"pool": pool.number, "request": 1, "count": 2}
        size = self.size_of_refusal(exhausted)
        failures = self.failures()
        self.fill(client, request("allocate", exhausted, 1))
        greedy = self.connect()
        for method, params in (("hello", {"version": VERSION, "witness": True}),
                               *[("pool.open", {"name": "good", "map": True})] * 10):
            greedy.send(method, params)

        for connection in (client, greedy):
            poll = select.poll()
            poll.register(connection.socket, 0)
            self.assertNotEqual(poll.poll(DEADLINE * 1000), [])
        taken = self.failures() - failures
        waiting = taken * size - self.drain(client.socket)
        self.assertGreater(waiting, UNREAD_MAX)
        self.assertLessEqual(waiting, UNREAD_MAX + size)
        self.assertIsNone(greedy.wait_closed())
        self.assertEqual(len(greedy.replies), 1)
        self.client().call("pool.destroy", name="own", force=True)

    def failures(self):
        return self.good.call("stats", name="own")["allocation_failures"]

    def size_of_refusal(self, params):
        """Bytes of the reply to that request as number 1."""
        client = self.client()
        client.open("own", write=True)
        client.send("allocate", params, 1)
        return len(client.socket.recv(65536))

    @staticmethod
    def drain(sock):
        """Reads up to the end; returns how many bytes there were."""
        received = 0
        while True:
            try:
                data = sock.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            if not data:
                return received
            received += len(data)

    def test_floods_whose_replies_are_not_read(self):
        for _ in range(20):
            self.fill(self.client(), request("pool.list", {}) * 1000)

    def test_floods_whose_replies_are_read_late(self):
        client = self.client()
        left = self.fill(client, PING * 100) + request("stats", {"name": "good"}, 5)
        client.take = lambda frame: client.order.append(frame[1])
        client.socket.setblocking(False)
        while left:
            if client.socket in select.select([client.socket], [client.socket], [])[0]:
                client.receive()
            try:
                left = left[client.socket.send(left):]
            except BlockingIOError:
                pass
        client.socket.settimeout(DEADLINE)
        self.until(lambda: client.receive() and client.order[-1] == 5)
        self.assertEqual(len(client.order) % 100, 2)  # with hello's and the last one's

    def test_floods_whose_replies_are_read(self):
        client = self.client()
        for _ in range(20):
            client.send_bytes(b"".join(request("ping", {}, 1000 + i) for i in range(1000)))
            for i in range(1000):
                client.wait(1000 + i)

    def test_descriptors_of_many_clients_that_receive_none(self):
        for _ in range(100):
            connection = self.connect()
            connection.send("hello", {"version": VERSION, "witness": True})
            for _ in range(7):
                connection.send("pool.open", {"name": "good", "map": True, "write": True})
        self.assertEqual(self.good.open("good", map=True).reply["descriptors"], 3)

    def test_descriptors_received_again_and_again(self):
        client = self.client(witness=True)
        for _ in range(300):
            client.open("good", map=True).unmap()

    def test_descriptors_asked_for_all_at_once(self):
        client = self.client(witness=True)
        msgids = [client.send("pool.open", {"name": "good", "map": True}) for _ in range(40)]
        for msgid in msgids:
            self.assertEqual(client.wait(msgid)["descriptors"], 3)
            for descriptor in client.take_descriptors(3):
                os.close(descriptor)
        self.assertEqual(len(client.descriptors), 0)

    def test_requests_that_wait_without_end(self):
        client = self.client()
        pool = client.open("good", write=True)
        for _ in range(WAITERS_MAX):
            pool.send_allocate(count=14, timeout=-1)
        self.assertEqual(self.assert_refused("LIMIT_EXCEEDED", pool.allocate, count=14, timeout=-1),
                         {"max": WAITERS_MAX})
        self.assertEqual(self.good.call("stats", name="good")["waiters"], WAITERS_MAX)

    def test_sessions_without_end(self):
        room = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.assertGreater(room, 2 * SESSIONS_MAX + 500, "too few descriptors for this test")
        for _ in range(SESSIONS_MAX - 1):
            self.client()
        self.memory += SESSIONS_MAX * 16384
        connection = self.connect()
        self.assertEqual(self.assert_refused("LIMIT_EXCEEDED", connection.call, "hello",
                                             version=VERSION),
                         {"max": SESSIONS_MAX})
        self.open_things.pop(0).close()
        self.until(lambda: self.try_hello(connection))

    @staticmethod
    def try_hello(connection):
        try:
            return connection.call("hello", version=VERSION)
        except Refusal:
            return None

    def test_pools_without_end(self):
        client = self.client()
        names = [f"p{i}" for i in range(POOLS_MAX - 1)]
        for name in names:
            client.call("pool.create", name=name, object_size=1, capacity=1)
        self.assertEqual(self.assert_refused("LIMIT_EXCEEDED", client.call, "pool.create", name="x",
                                             object_size=1, capacity=1), {"max": POOLS_MAX})
        for name in names:
            client.call("pool.destroy", name=name)

    @unittest.skipUnless("OWN_SHM" in os.environ, "would fill the machine's shared memory")
    def test_all_shared_memory(self):
        client = self.client()
        made = 0
        with self.assertRaises(Refusal) as context:
            while True:
                client.call("pool.create", name=f"p{made}", object_size=1 << 20, capacity=15)
                made += 1
                self.assertLess(made, 200)
        self.assertEqual(context.exception.name, "SHARED_MEMORY_FULL")
        self.assertEqual(self.good.call("ping")["pid"], self.daemon.pid)
        for i in range(made):
            client.call("pool.destroy", name=f"p{i}")

    def test_all_slots(self):
        pool = self.client().open("good", write=True)
        pool.allocate(count=13)
        self.assert_refused("POOL_EXHAUSTED", self.pool.allocate)
        self.allow(total_allocations=13, total_deallocations=13, reclaimed=13,
                   allocation_failures=1)


class TestConnections(HostileCase):
    """What can be done with a socket."""

    def test_connections_that_say_nothing(self):
        for _ in range(500):
            self.connect()

    def test_connection_storm(self):
        for _ in range(3000):
            connect_socket(self.daemon.socket).close()

    def test_sessions_that_come_and_go(self):
        for i in range(500):
            Client(self.daemon.socket, witness=i % 2 == 0).close()

    def test_half_a_message_then_silence(self):
        message = request("free", {"pool": 1, "handles": bytes(16 * BATCH_MAX)})
        for i in range(100):
            self.client().send_bytes(message[:1 + i * len(message) // 101])

    def test_half_a_message_then_the_end(self):
        message = request("stats", {"name": "good"})
        for length in range(len(message)):
            client = self.client()
            client.send_bytes(message[:length])
            client.close()

    def test_half_closed_connections(self):
        for data in (b"", PING, PING[:3]):
            client = self.client()
            client.send_bytes(data)
            client.socket.shutdown(socket.SHUT_WR)
            client.wait_closed()

    def test_bytes_that_drip(self):
        client = self.client()
        pool = client.open("good", write=True)
        handles = pack_handles([self.held[0]] * BATCH_MAX)
        for byte in request("free", {"pool": pool.number, "handles": handles}, 5):
            client.send_bytes(bytes([byte]))
        self.assert_refused("DUPLICATE_HANDLE", client.wait, 5)

    def test_small_requests_all_at_once(self):
        client = self.client()
        client.send_bytes(b"".join(request("ping", {}, i) for i in range(100, 2100)))
        for i in range(100, 2100):
            client.wait(i)

    def test_largest_requests_one_after_the_other(self):
        client = self.client()
        pool = client.open("good", write=True)
        handles = bytes(16 * BATCH_MAX)
        for msgid in range(100, 200):
            client.send("free", {"pool": pool.number, "handles": handles}, msgid)
        for msgid in range(100, 200):
            self.assert_refused("WRONG_POOL", client.wait, msgid)

    def test_descriptors_sent_to_the_daemon(self):
        client = self.client()
        rights = array.array("i", [0] * 100)
        for msgid in range(100, 120):
            client.socket.sendmsg([request("ping", {}, msgid)],
                                  [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            client.wait(msgid)
        self.until(lambda: self.daemon.descriptors() <= self.descriptors + 2)

    def test_urgent_bytes(self):
        client = self.client()
        try:
            client.socket.send(b"!", socket.MSG_OOB)
        except OSError:
            return  # a kernel that doesn't have them
        self.good.call("ping")
        self.until(self.is_asleep)

    def is_asleep(self):
        """Whenever it is looked at: a daemon that turns round and round isn't."""
        return all(self.scheduler_state() == "S" for _ in range(50))

    def scheduler_state(self):
        with open(f"/proc/{self.daemon.pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(") ")[2].split()[0]

    def test_replies_into_a_tiny_window(self):
        client = self.client()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for msgid in range(100, 400):
            client.send("pool.list", {}, msgid)
        for msgid in range(100, 400):
            client.wait(msgid)

    def test_connection_reset_under_a_reply(self):
        for _ in range(300):
            client = self.client()
            client.send_bytes(PING * 20)
            client.close()


class Group:
    """A process and its children, in a group of their own."""

    def __init__(self, process):
        self.process = process

    def close(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.communicate()


class TestProcesses(HostileCase):
    """What can be done with processes and mappings."""

    SCRIPT = ("import os, sys, signal, time; sys.path.insert(0, sys.argv[1]);"
              "from protocol_client import Client, Connection;"
              "client = Client(sys.argv[2], name='hostile', witness=True);"
              "pool = client.open('good', write=True, map=True);")

    def run_script(self, script):
        process = subprocess.Popen([sys.executable, "-c", self.SCRIPT + script,
                                    os.path.dirname(os.path.abspath(__file__)), self.daemon.socket],
                                   stdout=subprocess.PIPE, start_new_session=True)
        self.open_things.append(Group(process))
        self.assertEqual(process.stdout.readline(), b"ready\n")
        return process

    def usage(self):
        return self.good.call("stats", name="good")["current_usage"]

    def test_killed_with_everything_allocated(self):
        process = self.run_script("pool.allocate(count=13); print('ready', flush=True);"
                                  "time.sleep(1000)")
        self.assertEqual(self.usage(), 16)
        process.kill()
        self.until(lambda: self.usage() == 3)
        self.allow(total_allocations=13, total_deallocations=13, reclaimed=13)

    def test_killed_while_it_waits(self):
        process = self.run_script("pool.send_allocate(count=14, timeout=-1);"
                                  "print('ready', flush=True); time.sleep(1000)")
        self.until(lambda: self.good.call("stats", name="good")["waiters"] == 1)
        process.kill()
        self.until(lambda: self.good.call("stats", name="good")["waiters"] == 0)

    def test_child_that_keeps_the_socket(self):
        """The process is gone, its child has the connection: that is over all the same."""
        process = self.run_script("pool.allocate(count=13);"
                                  "child = os.fork();"
                                  "child or time.sleep(1000);"
                                  "print('ready', flush=True); os._exit(0)")
        process.wait(timeout=DEADLINE)
        self.until(lambda: self.usage() == 3)
        self.until(lambda: self.daemon.descriptors() == self.descriptors)
        self.allow(total_allocations=13, total_deallocations=13, reclaimed=13)

    def test_stopped_with_replies_on_their_way(self):
        process = self.run_script("print('ready', flush=True);"
                                  "client.send_bytes(b''.join([client_ping] * 100000))"
                                  .replace("client_ping", repr(PING)))
        process.send_signal(signal.SIGSTOP)
        self.good.call("ping")
        self.assert_memory_is_flat()

    def test_objects_truncated_by_a_member(self):
        client = self.client(witness=True)
        reply = client.call("pool.open", name="evil", create=True, write=True, map=True,
                            object_size=4096, capacity=100)
        ctl, slots, data = client.take_descriptors(3)
        os.ftruncate(data, 0)
        for descriptor in (ctl, slots):
            with self.assertRaises(OSError):
                os.ftruncate(descriptor, 0)
            with self.assertRaises(PermissionError):
                mmap.mmap(descriptor, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        handles = unpack_handles(client.call("allocate", pool=reply["pool"], request=1,
                                             count=100)["handles"])
        self.assertEqual(client.call("free", pool=reply["pool"],
                                     handles=pack_handles(handles))["freed"], 100)
        os.ftruncate(data, 1 << 30)
        for descriptor in (ctl, slots, data):
            os.close(descriptor)
        client.call("pool.destroy", name="evil", force=True)

    def test_witness_that_is_never_mapped(self):
        connection = self.connect()
        connection.call("hello", version=VERSION, name="hostile", witness=True)
        connection.call("pool.open", name="good", write=True, map=True)
        connection.call("allocate", pool=self.pool.number, request=1, count=13)
        self.assertEqual(self.usage(), 16)
        for descriptor in connection.take_descriptors(4):
            os.close(descriptor)
        connection.close()
        self.until(lambda: self.usage() == 3)
        self.allow(total_allocations=13, total_deallocations=13, reclaimed=13)

    def test_locks_and_leases_on_what_was_handed_out(self):
        """A lease on the witness stands in the daemon's way when it asks if the session lives."""
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        connection = self.connect()
        connection.call("hello", version=VERSION, name="hostile", witness=True)
        connection.call("pool.open", name="good", map=True)
        witness, *objects = connection.take_descriptors(4)
        for descriptor in objects:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with self.assertRaises(BlockingIOError):
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(witness, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        connection.socket.close()
        self.until(lambda: not self.good.call("sessions")["sessions"][1]["connected"])
        self.client(witness=True).open("good", map=True).unmap()
        for descriptor in (witness, *objects):
            os.close(descriptor)


if __name__ == "__main__":
    main()
