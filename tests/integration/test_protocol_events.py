"""What is told of pools, by the bare protocol: events, watermarks, holders, statistics."""

import os
import unittest

from ctl_case import can_be_another
from protocol_case import NS_MAX, ProtocolCase, main
from protocol_client import Client, Refusal
from test_access import MEMBER, OWNER, STRANGER, TEAM, acting

KEPT, PAGE = 1024, 64


class EventsCase(ProtocolCase):
    def setUp(self):
        super().setUp()
        self.two = self.client(name="two")
        self.mine = self.one.open("frames", write=True)
        self.other = self.two.open("frames", write=True)

    def events(self, **options):
        return self.one.events(**options)["events"]

    def kinds(self, name="frames"):
        return [event["kind"] for event in self.events(name=name)]

    def assert_kinds(self, *kinds, name="frames"):
        self.assertEqual(self.kinds(name), list(kinds))


class TestWatermarks(EventsCase):
    frames = {"watermark": "50%"}

    def test_are_told_once_up_and_once_down(self):
        held = self.mine.allocate(count=3)
        self.assert_kinds()
        held += self.mine.allocate()
        self.assert_kinds("watermark-reached")
        held += self.mine.allocate(count=3)
        self.mine.free(*held[4:])
        self.assert_kinds("watermark-reached")
        self.mine.free(held[3])
        self.assert_kinds("watermark-reached", "watermark-fallen")
        self.mine.free(*held[:3])
        self.assert_kinds("watermark-reached", "watermark-fallen")
        self.assertEqual(self.stats()["watermarks"], 1)

    def test_say_how_it_was(self):
        held = self.mine.allocate(count=5)
        self.mine.free(*held[:2])
        first, second = self.events(name="frames")
        self.assertEqual(second["number"], first["number"] + 1)
        self.assertGreaterEqual(second.pop("time"), first.pop("time"))
        self.assertEqual(first, {"number": 1, "kind": "watermark-reached", "pool": self.number,
                                 "name": "frames", "capacity": 8, "allocated": 5, "count": 5,
                                 "session": 0})
        self.assertEqual((second["kind"], second["allocated"]), ("watermark-fallen", 3))

    def test_are_lines_in_the_log(self):
        held = self.mine.allocate(count=5)
        self.mine.free(*held[:2])
        lines = [line for line in self.daemon.log().splitlines() if "watermark" in line]
        self.assertEqual(lines, [
            "fastallocd: warning: watermark-reached pool=frames count=5 allocated=5 capacity=8 "
            "session=0",
            "fastallocd: info: watermark-fallen pool=frames count=3 allocated=3 capacity=8 "
            "session=0"])

    def test_have_a_margin(self):
        pool = self.make("p", capacity=64, watermark="50%")
        held = pool.allocate(count=32)
        pool.free(*held[:3])
        self.assert_kinds("watermark-reached", name="p")
        pool.free(held[3])
        self.assert_kinds("watermark-reached", "watermark-fallen", name="p")

    def test_by_slots_that_are_left(self):
        pool = self.make("p", capacity=8, watermark="2")
        pool.allocate(count=6)
        self.assert_kinds(name="p")
        pool.allocate()
        self.assert_kinds("watermark-reached", name="p")

    def test_are_at_90_percent_unless_asked_or_off(self):
        for name, options, kinds in (("d", {}, ["watermark-reached"]),
                                     ("o", {"watermark": "off"}, [])):
            pool = self.make(name, capacity=10, **options)
            pool.allocate(count=8)
            self.assert_kinds(name=name)
            pool.allocate(count=1)
            self.assert_kinds(*kinds, name=name)

    def test_growth_leaves_them(self):
        pool = self.make("p", capacity=4, capacity_max=16, watermark="50%")
        pool.allocate(count=3)
        self.one.call("pool.grow", name="p", capacity=16)
        self.assert_kinds("watermark-reached", "grown", "watermark-fallen", name="p")

    def test_of_a_pool_that_grows_by_itself_concern_its_maximum(self):
        pool = self.make("p", capacity=2, capacity_max=8, growth="linear:2", watermark="50%")
        pool.allocate(count=3)
        self.assert_kinds("grown", name="p")
        pool.allocate()
        self.assert_kinds("grown", "watermark-reached", name="p")
        self.one.call("pool.grow", name="p", capacity_max=32)
        self.assert_kinds("grown", "watermark-reached", "watermark-fallen", name="p")


