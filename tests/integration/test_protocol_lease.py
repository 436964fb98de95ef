"""Leased pools by the bare protocol: what is granted, and to whom; and threads that store plainly."""

import ctypes
import struct

from protocol_case import ProtocolCase, main
from protocol_client import Handle, Refusal

CACHED, LIVE, RETURNED = 1, 2, 4
NEW_THREAD = 8191
FIRST_THREAD, THREADS = 7935, 256
MEMBER_WRITES = 1 << 63
THREAD_SIZE = 64
ALLOCATES, FREES = 1, 2
BY_DAEMON = 1
REVOKED = 7 # the bits; above is how often the number was given out
SYS_MEMBARRIER, REGISTER_GLOBAL_EXPEDITED = 324, 1 << 2


def word(generation, member, state):
    return generation << 16 | member << 3 | state


class Thread:
    """A biased thread, as docs/protocol.md wants it, which can be stopped before its last store."""

    def __init__(self, pool, number):
        self.pool, self.number = pool, number
        self.line = pool.threads_offset + THREAD_SIZE * (number - FIRST_THREAD)

    def revoked(self):
        return struct.unpack_from("<I", self.pool.slots, self.line + 8)[0] & REVOKED

    def announce(self, generation, index, what):
        struct.pack_into("<Q", self.pool.slots, self.line,
                         (generation & 0xffffffff) << 32 | index << 2 | what)

    def begin(self, index, state):
        """Up to the store, which the caller may make by calling what this returns, or None."""
        before = self.pool.words[index]
        generation, what = before >> 16, ALLOCATES if state == LIVE else FREES
        if before != word(generation, self.number, CACHED if state == LIVE else LIVE):
            return None
        self.announce(generation, index, what)
        if self.revoked() or self.pool.words[index] != before:
            self.announce(0, 0, 0)
            return None
        return lambda: self.store(index, word(generation + (what == FREES), self.number, state))

    def store(self, index, value):
        self.pool.words[index] = value

    def allocate(self, index):
        store = self.begin(index, LIVE)
        if store is None:
            return None
        store()
        return Handle(self.pool.number, index, self.pool.nonce, self.pool.words[index] >> 16)

    def free(self, index):
        store = self.begin(index, CACHED)
        if store is None:
            return False
        store()
        return True


class LeaseCase(ProtocolCase):
    """Two sessions in a leased pool of 64 slots, mapped to write."""

    CAPACITY = 64

    def setUp(self):
        super().setUp()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(SYS_MEMBARRIER, REGISTER_GLOBAL_EXPEDITED, 0, 0) != 0:
            self.skipTest("there is no membarrier")
        self.mine = self.open(create=True, kind=2, object_size=64, capacity=self.CAPACITY)
        self.other = self.open()

    def open(self, **options):
        pool = self.client(witness=True).open("leased", write=True, map=True, **options)
        self.addCleanup(pool.unmap)
        return pool

    def lease(self, pool, count, **options):
        """The slots, and the number that their words carry."""
        reply = pool.client.call("lease", pool=pool.number, count=count, **options)
        slots = [index for index, in struct.iter_unpack("<I", reply["slots"])]
        number = reply.get("thread", 0)
        for index in slots:
            self.assertEqual(pool.words[index] & 0xffff,
                             word(0, number or pool.reply["member"], CACHED))
        return slots, number

    def thread(self, pool, count):
        """A new one with so many slots."""
        slots, number = self.lease(pool, count, thread=NEW_THREAD)
        self.assertEqual(len(slots), count)
        return Thread(pool, number), slots

    def take_all(self, pool):
        """One by one, as long as there are some; returns how many there were."""
        taken = 0
        try:
            while True:
                taken += len(pool.allocate())
        except Refusal as refusal:
            self.assertEqual(refusal.name, "POOL_EXHAUSTED")
        return taken

    def session_of(self, number):
        return struct.unpack_from("<Q", self.mine.ctl, 4096 + 8 * number)[0] & ~MEMBER_WRITES


