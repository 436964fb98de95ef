"""Who holds objects, by the bare protocol: adopt, detach, retain, release; and dead processes."""

from protocol_case import ProtocolCase, main
from protocol_client import Handle

LIVE, SHARED, POOL_MEMBER = 2, 3, 8191


class HoldsCase(ProtocolCase):
    def setUp(self):
        super().setUp()
        self.two = self.client(name="two", witness=True)
        self.mine = self.one.open("frames", write=True)
        self.other = self.two.open("frames", write=True, map=True)

    def state(self, handle):
        """State and member in the slot's word."""
        word = self.other.words[handle.index]
        return word & 7, word >> 3 & 8191

    def assert_refused_at(self, position, error, call, *handles):
        self.assertEqual(self.assert_refused(error, call, *handles),
                         {"pool": "frames", "position": position})

    def holders(self):
        return {holder["name"]: holder["slots"] for holder in
                self.one.call("holders", name="frames")["holders"]}


class TestAdopt(HoldsCase):
    def test_makes_the_object_the_callers(self):
        handle, = self.mine.allocate()
        self.assertEqual(self.state(handle), (LIVE, self.mine.reply["member"]))
        self.assertEqual(self.other.adopt(handle), 1)
        self.assertEqual(self.state(handle), (LIVE, self.other.reply["member"]))
        self.assertEqual(self.mine.close(), 0)
        self.assertIsNotNone(self.other.get(handle))
        self.assertEqual(self.other.close(), 1)

    def test_what_a_process_made_outlives_it(self):
        process, (handle, lost) = self.process(
            "said = pool.allocate(count=2)\n"
            "for handle in said: pool.get(handle)[:] = b'm' * 1000")
        self.mine.adopt(handle)
        self.kill(process)
        self.assertEqual(self.usage(), 1)
        self.assertEqual(bytes(self.other.get(handle)), b"m" * 1000)
        self.assert_refused_at(0, "STALE_HANDLE", self.mine.free, lost)
        self.assertEqual((self.mine.free(handle), self.stats()["reclaimed"]), (1, 1))

    def test_what_a_dead_process_adopted_is_free(self):
        handle, = self.mine.allocate()
        process, _ = self.process("pool.adopt(*handles)", handle)
        self.kill(process)
        self.assert_refused_at(0, "STALE_HANDLE", self.mine.free, handle)
        self.assertEqual((self.usage(), self.stats()["reclaimed"]), (0, 1))

    def test_of_ones_own_changes_nothing(self):
        handle, = self.other.allocate()
        self.assertEqual(self.other.adopt(handle), 1)
        self.assertEqual(self.state(handle), (LIVE, self.other.reply["member"]))

    def test_not_of_what_is_shared(self):
        handle, = self.mine.allocate()
        self.other.retain(handle)
        for pool in (self.mine, self.other):
            self.assert_refused_at(0, "OBJECT_SHARED", pool.adopt, handle)


class TestDetach(HoldsCase):
    def test_makes_the_object_the_pools(self):
        handle, = self.mine.allocate()
        self.assertEqual(self.mine.detach(handle), 1)
        self.assertEqual(self.state(handle), (LIVE, POOL_MEMBER))
        self.one.call("pool.close", pool=self.number)
        self.assertIsNotNone(self.other.get(handle))
        self.assertEqual(self.holders(), {"": 1})
        self.assertEqual(self.other.adopt(handle), 1)
        self.assertEqual(self.holders(), {"two": 1})

    def test_object_outlives_all_sessions(self):
        process, (handle,) = self.process(
            "said = pool.allocate()\npool.get(said[0])[:] = b'm' * 1000\npool.detach(*said)")
        self.kill(process)
        self.assertEqual((self.usage(), self.stats()["reclaimed"]), (1, 0))
        self.assertEqual(bytes(self.other.get(handle)), b"m" * 1000)
        self.assertEqual(self.other.free(handle), 1)

    def test_a_process_adopts_what_a_dead_one_detached(self):
        first, (handle,) = self.process("said = pool.allocate(); pool.detach(*said)")
        self.kill(first)
        second, _ = self.process("pool.adopt(*handles)", handle)
        self.assertEqual(self.holders(), {"other": 1})
        self.kill(second)
        self.assertEqual(self.usage(), 0)

    def test_of_anothers_object(self):
        handle, = self.mine.allocate()
        self.assertEqual(self.other.detach(handle), 1)
        self.assertEqual(self.state(handle), (LIVE, POOL_MEMBER))

    def test_of_a_shared_one_gives_the_pool_ones_own_hold(self):
        handle, = self.mine.allocate()
        self.other.retain(handle)
        self.mine.detach(handle)
        self.assert_refused_at(0, "OBJECT_SHARED", self.mine.detach, handle)
        self.assert_refused_at(0, "NOT_HOLDER", self.mine.release, handle)
        self.other.release(handle)
        self.assertEqual((self.usage(), self.state(handle)[0]), (1, SHARED))
        self.assertEqual(self.mine.adopt(handle), 1)
        self.assertEqual((self.mine.release(handle), self.usage()), (1, 0))