class TestEvents(EventsCase):
    frames = {"watermark": "off"}

    def test_exhaustion_is_told_once_until_a_request_fits(self):
        held = self.mine.allocate(count=8)
        for _ in range(3):
            self.assert_refused("POOL_EXHAUSTED", self.mine.allocate, count=2)
        self.assert_kinds("exhausted")
        self.assertEqual(self.events(name="frames")[0]["count"], 2)
        self.mine.free(held[0])
        self.mine.allocate()
        self.assert_refused("POOL_EXHAUSTED", self.mine.allocate)
        self.assert_kinds("exhausted", "exhausted")

    def test_reclaimed_slots_are_told_with_their_session(self):
        self.other.allocate(count=3)
        number = self.two.hello["session"]
        self.two.close()
        event, = self.events(name="frames", timeout=NS_MAX)
        self.assertEqual((event["kind"], event["count"], event["session"], event["allocated"]),
                         ("reclaimed", 3, number, 0))

    def test_objects_held_for_long_are_told(self):
        pool = self.two.open("p", write=True, create=True, object_size=1, capacity=4,
                             hold_limit=1_000_000)
        held = pool.allocate(count=2)
        event, = self.events(name="p", timeout=NS_MAX)
        self.assertEqual((event["kind"], event["count"], event["session"]),
                         ("held-long", 2, self.two.hello["session"]))
        stats = self.stats("p")
        self.assertEqual((stats["held_long"], stats["total_held_long"]), (2, 2))
        self.assertGreaterEqual(self.one.call("holders", name="p")["holders"][0]["oldest"],
                                1_000_000)
        pool.free(*held)
        stats = self.stats("p")
        self.assertGreaterEqual(stats["hold_p50"], 1_000_000)
        self.assertEqual((stats["held_long"], stats["total_held_long"]), (0, 2))

    def test_who_adopts_an_object_holds_it_anew(self):
        pool = self.two.open("p", write=True, create=True, object_size=1, capacity=4,
                             hold_limit=1_000_000)
        handle, = pool.allocate()
        after = self.one.events(name="p", timeout=NS_MAX)["next"]
        self.one.open("p", write=True).adopt(handle)
        event, = self.events(after=after, name="p", timeout=NS_MAX)
        self.assertEqual((event["kind"], event["session"]),
                         ("held-long", self.one.hello["session"]))

    def test_damage_is_told(self):
        """A process cuts the objects' memory short; it is seen when the process is gone."""
        after = self.one.events()["next"]
        process, _ = self.process("import os; os.ftruncate(pool.descriptors[2], 0)")
        self.assertEqual(self.events(after=after), [])
        self.kill(process)
        event, = self.events(after=after, name="frames")
        self.assertEqual((event["kind"], event["name"], event["count"]), ("damaged", "frames", 0))
        self.assertIn("fastallocd: warning: damaged pool=frames", self.daemon.log())
        self.two.close()
        self.until(lambda: len(self.one.call("sessions")["sessions"]) == 1)
        self.assertEqual(len(self.events(after=after)), 1)

    def test_destruction_is_told(self):
        pool = self.make("p")
        pool.allocate(count=2)
        after = self.one.events()["next"]
        self.one.call("pool.destroy", name="p", force=True)
        event, = self.events(after=after)
        self.assertEqual((event["kind"], event["name"], event["count"]), ("destroyed", "p", 2))

    def test_wait_ends_with_an_event(self):
        msgid = self.two.send_events(timeout=-1)
        self.until(lambda: self.waiting() == 1)
        self.one.call("pool.grow", name="frames", capacity=9, capacity_max=9)
        reply = self.two.wait(msgid)
        self.assertEqual(([event["kind"] for event in reply["events"]], reply["next"],
                          reply["lost"]), (["grown"], 1, 0))
        self.assertEqual(self.waiting(), 0)

    def waiting(self):
        return sum(session["waiting"] for session in self.one.call("sessions")["sessions"])

    def test_wait_times_out_empty(self):
        self.assertEqual(self.one.events(timeout=1_000_000), {"events": [], "next": 0, "lost": 0})
        self.assertEqual(self.one.events(), {"events": [], "next": 0, "lost": 0})
        self.assertEqual(self.waiting(), 0)

    def test_wait_for_one_pool_passes_over_others(self):
        self.make("p", capacity=1, watermark="off").allocate()
        msgid = self.two.send_events(name="p", timeout=-1)
        self.until(lambda: self.waiting() == 1)
        self.mine.allocate(count=8)
        self.assert_refused("POOL_EXHAUSTED", self.mine.allocate)
        self.assertEqual(self.waiting(), 1)
        self.assertEqual(self.kinds("p"), [])
        self.one.call("pool.grow", name="p", capacity=2, capacity_max=2)
        reply = self.two.wait(msgid)
        self.assertEqual(([event["name"] for event in reply["events"]], reply["next"]), (["p"], 2))

    def test_wait_ends_with_its_connection(self):
        self.two.send_events(timeout=-1)
        self.until(lambda: self.waiting() == 1)
        self.two.close()
        self.until(lambda: self.waiting() == 0)

    def test_wait_ends_with_the_daemon(self):
        msgid = self.two.send_events(timeout=-1)
        self.until(lambda: self.waiting() == 1)
        self.one.call("pool.destroy", name="frames", force=True)
        reply = self.two.wait(msgid)
        msgid = self.two.send_events(after=reply["next"], timeout=-1)
        self.until(lambda: self.waiting() == 1)
        self.daemon.process.terminate()
        self.assertEqual(self.assert_refused("SHUTTING_DOWN", self.two.wait, msgid), {})
        self.daemon.stop()

    def test_cancel_leaves_it(self):
        self.two.send_events(timeout=-1)
        self.assertEqual(self.other.cancel(), 0)
        self.assertEqual(self.waiting(), 1)

    def test_of_no_pool(self):
        self.assertEqual(self.assert_refused("NO_SUCH_POOL", self.one.events, name="none"),
                         {"pool": "none"})

    def test_numbers_of_another_daemons_life_begin_anew(self):
        self.one.call("pool.grow", name="frames", capacity=9, capacity_max=9)
        for after in (2, 2 ** 64 - 1):
            reply = self.one.events(after=after)
            self.assertEqual((len(reply["events"]), reply["next"], reply["lost"]), (1, 1, 0))
        self.assertEqual(self.one.events(after=1), {"events": [], "next": 1, "lost": 0})

    def test_those_that_are_lost_are_counted(self):
        pool = self.make("p", capacity=1, watermark="100%")
        for _ in range((KEPT + 100) // 2):
            pool.free(*pool.allocate())
        numbers, after, lost = [], 0, []
        while page := (reply := self.one.events(after=after))["events"]:
            self.assertLessEqual(len(page), PAGE)
            numbers += [event["number"] for event in page]
            after = reply["next"]
            lost.append(reply["lost"])
        self.assertEqual(numbers, list(range(101, KEPT + 101)))
        self.assertEqual((lost[0], set(lost[1:])), (100, {0}))
        self.assertEqual(self.one.events(after=100)["lost"], 0)
        self.assertEqual(self.one.events(after=99)["lost"], 1)

    def test_what_was_lost_is_said_at_once(self):
        pool = self.make("p", capacity=1, watermark="100%")
        for _ in range(KEPT):
            pool.free(*pool.allocate())
        reply = self.one.events(name="frames", timeout=-1)
        self.assertEqual(reply, {"events": [], "next": 2 * KEPT, "lost": KEPT})
        self.assertEqual(self.one.events(name="frames", after=reply["next"]),
                         {"events": [], "next": 2 * KEPT, "lost": 0})

    def test_those_of_a_daemon_that_died_are_lost_and_counted(self):
        for capacity in (9, 10, 11):
            self.one.call("pool.grow", name="frames", capacity=capacity, capacity_max=capacity)
        self.daemon.die_and_start()
        late = self.client(name="late")
        self.assertEqual(late.events(after=1), {"events": [], "next": 3, "lost": 2})
        self.assertEqual(late.events(after=3), {"events": [], "next": 3, "lost": 0})
        late.call("pool.grow", name="frames", capacity=12, capacity_max=12)
        reply = late.events(after=1)
        self.assertEqual([event["number"] for event in reply["events"]], [4])
        self.assertEqual((reply["next"], reply["lost"]), (4, 2))

    def test_pages_pass_over_other_pools(self):
        pool = self.make("p", capacity=1, watermark="100%")
        for _ in range(PAGE):
            pool.free(*pool.allocate())
        self.one.call("pool.grow", name="frames", capacity=9, capacity_max=9)
        reply = self.one.events(name="frames")
        self.assertEqual((len(reply["events"]), reply["next"]), (1, 2 * PAGE + 1))


@unittest.skipUnless(can_be_another(), "needs other users")
class TestWhoHears(EventsCase):
    frames = {"watermark": "100%"}

    def setUp(self):
        super().setUp()
        os.chmod(self.daemon.directory, 0o755)
        os.chmod(self.daemon.socket, 0o666)

    def someone(self, uid, gid):
        with acting(uid, gid, []):
            return self.client()

    def test_who_may_read_also_of_what_is_gone(self):
        owner, member, stranger = (self.someone(OWNER, TEAM), self.someone(MEMBER, TEAM),
                                   self.someone(STRANGER, STRANGER))
        owner.open("p", write=True, create=True, object_size=1, capacity=1, mode=0o640).allocate()
        self.mine.allocate(count=8)
        everybody = (self.one, owner, member, stranger)
        self.assertEqual([[event["name"] for event in client.events()["events"]]
                          for client in everybody], [["p", "frames"], ["p"], ["p"], []])
        self.assertEqual({client.events()["next"] for client in everybody}, {2})
        with self.assertRaisesRegex(Refusal, "NOT_PERMITTED"):
            stranger.events(name="p")
        owner.call("pool.destroy", name="p", force=True)
        self.assertEqual([[event["kind"] for event in client.events(after=2)["events"]]
                          for client in everybody], [["destroyed"], ["destroyed"], ["destroyed"], []])

    def test_who_may_administer(self):
        stranger = self.someone(STRANGER, STRANGER)
        for method in ("pool.grow", "pool.trim", "stats.reset"):
            self.assertEqual(self.assert_refused("NOT_PERMITTED", stranger.call, method,
                                                 name="frames"), {"pool": "frames"})
        stranger.open("p", create=True, object_size=1, capacity=1, mode=0o001)
        member = self.someone(MEMBER, TEAM)
        for method in ("pool.grow", "pool.trim", "stats.reset"):
            stranger.call(method, name="p")
            member.call(method, name="p")

    def test_a_group_that_one_is_not_in_is_refused(self):
        stranger = self.someone(STRANGER, STRANGER)
        self.assertEqual(self.assert_refused("INVALID_ARGUMENT", stranger.call, "pool.create",
                                             name="p", object_size=1, capacity=1, gid=TEAM),
                         {"field": "gid"})
        stranger.call("pool.create", name="p", object_size=1, capacity=1, gid=STRANGER)
        self.assertEqual(self.info("p")["gid"], STRANGER)


class TestHolders(EventsCase):
    def test_are_listed_most_first(self):
        self.assertEqual(self.one.call("holders", name="frames"), {"holders": []})
        self.mine.allocate(count=2)
        self.other.allocate(count=3)
        self.other.detach(*self.other.allocate())
        holders = self.one.call("holders", name="frames")["holders"]
        self.assertEqual([(holder["session"], holder["name"], holder["slots"])
                          for holder in holders],
                         [(self.two.hello["session"], "two", 3),
                          (self.one.hello["session"], "one", 2), (0, "", 1)])
        for holder in holders[:2]:
            self.assertGreater(holder.pop("oldest"), 0)
            self.assertEqual((holder["pid"], holder["uid"], holder["connected"]),
                             (os.getpid(), os.geteuid(), True))

    def test_of_shared_objects_each_is_listed(self):
        handle, = self.mine.allocate()
        self.other.retain(handle)
        self.assertEqual(sorted((holder["name"], holder["slots"]) for holder in
                                self.one.call("holders", name="frames")["holders"]),
                         [("one", 1), ("two", 1)])

    def test_are_named_in_refusals(self):
        self.mine.allocate(count=8)
        self.assert_refused("POOL_EXHAUSTED", self.other.allocate)
        self.assertIn(f"session {self.one.hello['session']} 'one' (pid {os.getpid()}", self.holders)
        self.assertIn("8 slots", self.holders)

    def test_are_named_in_the_log_once(self):
        self.mine.allocate(count=6)
        self.other.allocate(count=2)
        for _ in range(2):
            self.assert_refused("POOL_EXHAUSTED", self.mine.allocate, count=3)
        line, = (line for line in self.daemon.log().splitlines() if "exhausted" in line)
        who = f"pid {os.getpid()}, uid {os.geteuid()}"
        self.assertRegex(line, r"^fastallocd: warning: exhausted pool=frames asked=3 allocated=8 "
                               r"capacity=8 waiting=0 held by: "
                               rf"session \d+ 'one' \({who}\): 6 slots, for up to [\d.]+ [num]?s; "
                               rf"session \d+ 'two' \({who}\): 2 slots, for up to [\d.]+ [num]?s$")

    def test_are_a_page_at_most(self):
        pool = self.make("p", capacity=100)
        for _ in range(70):
            self.client().open("p", write=True).allocate()
        pool.allocate(count=2)
        holders = self.one.call("holders", name="p")["holders"]
        self.assertEqual((len(holders), holders[0]["name"], holders[0]["slots"]), (PAGE, "one", 2))

    def test_who_is_gone_but_for_its_mapping_is_not_connected(self):
        three = self.client(name="three", witness=True)
        three.open("frames", write=True, map=True).allocate()
        three.socket.close()
        self.until(lambda: not self.one.call("holders", name="frames")["holders"][0]["connected"])
        three.witness.close()
        self.until(lambda: self.usage() == 0)

    def test_of_no_pool(self):
        self.assert_refused("NO_SUCH_POOL", self.one.call, "holders", name="none")


class TestStatistics(EventsCase):
    def test_begin_anew_with_what_is_so_now(self):
        held = self.mine.allocate(count=8)
        self.assert_refused("TIMEOUT", self.other.allocate, timeout=1)
        self.mine.free(*held[:3])
        self.assertEqual(self.one.call("stats.reset", name="frames"), {})
        stats = self.stats()
        self.assertGreaterEqual(stats.pop("age"), 0)
        self.assertEqual(stats.pop("average_usage"), 5000)
        self.assertEqual(stats, {
            "pool": self.number, "capacity": 8, "current_usage": 5, "available": 3,
            "cached": 0, "peak_usage": 5, "total_allocations": 0, "total_deallocations": 0,
            "allocation_failures": 0, "timeouts": 0, "reclaimed": 0, "waiters": 0,
            "total_waits": 0, "growth_count": 0, "evictions": 0, "watermarks": 0, "held_long": 0,
            "total_held_long": 0, "wait_p50": 0, "wait_p99": 0, "wait_max": 0, "hold_p50": 0,
            "hold_p99": 0, "hold_max": 0})
        self.mine.free(*held[3:])
        self.assertEqual(self.stats()["total_deallocations"], 5)

    def test_keep_those_who_wait(self):
        self.mine.allocate(count=8)
        msgid = self.other.send_allocate(timeout=-1)
        self.two.call("ping")
        self.one.call("stats.reset", name="frames")
        self.assertEqual(self.stats()["waiters"], 1)
        self.other.cancel()
        self.assert_refused("CANCELLED", self.two.wait, msgid)

    def test_average_is_over_the_time(self):
        self.mine.allocate(count=8)
        average = self.stats()["average_usage"]
        self.assertTrue(0 < average < 8000, average)
        self.one.call("stats.reset", name="frames")
        self.assertEqual(self.stats()["average_usage"], 8000)

    def test_percentiles_are_a_quarter_too_high_at_most(self):
        handle, = self.mine.allocate()
        self.mine.free(handle)
        stats = self.stats()
        self.assertGreater(stats["hold_max"], 0)
        for name in ("hold_p50", "hold_p99"):
            self.assertEqual(stats[name], stats["hold_max"])

    def test_age_is_the_time_since(self):
        with Client(self.daemon.socket) as client:
            first = client.call("stats", name="frames")["age"]
            second = client.call("stats", name="frames")["age"]
            self.assertGreaterEqual(second, first)
            client.call("stats.reset", name="frames")
            self.assertLess(client.call("stats", name="frames")["age"], NS_MAX)

    def test_of_no_pool(self):
        self.assert_refused("NO_SUCH_POOL", self.one.call, "stats.reset", name="none")


if __name__ == "__main__":
    main()