class TestNumbers(LeaseCase):
    """Which numbers there are, and for how long."""

    def test_slots_are_the_members_if_nothing_is_said(self):
        for options in ({}, {"thread": 0}):
            slots, number = self.lease(self.mine, 4, **options)
            self.assertEqual((len(slots), number), (4, 0))

    def test_each_new_thread_has_a_number_of_its_own(self):
        for i, pool in enumerate((self.mine, self.mine, self.other)):
            _, number = self.lease(pool, 1, thread=NEW_THREAD)
            self.assertEqual(number, FIRST_THREAD + i)
            self.assertEqual(self.session_of(number), pool.client.hello["session"])
            self.assertEqual(self.lease(pool, 1, thread=number)[1], number)

    def test_a_thread_must_be_the_sessions(self):
        theirs = self.lease(self.other, 1, thread=NEW_THREAD)[1]
        for number in (theirs, theirs + 1, 1, self.mine.reply["member"], FIRST_THREAD - 1,
                       NEW_THREAD - 1, NEW_THREAD + 1):
            with self.subTest(number=number):
                detail = self.assert_refused("INVALID_ARGUMENT", self.lease, self.mine, 1,
                                             thread=number)
                self.assertEqual(detail["field"], "thread")

    def test_where_none_is_left_slots_are_the_members(self):
        for i in range(THREADS):
            number = self.lease(self.mine, 0, thread=NEW_THREAD)[1]
            self.assertEqual(number, FIRST_THREAD + i)
        for pool in (self.mine, self.other):
            slots, number = self.lease(pool, 1, thread=NEW_THREAD)
            self.assertEqual((len(slots), number), (1, 0))

    def test_numbers_are_free_again_when_the_session_closes_the_pool(self):
        number = self.lease(self.other, 4, thread=NEW_THREAD)[1]
        self.other.close()
        self.assertEqual(self.session_of(number), 0)
        self.assertEqual(self.lease(self.mine, 1, thread=NEW_THREAD)[1], number)

    def test_a_tight_pool_has_numbers_without_slots(self):
        self.assertEqual(self.take_all(self.other), self.CAPACITY)
        self.assertEqual(self.lease(self.mine, 4, thread=NEW_THREAD), ([], FIRST_THREAD))


class TestBiasedThreads(LeaseCase):
    """Threads that store plainly, and who comes between."""

    def test_a_thread_allocates_and_frees_by_plain_stores(self):
        thread, slots = self.thread(self.mine, 4)
        handles = [thread.allocate(index) for index in slots]
        for handle in handles:
            self.assertIsNotNone(self.other.get(handle))
        self.assertTrue(thread.free(slots[0]))
        self.assertIsNone(self.other.get(handles[0]))
        stats = self.other.client.call("stats", name="leased")
        self.assertEqual((stats["total_allocations"], stats["current_usage"], stats["cached"]),
                         (4, 3, 1))

    def test_who_needs_all_gets_what_the_thread_does_not_use(self):
        thread, slots = self.thread(self.mine, 8)
        self.assertIsNotNone(thread.allocate(slots[0]))
        store = thread.begin(slots[1], LIVE)
        self.assertEqual(self.take_all(self.other), self.CAPACITY - 2)
        self.assertEqual(thread.revoked(), BY_DAEMON)
        store()
        self.assertIsNone(thread.allocate(slots[2]))
        self.assertEqual(self.take_all(self.other), 0)
        self.assertEqual(self.mine.words[slots[1]], word(1, thread.number, LIVE))

    def test_an_object_of_the_thread_is_freed_by_request(self):
        thread, slots = self.thread(self.mine, 4)
        handles = [thread.allocate(index) for index in slots]
        self.assertEqual(self.other.free(*handles[:2]), 2)
        self.assertEqual(thread.revoked(), BY_DAEMON)
        self.assertFalse(thread.free(slots[2]))
        self.assertEqual(self.other.adopt(handles[2]), 1)
        self.assertEqual(self.mine.words[slots[2]], word(1, self.other.reply["member"], LIVE))

    def test_what_the_thread_is_freeing_is_stale_for_others(self):
        thread, slots = self.thread(self.mine, 4)
        handle = thread.allocate(slots[0])
        store = thread.begin(slots[0], CACHED)
        for call in (self.other.free, self.other.adopt, self.other.retain, self.other.detach):
            self.assert_refused("STALE_HANDLE", call, handle)
        store()
        self.assertEqual(self.mine.words[slots[0]], word(2, thread.number, CACHED))
        self.assertEqual(self.take_all(self.other), self.CAPACITY)

    def test_what_was_announced_and_done_holds_nothing(self):
        thread, slots = self.thread(self.mine, 1)
        handle = thread.allocate(slots[0])
        self.assertEqual(self.other.retain(handle), 1)
        self.mine.release(handle)
        self.other.release(handle)
        thread, slots = self.thread(self.mine, 1)
        self.assertIsNotNone(thread.allocate(slots[0]))
        self.assertTrue(thread.free(slots[0]))
        self.assertEqual(self.take_all(self.other), self.CAPACITY)

    def test_the_next_slots_make_it_biased_again(self):
        thread, slots = self.thread(self.mine, 4)
        self.other.client.call("pool.trim", name="leased")
        self.assertIsNone(thread.allocate(slots[0]))
        slots, number = self.lease(self.mine, 4, thread=thread.number)
        self.assertEqual((number, thread.revoked()), (thread.number, 0))
        self.assertIsNotNone(thread.allocate(slots[0]))

    def test_what_a_dead_thread_announced_holds_nothing(self):
        thread, slots = self.thread(self.other, 4)
        thread.allocate(slots[0])
        thread.begin(slots[1], LIVE)
        self.other.close()
        self.assertEqual(self.take_all(self.mine), self.CAPACITY)


if __name__ == "__main__":
    main()