class TestRetain(HoldsCase):
    def test_object_stays_until_the_last_hold_is_released(self):
        for first, second in ((self.mine, self.other), (self.other, self.mine)):
            handle, = self.mine.allocate()
            self.assertEqual(self.other.retain(handle), 1)
            self.assertEqual(self.state(handle), (SHARED, POOL_MEMBER))
            self.assertEqual(first.release(handle), 1)
            self.assertIsNotNone(self.other.get(handle))
            self.assertEqual(second.release(handle), 1)
            self.assertIsNone(self.other.get(handle))

    def test_each_hold_is_released_by_itself(self):
        handle, = self.mine.allocate()
        for _ in range(3):
            self.mine.retain(handle)
        for _ in range(3):
            self.mine.release(handle)
        self.assertEqual(self.usage(), 1)
        self.mine.release(handle)
        self.assertEqual(self.usage(), 0)
        self.assert_refused_at(0, "STALE_HANDLE", self.mine.release, handle)

    def test_release_is_for_holders_only(self):
        handle, = self.mine.allocate()
        self.assert_refused_at(0, "NOT_HOLDER", self.other.release, handle)
        self.other.retain(handle)
        self.other.release(handle)
        self.assert_refused_at(0, "NOT_HOLDER", self.other.release, handle)
        self.assertEqual(self.mine.release(handle), 1)

    def test_nobody_frees_what_others_were_promised(self):
        handle, = self.mine.allocate()
        self.other.retain(handle)
        three = self.client().open("frames", write=True)
        for pool in (self.mine, self.other, three):
            self.assert_refused_at(0, "OBJECT_SHARED", pool.free, handle)
        self.mine.retain(handle)
        self.other.release(handle)
        self.assert_refused_at(0, "OBJECT_SHARED", three.free, handle)
        self.assertEqual((self.mine.free(handle), self.usage()), (1, 0))

    def test_object_outlives_who_made_it(self):
        process, (handle,) = self.process(
            "said = pool.allocate(); pool.get(said[0])[:] = b'm' * 1000")
        self.mine.retain(handle)
        self.kill(process)
        self.assertEqual((self.usage(), self.stats()["reclaimed"]), (1, 0))
        self.assertEqual(bytes(self.other.get(handle)), b"m" * 1000)
        self.assertEqual((self.mine.release(handle), self.usage()), (1, 0))

    def test_dead_holders_let_go(self):
        handle, = self.mine.allocate()
        one, _ = self.process("pool.retain(*handles); pool.retain(*handles)", handle)
        two, _ = self.process("pool.retain(*handles)", handle)
        self.assert_refused_at(0, "OBJECT_SHARED", self.mine.free, handle)
        for process in (one, two):
            process.kill()
        self.kill(one)
        self.assertEqual(self.usage(), 1)
        self.assertEqual(self.mine.free(handle), 1)

    def test_the_last_holders_death_frees(self):
        handle, = self.mine.allocate()
        process, _ = self.process("pool.retain(*handles)", handle)
        self.mine.release(handle)
        self.assertIsNotNone(self.other.get(handle))
        self.kill(process)
        self.assertEqual((self.usage(), self.stats()["reclaimed"]), (0, 1))
        self.assertIsNone(self.other.get(handle))

    def test_close_lets_go(self):
        handle, = self.mine.allocate()
        self.other.retain(handle)
        self.assertEqual((self.mine.close(), self.usage()), (0, 1))
        self.assertEqual((self.other.close(), self.usage()), (1, 0))

    def test_of_a_detached_one(self):
        handle, = self.mine.allocate()
        self.mine.detach(handle)
        self.other.retain(handle)
        self.assertEqual((self.other.release(handle), self.usage()), (1, 1))
        self.assertEqual((self.mine.adopt(handle), self.mine.release(handle)), (1, 1))
        self.assertEqual(self.usage(), 0)

    def test_holds_have_a_limit(self):
        handle, = self.mine.allocate()
        self.mine.retain(handle)
        for _ in range(1022):
            self.mine.retain(handle)
        self.assertEqual(self.assert_refused("LIMIT_EXCEEDED", self.mine.retain, handle),
                         {"max": 1024})
        self.assertEqual(self.mine.free(handle), 1)


