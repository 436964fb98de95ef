"""What the tests with hostile clients share: a daemon, a good client, and that neither notices."""

import os
import resource
import time
import unittest

import msgpack

from protocol_case import Daemon
from protocol_client import DEADLINE, Client, Connection, Refusal

MESSAGE_MAX, UNREAD_MAX, BATCH_MAX, HOLDS_MAX = 65536, 65536, 2048, 1024

# What the daemon's own memory may grow by in one test: far less than what is thrown at it.
# AddressSanitizer keeps freed memory for a while.
MEMORY_MAX = (512 if os.environ.get("FASTALLOC_SANITIZE") else 16) << 20

# Statistics that say how long things took, or that somebody waited or took much.
VARYING = {"age", "average_usage", "wait_p50", "wait_p99", "wait_max", "hold_p50", "hold_p99",
           "hold_max", "total_waits", "watermarks"}


def pack(value):
    return msgpack.packb(value)


def request(method, params, msgid=1):
    return pack([0, msgid, method, params])


def framed(params):
    """A request whose params are these bytes."""
    return b"\x94\x00\x01" + pack("ping") + params


PING = request("ping", {}, 77)


class HostileCase(unittest.TestCase):
    """One daemon and one good client for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        cls.daemon = Daemon()
        cls.addClassCleanup(cls.daemon.remove)
        cls.good = Client(cls.daemon.socket, name="good", witness=True)
        cls.pool = cls.good.open("good", write=True, map=True, create=True, object_size=100,
                                 capacity=16)
        cls.held = cls.pool.allocate(count=3)
        for handle in cls.held:
            cls.pool.get(handle)[:4] = b"good"
        cls.pool.free(*cls.pool.allocate(count=13))
        cls.fill_holders()
        cls.descriptors = cls.daemon.descriptors()

    @classmethod
    def fill_holders(cls):
        """The pool's table of holders, which never shrinks, is as large then as it gets."""
        handle, = cls.pool.allocate()
        for _ in range(HOLDS_MAX - 1):
            cls.pool.retain(handle)
        cls.pool.free(handle)

    @classmethod
    def tearDownClass(cls):
        cls.pool.close()
        cls.good.close()
        assert cls.daemon.stop() == 0, cls.daemon.log()

    harmed = False

    def setUp(self):
        self.assertFalse(self.harmed, "an earlier test harmed the daemon")
        self.open_things = []
        self.before = self.state()
        self.memory = self.daemon.memory()

    def tearDown(self):
        self.assert_memory_is_flat()
        for thing in self.open_things:
            thing.close()
        type(self).harmed = True
        self.assert_unharmed()
        type(self).harmed = False

    def allow(self, **changes):
        """What a test itself counts for; that is all that may change."""
        for key, value in changes.items():
            self.before["stats"][key] += value

    def state(self):
        stats = {name: value for name, value in self.good.call("stats", name="good").items()
                 if name not in VARYING}
        return {"stats": stats, "ping": self.good.call("ping"),
                "pools": self.good.call("pool.list"), "sessions": self.good.call("sessions")}

    def assert_unharmed(self):
        self.until(lambda: len(self.good.call("sessions")["sessions"]) == 1)
        self.until(lambda: self.daemon.descriptors() == self.descriptors)
        self.assertIsNone(self.daemon.process.poll(), self.daemon.log())
        self.assertEqual(self.state(), self.before)
        self.assertEqual(self.good.call("ping")["pid"], self.daemon.pid)
        for handle in self.held:
            self.assertEqual(bytes(self.pool.get(handle)[:4]), b"good")
        self.pool.free(*self.pool.allocate(count=13))

    def assert_memory_is_flat(self):
        self.assertLess(self.daemon.memory(), self.memory + MEMORY_MAX)

    def until(self, condition):
        """Asks again and again; the deadline is for failures only."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"never came true: {condition}; {self.daemon.log()}")
            time.sleep(0.001)

    def connect(self):
        self.open_things.append(Connection(self.daemon.socket))
        return self.open_things[-1]

    def client(self, **options):
        self.open_things.append(Client(self.daemon.socket, name="hostile", **options))
        return self.open_things[-1]

    def assert_refused(self, error, call, /, *arguments, **options):
        with self.assertRaises(Refusal) as context:
            call(*arguments, **options)
        self.assertEqual(context.exception.name, error)
        return context.exception.detail

    def assert_farewell(self, connection, name):
        farewell = connection.wait_closed()
        self.assertIsNotNone(farewell)
        self.assertEqual(farewell["name"], name)
        return farewell

    @staticmethod
    def send_until_closed(connection, data):
        """The daemon may close the connection before it has all of it."""
        try:
            connection.send_bytes(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
