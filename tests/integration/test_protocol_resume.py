"""Sessions that lose their connection and are resumed, and requests that are settled, by the bare
protocol.
"""

import os
import struct
import subprocess
import sys
import unittest

from ctl_case import can_be_another
from protocol_case import FRAMES, NS_MAX, ProtocolCase, die_with_us, main
from protocol_client import VERSION, Refusal, unpack_handles
from test_access import STRANGER, acting

LEASED = 2
CAPACITY = FRAMES["capacity"]
CACHED, LIVE, RETURNED = 1, 2, 4
TOKEN_SIZE, SETTLE_MAX, OPEN_MAX = 16, 2048, 1024


class ResumeCase(ProtocolCase):
    """`mine` is the pool `frames` in a session that has it mapped, `other` the same in `one`."""

    def setUp(self):
        super().setUp()
        self.me = self.client(name="mine", witness=True)
        self.mine = self.open(self.me, "frames")
        self.other = self.one.open("frames", write=True)

    def open(self, client, name, **options):
        pool = client.open(name, **{"write": True, "map": True, **options})
        self.addCleanup(pool.unmap)
        return pool

    def open_leased(self, name="leased", **options):
        """As `mine` and as `other`."""
        mine = self.open(self.me, name, create=True, kind=LEASED, object_size=64, capacity=CAPACITY,
                         **options)
        return mine, self.one.open(name, write=True)

    def session(self, client=None):
        """What the daemon says of it; None once it has ended."""
        number = (client or self.me).hello["session"]
        sessions = self.one.call("sessions", after=number - 1)["sessions"]
        return next((each for each in sessions if each["session"] == number), None)

    def lose(self):
        """The connection, which the daemon notices."""
        self.me.socket.close()
        self.until(lambda: not self.session()["connected"])

    def send_waiting(self, pool, **options):
        """A request that finds no room, once it waits."""
        name = self.one.call("pool.list", after=pool.number - 1)["pools"][0]["name"]
        before = self.stats(name)["waiters"]
        msgid = pool.send_allocate(timeout=NS_MAX, **options)
        self.wait_for_waiters(before + 1, name)
        return msgid

    def wait_for_handles(self, client, msgid):
        return unpack_handles(client.wait(msgid)["handles"])