class TestOwnerFrees(HoldsCase):
    frames = {"owner_frees": True}

    def test_nobody_else_takes_or_ends_it(self):
        handle, = self.mine.allocate()
        for call in (self.other.free, self.other.adopt, self.other.detach, self.other.release):
            self.assert_refused_at(0, "NOT_HOLDER", call, handle)
        self.assertEqual(self.mine.adopt(handle), 1)
        self.assertEqual(self.mine.free(handle), 1)

    def test_who_adopted_what_was_detached_frees_it(self):
        handle, = self.mine.allocate()
        self.mine.detach(handle)
        for pool in (self.mine, self.other):
            self.assert_refused_at(0, "NOT_HOLDER", pool.free, handle)
        self.other.adopt(handle)
        self.assert_refused_at(0, "NOT_HOLDER", self.mine.free, handle)
        self.assertEqual(self.other.free(handle), 1)

    def test_who_retained_it_holds_it_too(self):
        handle, = self.mine.allocate()
        self.other.retain(handle)
        self.assert_refused_at(0, "OBJECT_SHARED", self.other.free, handle)
        self.mine.release(handle)
        self.assert_refused_at(0, "OBJECT_SHARED", self.mine.free, handle)
        self.assertEqual(self.other.free(handle), 1)


class TestAllOrNone(HoldsCase):
    METHODS = ("free", "release", "retain", "adopt", "detach")

    def test_with_handles_that_are_wrong(self):
        a, b = self.mine.allocate(count=2)
        stale, = self.mine.allocate()
        self.mine.free(stale)
        for method in self.METHODS:
            call = getattr(self.mine, method)
            for handles, error, position in (
                    ((a, b, stale), "STALE_HANDLE", 2),
                    ((a, b, a), "DUPLICATE_HANDLE", 2),
                    ((a, b._replace(pool=b.pool + 1)), "WRONG_POOL", 1),
                    ((Handle(0, 0, 0, 0), a), "WRONG_POOL", 0),
                    ((a, b._replace(nonce=b.nonce ^ 1)), "STALE_HANDLE", 1),
                    ((a, b._replace(index=8)), "STALE_HANDLE", 1)):
                with self.subTest(method=method, error=error):
                    self.assert_refused_at(position, error, call, *handles)
                    for handle in (a, b):
                        self.assertEqual(self.state(handle), (LIVE, self.mine.reply["member"]))

    def test_with_one_that_may_not_be(self):
        a, b = self.mine.allocate(count=2)
        self.other.retain(b)
        for method, error in (("free", "OBJECT_SHARED"), ("adopt", "OBJECT_SHARED")):
            self.assert_refused_at(1, error, getattr(self.mine, method), a, b)
        self.other.allocate()
        for method, error in (("release", "NOT_HOLDER"), ("free", "OBJECT_SHARED")):
            self.assert_refused_at(0, error, getattr(self.other, method), *(
                (a, b) if method == "release" else (b, a)))
        self.assertEqual(self.state(a), (LIVE, self.mine.reply["member"]))
        self.assertEqual(self.state(b), (SHARED, POOL_MEMBER))

    def test_many_at_once(self):
        handles = self.mine.allocate(count=8)
        self.assertEqual(self.other.retain(*handles), 8)
        self.assertEqual(self.mine.release(*handles), 8)
        self.assertEqual(self.other.detach(*handles), 8)
        self.assertEqual(self.mine.adopt(*handles), 8)
        self.assertEqual(self.mine.free(*handles), 8)

    def test_is_for_writers(self):
        handle, = self.mine.allocate()
        reader = self.client().open("frames")
        for method in self.METHODS:
            self.assertEqual(self.assert_refused("NOT_A_MEMBER", getattr(reader, method), handle),
                             {"pool": "frames"})
        self.assertEqual(reader.cancel(), 0)

    def test_what_comes_free_goes_to_who_waits(self):
        held = self.mine.allocate(count=8)
        for end in (lambda: self.mine.release(held[0]), lambda: self.mine.free(held[1])):
            msgid = self.other.send_allocate(timeout=-1)
            self.wait_for_waiters(1)
            end()
            self.assertEqual(len(self.two.wait(msgid)["handles"]), 16)


if __name__ == "__main__":
    main()
