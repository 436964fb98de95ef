"""A client of fastallocd written from docs/protocol.md and docs/shm-layout.md alone.

It shares no code with the library, so that what both do is what the documents say.
"""

import array
import collections
import ctypes
import errno
import mmap
import os
import socket
import struct
import time

import msgpack

DEADLINE = 300 if os.environ.get("FASTALLOC_SANITIZE") else 60
VERSION = 3
LAYOUT_VERSION = 4
LEASED = 2
DESCRIPTORS_MAX = 4
WITNESS_SIZE = 4096
THREADS_SIZE = 256 * 64


class Refusal(Exception):
    """The daemon's answer was an error."""

    def __init__(self, error):
        super().__init__(f"{error['name']}: {error['message']}")
        self.code, self.name = error["code"], error["name"]
        self.message, self.detail = error["message"], error["detail"]


class Closed(Exception):
    """The daemon closed the connection; `farewell` is what it said before, or None."""

    def __init__(self, farewell):
        super().__init__(farewell)
        self.farewell = farewell


Handle = collections.namedtuple("Handle", "pool index nonce generation")


def unpack_handles(data):
    """The handles that stand in the bytes of a reply."""
    return [Handle(pool, index, tag >> 48, tag & (1 << 48) - 1)
            for pool, index, tag in struct.iter_unpack("<IIQ", data)]


def pack_handles(handles):
    return b"".join(struct.pack("<IIQ", handle.pool, handle.index,
                                handle.nonce << 48 | handle.generation) for handle in handles)


def connect_socket(path):
    """A connected socket. Until the deadline a daemon may be starting, or its backlog full."""
    deadline = time.monotonic() + DEADLINE
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.settimeout(DEADLINE)
        try:
            sock.connect(str(path))
            return sock
        except OSError as error:
            sock.close()
            if (error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN)
                    or time.monotonic() > deadline):
                raise
            time.sleep(0.001)


class Connection:
    """Frames in and out, and the descriptors that come with them. Knows no method."""

    def __init__(self, path):
        self.path = path
        self.socket = connect_socket(path)
        self.unpacker = msgpack.Unpacker(raw=False, strict_map_key=True)
        self.descriptors = collections.deque()
        self.replies = {}
        self.order = []  # msgids of the replies, as they came
        self.farewell = None
        self.last_msgid = 0

    def close(self):
        self.socket.close()
        while self.descriptors:
            os.close(self.descriptors.popleft())

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def send_bytes(self, data):
        self.socket.sendall(data)

    def send(self, method, params, msgid=None):
        """Sends a request; returns its number, to wait() for."""
        if msgid is None:
            self.last_msgid += 1
            msgid = self.last_msgid
        self.send_bytes(msgpack.packb([0, msgid, method, params]))
        return msgid

    def receive(self):
        """Takes what has come, waiting for something to come. False at the end of the stream."""
        room = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
        try:
            data, ancillary, flags, _ = self.socket.recvmsg(65536, room, socket.MSG_CMSG_CLOEXEC)
        except (ConnectionResetError, BrokenPipeError):
            return False
        assert not flags & socket.MSG_CTRUNC
        for level, kind, content in ancillary:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            self.descriptors.extend(array.array("i", content))
        self.unpacker.feed(data)
        for frame in self.unpacker:
            self.take(frame)
        return bool(data)

    def take(self, frame):
        if frame[0] == 1:
            assert len(frame) == 4 and frame[1] not in self.replies
            self.replies[frame[1]] = frame[2:]
            self.order.append(frame[1])
        else:
            assert frame[:2] == [2, "error"] and len(frame) == 3
            self.farewell = frame[2]

    def wait(self, msgid):
        """The result of the request, or its error as a Refusal."""
        while msgid not in self.replies:
            if not self.receive():
                raise Closed(self.farewell)
        error, result = self.replies.pop(msgid)
        if error is not None:
            assert result is None
            raise Refusal(error)
        return result

    def wait_closed(self):
        """Reads until the daemon closes the connection; returns what it said before."""
        while self.receive():
            pass
        return self.farewell

    def call(self, method, /, **params):
        return self.wait(self.send(method, params))

    def take_descriptors(self, count):
        return [self.descriptors.popleft() for _ in range(count)]


class Witness:
    """The mapping of a witness. By the C library: Python's mmap keeps a copy of the descriptor, which
    a forked child would inherit, and with it the session.
    """

    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                          ctypes.c_int, ctypes.c_long]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

    def __init__(self, descriptor):
        self.address = self.libc.mmap(None, WITNESS_SIZE, mmap.PROT_READ, mmap.MAP_SHARED,
                                      descriptor, 0)
        assert self.address != ctypes.c_void_p(-1).value, os.strerror(ctypes.get_errno())
        assert self.libc.madvise(self.address, WITNESS_SIZE, mmap.MADV_DONTFORK) == 0
        os.close(descriptor)

    def close(self):
        if self.address:
            self.libc.munmap(self.address, WITNESS_SIZE)
            self.address = None