class TestResume(ResumeCase):
    """Of one's own session."""

    def test_a_lost_connection_is_replaced(self):
        handle, other = self.mine.allocate(count=2)
        self.mine.get(handle)[:4] = b"kept"
        self.lose()
        self.assertEqual(self.usage(), 2)
        reply = self.me.resume(self.mine)
        self.assertEqual(reply, {"release": self.me.hello["release"], "descriptors": 0})
        self.assertTrue(self.session()["connected"])
        self.assertEqual(bytes(self.mine.get(handle)[:4]), b"kept")
        self.assertEqual(self.mine.free(handle, other), 2)
        self.assertEqual(self.usage(), 0)

    def test_it_is_the_same_session_and_the_same_member(self):
        self.mine.allocate()
        before = self.session()
        for _ in range(20):
            self.me.resume(self.mine)
            self.assertEqual(self.session(), before)
        again = self.me.call("pool.open", name="frames", write=True)
        self.assertEqual(again["member"], self.mine.reply["member"])

    def test_nothing_of_the_connections_before_is_left_in_the_daemon(self):
        leased, _ = self.open_leased()
        before = self.daemon.descriptors()
        for _ in range(20):
            reply = self.me.resume(self.mine, leased)
            for descriptor in self.me.take_descriptors(reply["descriptors"]):
                os.close(descriptor)
        self.until(lambda: self.daemon.descriptors() == before)

    def test_a_connection_that_is_still_open_is_closed_by_the_daemon(self):
        handle, = self.mine.allocate()
        new = self.connect()
        self.me.send_resume(new, self.mine)
        self.assertIsNone(self.me.wait_closed())
        self.assertTrue(self.session()["connected"])
        self.assertEqual(self.session()["allocated"], 1)
        self.assertEqual(self.other.free(handle), 1)

    def test_a_pool_whose_descriptors_were_not_received_is_left(self):
        self.make("second")
        msgid = self.me.send("pool.open", {"name": "second", "map": True})
        self.until(lambda: self.session()["pools"] == 2)
        self.me.send_resume(self.connect(), self.mine)
        self.assertEqual(self.session()["pools"], 1)
        self.assertEqual(self.me.wait(msgid)["descriptors"], 3)
        self.assertIsNone(self.me.wait_closed())

    def test_requests_that_waited_are_forgotten_without_an_answer(self):
        taken = self.other.allocate(count=CAPACITY)
        waiting = self.send_waiting(self.mine)
        listening = self.me.send_events(after=self.me.events()["next"], timeout=-1)
        self.until(lambda: self.session()["waiting"] == 2)
        new = self.connect()
        self.me.send_resume(new, self.mine)
        self.me.wait_closed()
        self.assertFalse({waiting, listening} & set(self.me.order))
        self.assertEqual((self.session()["waiting"], self.stats()["waiters"]), (0, 0))
        self.other.free(*taken)
        self.assertEqual(self.usage(), 0)

    def test_who_waited_behind_them_is_served(self):
        self.other.allocate(count=CAPACITY - 1)
        self.send_waiting(self.mine, count=2)
        behind = self.send_waiting(self.other)
        self.me.send_resume(self.connect(), self.mine)
        self.assertEqual(len(self.wait_for_handles(self.one, behind)), 1)

    def test_a_session_without_a_witness_is_taken_over_while_it_is_connected(self):
        plain = self.client(name="plain")
        pool = plain.open("frames", write=True)
        handle, = pool.allocate()
        new = self.connect()
        plain.send_resume(new, pool)
        self.assertIsNone(plain.wait_closed())
        self.assertEqual(self.session(plain)["allocated"], 1)
        self.assertEqual(self.other.free(handle), 1)

    def test_another_process_may_and_need_not_live_longer_than_its_connection(self):
        script = ("import sys; sys.path.insert(0, sys.argv[1])\n"
                  "from protocol_client import *\n"
                  "connection = Connection(sys.argv[2])\n"
                  "connection.call('resume', version=VERSION, session=int(sys.argv[3]),\n"
                  "                token=bytes.fromhex(sys.argv[4]),\n"
                  "                pools=bytes.fromhex(sys.argv[5]))\n"
                  "print(flush=True); sys.stdin.read()")
        process = subprocess.Popen(
            [sys.executable, "-c", script, os.path.dirname(os.path.abspath(__file__)),
             self.daemon.socket, str(self.me.hello["session"]), self.me.hello["token"].hex(),
             struct.pack("<I", self.mine.number).hex()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=die_with_us)
        self.addCleanup(self.end_process, process)
        self.assertEqual(process.stdout.readline(), b"\n")
        self.assertEqual(self.session()["pid"], process.pid)
        self.end_process(process)
        self.until(lambda: not self.session()["connected"])
        self.me.resume(self.mine)
        self.assertEqual(self.session()["pid"], os.getpid())

    def test_the_session_ends_as_others_do(self):
        self.mine.allocate(count=3)
        self.me.resume(self.mine)
        self.mine.unmap()
        self.me.close()
        self.until(lambda: self.session() is None)
        self.assertEqual((self.usage(), self.stats()["reclaimed"]), (0, 3))


class TestRefusals(ResumeCase):
    """Of who may not."""

    def refusal(self, connection, **options):
        with self.assertRaises(Refusal) as context:
            self.me.send_resume(connection, self.mine, **options)
        return context.exception

    def assert_unknown(self, connection, **options):
        refusal = self.refusal(connection, **options)
        self.assertEqual((refusal.name, refusal.detail), ("NO_SUCH_SESSION", {}))
        return refusal.message

    def test_every_byte_of_the_token_counts_and_nothing_else_is_told(self):
        connection, token = self.connect(), self.me.hello["token"]
        messages = {self.assert_unknown(connection, session=number)
                    for number in (0, self.me.hello["session"] + 1, 2 ** 64 - 1)}
        messages.add(self.assert_unknown(connection, session=self.one.hello["session"]))
        for i in range(TOKEN_SIZE):
            for bit in (1, 128):
                wrong = token[:i] + bytes([token[i] ^ bit]) + token[i + 1:]
                messages.add(self.assert_unknown(connection, token=wrong))
        for wrong in (b"", token[:-1], bytes(TOKEN_SIZE), self.one.hello["token"]):
            messages.add(self.assert_unknown(connection, token=wrong))
        self.assertEqual(len(messages), 1)
        self.assertEqual(self.refusal(connection, token=token + b"\0").name, "INVALID_ARGUMENT")
        self.assertTrue(self.me.call("ping"))  # its connection is still there
        self.me.send_resume(connection, self.mine)

    @unittest.skipUnless(can_be_another(), "needs other users")
    def test_another_user_may_not(self):
        os.chmod(self.daemon.directory, 0o755)
        os.chmod(self.daemon.socket, 0o666)
        with acting(STRANGER, STRANGER, []):
            connection, theirs = self.connect(), self.client()
        message = self.assert_unknown(connection)
        self.assertEqual(message, self.assert_unknown(self.connect(), session=0))
        with self.assertRaises(Refusal) as context:
            theirs.send_resume(self.connect())  # nor may root
        self.assertEqual(context.exception.message, message)
        self.assertTrue(self.me.call("ping"))

    def test_another_version_is_refused_and_the_connection_stays(self):
        connection = self.connect()
        for version in (0, VERSION - 1, VERSION + 1):
            refusal = self.refusal(connection, version=version)
            self.assertEqual((refusal.name, refusal.detail),
                             ("PROTOCOL_MISMATCH", {"requested": version, "actual": VERSION}))
        self.me.send_resume(connection, self.mine)

    def test_a_connection_has_one_session(self):
        for connection in (self.one, self.me):
            self.assertEqual(self.refusal(connection).name, "INVALID_ARGUMENT")
        self.me.resume(self.mine)
        self.assertEqual(self.refusal(self.me).name, "INVALID_ARGUMENT")
        self.assert_refused("INVALID_ARGUMENT", self.me.call, "hello", version=VERSION)
        self.assertTrue(self.session()["connected"])

    def test_a_session_that_ended_is_none(self):
        plain = self.client()
        plain.close()
        self.until(lambda: self.session(plain) is None)
        gone = self.assert_unknown(self.connect(), session=plain.hello["session"],
                                   token=plain.hello["token"])
        self.mine.unmap()
        self.me.close()
        self.until(lambda: self.session() is None)
        self.assertEqual(self.assert_unknown(self.connect()), gone)

    def test_pools_are_numbers_of_four_bytes(self):
        connection = self.connect()
        for size in (1, 2, 3, 5, 4 * OPEN_MAX + 1):
            refusal = self.refusal(connection, pools=bytes(size))
            self.assertEqual((refusal.name, refusal.detail),
                             ("INVALID_ARGUMENT", {"field": "pools"}))
        self.assertEqual(self.session()["pools"], 1)


class TestPools(ResumeCase):
    """Which of them stay open."""

    def test_those_left_out_are_left(self):
        second = self.open(self.me, "second", create=True, object_size=8, capacity=4)
        third = self.open(self.me, "third", create=True, object_size=8, capacity=4)
        for pool in (self.mine, second, third):
            pool.allocate(count=2)
        self.me.resume(second)
        self.assertEqual([self.usage(name) for name in ("frames", "second", "third")], [0, 2, 0])
        self.assertEqual(self.session()["pools"], 1)
        self.assert_refused("NOT_A_MEMBER", third.allocate)
        self.assertEqual(len(second.allocate()), 1)

    def test_who_waits_for_what_is_left_gets_it(self):
        self.mine.allocate(count=CAPACITY)
        waiting = self.send_waiting(self.other)
        self.me.resume()
        self.assertEqual(len(self.wait_for_handles(self.one, waiting)), 1)
        self.assertEqual(self.session()["pools"], 0)

    def test_a_session_that_has_left_all_ends_with_its_witness(self):
        self.me.resume()
        self.me.socket.close()
        self.until(lambda: not self.session()["connected"])
        self.me.witness.close()
        self.until(lambda: self.session() is None)

    def test_numbers_of_others_mean_nothing(self):
        second = self.make("second")
        destroyed = self.open(self.me, "third", create=True, object_size=8, capacity=4)
        self.one.call("pool.destroy", name="third", force=True)
        numbers = [0, second.number, destroyed.number, self.mine.number, self.mine.number,
                   2 ** 32 - 1]
        self.me.resume(pools=struct.pack("<6I", *numbers))
        self.assertEqual(self.session()["pools"], 1)
        numbers = [*range(1000, 1000 + OPEN_MAX - 1), self.mine.number]
        self.me.resume(pools=struct.pack(f"<{OPEN_MAX}I", *numbers))
        self.assertEqual(self.session()["pools"], 1)


class TestBell(ResumeCase):
    """By which the daemon hears of frees in leased pools."""

    def setUp(self):
        super().setUp()
        self.leased, self.waiter = self.open_leased()

    def free_silently(self, handle):
        """As a member does, but for the bell."""
        member = self.leased.reply["member"]
        self.assertEqual(self.leased.words[handle.index],
                         handle.generation << 16 | member << 3 | LIVE)
        self.leased.words[handle.index] = handle.generation + 1 << 16 | member << 3 | RETURNED
        struct.pack_into("<Q", self.leased.slots, 0, 1)

    def take_bell(self, reply):
        self.assertEqual(reply["descriptors"], 1)
        bell, = self.me.take_descriptors(1)
        self.addCleanup(os.close, bell)
        return bell

    def test_there_is_one_for_leased_pools_that_are_open_for_writing(self):
        reader = self.client(witness=True)
        pool = self.open(reader, "leased", write=False)
        self.assertEqual(reader.resume(pool)["descriptors"], 0)
        self.take_bell(self.me.resume(self.mine, self.leased))
        self.assertEqual(self.me.resume(self.mine)["descriptors"], 0)
        self.assertEqual(self.session()["pools"], 1)

    def test_the_new_one_is_heard(self):
        handles = self.leased.allocate(count=CAPACITY)
        waiting = [self.send_waiting(self.waiter) for _ in range(3)]
        for i, msgid in enumerate(waiting):
            self.me.socket.close()
            bell = self.take_bell(self.me.resume(self.leased))
            self.free_silently(handles[i])
            os.write(bell, struct.pack("=Q", 1))
            self.assertEqual(len(self.wait_for_handles(self.one, msgid)), 1)

    def test_what_was_freed_before_is_seen(self):
        handles = self.leased.allocate(count=CAPACITY)
        waiting = self.send_waiting(self.waiter)
        self.free_silently(handles[0])
        self.take_bell(self.me.resume(self.leased))
        self.assertEqual(len(self.wait_for_handles(self.one, waiting)), 1)

    def test_what_is_freed_while_there_is_no_connection_is_seen(self):
        handles = self.leased.allocate(count=CAPACITY)
        for handle in handles:
            waiting = self.send_waiting(self.waiter)
            self.lose()
            self.free_silently(handle)
            self.assertEqual(len(self.wait_for_handles(self.one, waiting)), 1)
            self.take_bell(self.me.resume(self.leased))


class TestSettle(ResumeCase):
    """Requests whose outcome nobody waits for."""

    def last(self, client=None):
        """That of the last allocate."""
        return (client or self.me).requests

    def granted(self, pool, **options):
        """A request's number, and its handles."""
        handles = pool.allocate(**options)
        return self.last(pool.client), handles

    def assert_live(self, *handles):
        for handle in handles:
            self.assertIsNotNone(self.mine.get(handle))

    def test_what_they_were_granted_is_freed_and_nothing_else(self):
        leased, _ = self.open_leased()
        for pool in (self.mine, leased):
            name = "frames" if pool is self.mine else "leased"
            first, kept = self.granted(pool)[1], self.granted(pool, count=2)
            number, lost = self.granted(pool, count=3)
            self.assertEqual(self.me.settle(number), (3, 0))
            self.assertEqual([pool.get(each) for each in lost], [None] * 3)
            self.assertEqual(self.usage(name), 3)
            for each in (*first, *kept[1]):
                self.assertIsNotNone(pool.get(each))
            self.assertEqual(self.me.settle(kept[0], number), (2, 0))
            self.assertEqual(pool.free(*first), 1)

    def test_in_all_pools_at_once(self):
        leased, _ = self.open_leased()
        second = self.open(self.me, "second", create=True, object_size=8, capacity=4)
        numbers = [self.granted(pool, count=2)[0] for pool in (self.mine, leased, second)]
        self.assertEqual(self.me.settle(*reversed(numbers)), (6, 0))
        self.assertEqual([self.usage(name) for name in ("frames", "leased", "second")], [0] * 3)

    def test_twice_is_harmless(self):
        number, _ = self.granted(self.mine, count=2)
        self.assertEqual(self.me.settle(number, number), (2, 0))
        kept, = self.mine.allocate()
        for _ in range(2):
            self.assertEqual(self.me.settle(number), (0, 0))
        self.assert_live(kept)

    def test_after_a_lost_connection(self):
        lost = self.mine.send_allocate(count=3)
        self.until(lambda: self.usage() == 3)
        self.assertNotIn(lost, self.me.replies)
        number = self.last()
        self.lose()
        self.me.resume(self.mine)
        self.assertEqual(self.me.settle(number, number + 1), (3, 0))
        self.assertEqual(self.usage(), 0)
        self.assertEqual(len(self.mine.allocate(count=CAPACITY)), CAPACITY)

    def test_those_that_wait_end_without_an_answer(self):
        taken = self.other.allocate(count=CAPACITY)
        waiting = [(self.send_waiting(self.mine), self.last()) for _ in range(3)]
        self.assertEqual(self.me.settle(waiting[0][1], waiting[2][1]), (0, 2))
        self.assertEqual((self.session()["waiting"], self.stats()["waiters"]), (1, 1))
        self.other.free(*taken)
        self.assertEqual(len(self.wait_for_handles(self.me, waiting[1][0])), 1)
        self.me.call("ping")
        self.assertFalse({waiting[0][0], waiting[2][0]} & set(self.me.order))
        self.assertEqual(self.usage(), 1)

    def test_who_waits_gets_what_is_free_then(self):
        for mine, other in ((self.mine, self.other), self.open_leased()):
            number, _ = self.granted(mine, count=CAPACITY - 1)
            self.send_waiting(mine, count=2)
            behind = self.send_waiting(other, count=CAPACITY - 2)
            self.assertEqual(self.me.settle(number, self.last()), (CAPACITY - 1, 1))
            self.assertEqual(len(self.wait_for_handles(self.one, behind)), CAPACITY - 2)

    def test_none_of_their_slots_is_granted_to_another_of_them(self):
        number, _ = self.granted(self.mine, count=CAPACITY)
        numbers = [number]
        for _ in range(3):
            self.send_waiting(self.mine, count=CAPACITY)
            numbers.append(self.last())
        self.assertEqual(self.me.settle(*numbers), (CAPACITY, 3))
        self.assertEqual(self.usage(), 0)

    def test_others_requests_of_the_same_number_are_not_meant(self):
        handle, = self.other.allocate()
        waiting = self.other.client.requests
        self.me.requests = waiting + 1
        self.assertEqual(self.me.settle(waiting), (0, 0))
        self.assert_live(handle)
        self.mine.allocate(count=CAPACITY - 1)
        msgid = self.send_waiting(self.other)
        self.assertEqual(self.me.settle(self.last(self.one)), (0, 0))
        self.other.free(handle)
        self.assertEqual(len(self.wait_for_handles(self.one, msgid)), 1)

    def test_what_changed_hands_stays(self):
        for pool, other in ((self.mine, self.other), self.open_leased()):
            number, handles = self.granted(pool, count=4)
            other.adopt(handles[0])
            other.retain(handles[1])
            pool.detach(handles[2])
            self.assertEqual(self.me.settle(number), (1, 0))
            self.assertIsNone(pool.get(handles[3]))
            for each in handles[:3]:
                self.assertIsNotNone(pool.get(each))
            other.free(handles[0], handles[2])

    def test_in_a_leased_pool_what_was_freed_by_itself_stays_so(self):
        leased, other = self.open_leased()
        number, handles = self.granted(leased, count=3)
        member = leased.reply["member"]
        for handle, state in zip(handles, (CACHED, RETURNED)):
            leased.words[handle.index] = handle.generation + 1 << 16 | member << 3 | state
        self.assertEqual(self.me.settle(number), (1, 0))
        for handle, state in zip(handles, (CACHED, RETURNED)):
            self.assertEqual(leased.words[handle.index] & 7, state)
        self.assertEqual(self.usage("leased"), 0)
        self.assertEqual(len(other.allocate(count=CAPACITY)), CAPACITY)

    def test_in_a_leased_pool_a_word_that_cannot_be_is_put_out_of_use(self):
        leased, _ = self.open_leased()
        number, handles = self.granted(leased, count=2)
        leased.words[handles[0].index] = 0
        self.assertEqual(self.me.settle(number), (1, 0))
        self.assertTrue(self.info("leased")["damaged"])
        self.assertEqual(self.usage("leased"), 0)

    def test_they_are_not_charged_any_more(self):
        self.one.call("pool.create", name="small", object_size=8, capacity=8, session_slots=3,
                      user_slots=4, owner_frees=True)
        pool = self.open(self.me, "small")
        for _ in range(3):
            number, _ = self.granted(pool, count=3)
            self.assert_refused("QUOTA_EXCEEDED", pool.allocate)
            self.assertEqual(self.me.settle(number), (3, 0))

    def test_evictable_ones_are_not_evicted_afterwards(self):
        number, _ = self.granted(self.mine, count=CAPACITY, evictable=True)
        self.assertEqual(self.me.settle(number), (CAPACITY, 0))
        handles = self.other.allocate(count=CAPACITY)
        self.assert_refused("POOL_EXHAUSTED", self.mine.allocate, priority=1)
        self.assert_live(*handles)

    def test_numbers_have_eight_bytes_each(self):
        handle, = self.mine.allocate()
        for size in (0, 1, 7, 9, 15, 8 * SETTLE_MAX - 1, 8 * SETTLE_MAX + 1, 8 * SETTLE_MAX + 8):
            detail = self.assert_refused("INVALID_ARGUMENT", self.me.call, "settle",
                                         requests=b"\1" * size)
            self.assertEqual(detail, {"field": "requests"})
        self.assert_live(handle)

    def test_none_is_zero(self):
        handle, = unpack_handles(self.me.call("allocate", pool=self.mine.number,
                                              request=0)["handles"])
        for numbers in ((0,), (1, 0), (0, 2 ** 64 - 1), (1,) * (SETTLE_MAX - 1) + (0,)):
            self.assert_refused("INVALID_ARGUMENT", self.me.settle, *numbers)
        self.assert_live(handle)

    def test_as_many_as_there_may_be(self):
        numbers = [self.granted(self.mine)[0] for _ in range(CAPACITY)]
        unknown = [2 ** 64 - 1 - i for i in range(SETTLE_MAX - CAPACITY)]
        self.assertEqual(self.me.settle(*unknown, *numbers), (CAPACITY, 0))
        self.assertEqual(self.me.settle(*[numbers[0]] * SETTLE_MAX), (0, 0))

    def test_who_only_reads_has_none(self):
        reader = self.client(witness=True)
        self.open(reader, "frames", write=False)
        self.mine.allocate()
        self.assertEqual(reader.settle(1), (0, 0))
        self.assertEqual(self.usage(), 1)


if __name__ == "__main__":
    main()