class Client(Connection):
    """A session. With a witness it may map pools."""

    def __init__(self, path, name="python", witness=False):
        super().__init__(path)
        self.witness = None
        self.requests = 0
        self.hello = self.call("hello", version=VERSION, name=name, witness=witness)
        if witness:
            self.witness = Witness(*self.take_descriptors(self.hello["descriptors"]))

    def close(self):
        super().close()
        if self.witness is not None:
            self.witness.close()

    def resume(self, *pools, **options):
        """On a new connection, whatever became of the one before; returns the reply."""
        super().close()
        super().__init__(self.path)
        return self.send_resume(self, *pools, **options)

    def send_resume(self, connection, *pools, **options):
        """Says on that connection what takes over this session, or what the options make of it."""
        numbers = b"".join(struct.pack("<I", pool.number) for pool in pools)
        return connection.call("resume", **{"version": VERSION, "session": self.hello["session"],
                                            "token": self.hello["token"], "pools": numbers,
                                            **options})

    def settle(self, *requests):
        """What was freed and what cancelled."""
        reply = self.call("settle", requests=struct.pack(f"<{len(requests)}Q", *requests))
        return reply["freed"], reply["cancelled"]

    def open(self, name, /, **options):
        return Pool(self, self.call("pool.open", name=name, **options))

    def send_events(self, **options):
        return self.send("events", options)

    def events(self, **options):
        return self.call("events", **options)


class Pool:
    """A pool that a client has opened, and its mapping if it asked for one."""

    def __init__(self, client, reply):
        self.client, self.reply = client, reply
        self.number, self.nonce, self.stride = reply["pool"], reply["nonce"], reply["stride"]
        self.ctl = self.slots = self.data = None
        self.descriptors = ()
        if reply["descriptors"]:
            self.map(*client.take_descriptors(reply["descriptors"]))

    def map(self, *descriptors):
        """ctl, slots, data; and the bell, if it is a leased pool that is open for writing."""
        self.descriptors = descriptors
        self.writable = is_writable(descriptors[2])
        self.map_again()

    def map_again(self):
        """Maps all there is by now: the pool may have grown since."""
        self.drop_mappings()
        self.ctl, self.slots, self.data = (map_descriptor(each) for each in self.descriptors[:3])
        magic, version = struct.unpack_from("<8sI", self.ctl)
        assert magic == b"fastallo" and version == LAYOUT_VERSION
        kind, = struct.unpack_from("<I", self.ctl, 20)
        reserve, = struct.unpack_from("<I", self.ctl, 48)
        self.threads_offset = (8 * ((reserve + 4095) // 4096) + 63) // 64 * 64
        words_offset = self.threads_offset + (THREADS_SIZE if kind == LEASED else 0)
        # An item of such a view is read, and written, at once.
        self.words = memoryview(self.slots)[words_offset:].cast("Q")

    def drop_mappings(self):
        if self.ctl is not None:
            self.words.release()
            for mapping in (self.ctl, self.slots, self.data):
                mapping.close()
            self.ctl = None

    def unmap(self):
        self.drop_mappings()
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = ()

    def close(self):
        self.unmap()
        return self.client.call("pool.close", pool=self.number)["freed"]

    def send_allocate(self, **options):
        self.client.requests += 1
        return self.client.send("allocate", {"pool": self.number, "request": self.client.requests,
                                             **options})

    def allocate(self, **options):
        return unpack_handles(self.client.wait(self.send_allocate(**options))["handles"])

    def operate(self, method, answer, handles):
        return self.client.call(method, pool=self.number, handles=pack_handles(handles))[answer]

    def free(self, *handles):
        return self.operate("free", "freed", handles)

    def release(self, *handles):
        return self.operate("release", "released", handles)

    def retain(self, *handles):
        return self.operate("retain", "retained", handles)

    def adopt(self, *handles):
        return self.operate("adopt", "adopted", handles)

    def detach(self, *handles):
        return self.operate("detach", "detached", handles)

    def cancel(self, **options):
        return self.client.call("cancel", pool=self.number, **options)["cancelled"]

    def get(self, handle):
        """The object's bytes, in place, or None if the handle is stale or another pool's."""
        if (handle.pool, handle.nonce) != (self.number, self.nonce):
            return None
        capacity, = struct.unpack_from("<I", self.ctl, 256)
        if handle.index >= capacity:
            return None
        word = self.words[handle.index]
        if word >> 16 != handle.generation or word & 7 not in (2, 3):
            return None
        start = self.stride * handle.index
        return memoryview(self.data)[start:start + self.reply["object_size"]]


def is_writable(descriptor):
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as lines:
        flags = next(line.split()[1] for line in lines if line.startswith("flags:"))
    return int(flags, 8) & os.O_ACCMODE == os.O_RDWR


def map_descriptor(descriptor):
    """Maps the whole object, to write if that is allowed, not for children."""
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if is_writable(descriptor) else 0)
    mapping = mmap.mmap(descriptor, os.fstat(descriptor).st_size, mmap.MAP_SHARED, protection)
    mapping.madvise(mmap.MADV_DONTFORK)
    return mapping
