"""fastallocctl tells what pools go through: statistics, holders, events, advice."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import ctl_case
from ctl_case import CTL, DEADLINE, OK, WithDaemon

HOLDER_FIELDS = {"session", "name", "pid", "uid", "connected", "slots", "share", "oldest"}
EVENT_FIELDS = {"number", "time", "date", "kind", "pool", "id", "capacity", "allocated", "count",
                "session"}
ADVICE_FIELDS = {"pool", "verdict", "advised", "capacity", "capacity_max", "kind", "growth", "margin",
                 "age", "peak_usage", "average_usage", "total_allocations", "cached", "needed",
                 "allocation_failures", "total_waits", "wait_p99", "growth_count", "command"}


class WatchCase(WithDaemon):
    def small(self, *more, name="small"):
        """A pool of ten slots, opened."""
        self.ok("pool", "create", name, "--size", "64", "--capacity", "10", *more)
        return self.open(name)

    def exhaust(self, pool, **options):
        """A request that must be refused."""
        from protocol_client import Refusal
        with self.assertRaises(Refusal):
            pool.allocate(**options)

    def events(self, *arguments):
        result = self.run_ctl("events", *arguments, "--json")
        self.assert_status(result, OK)
        return [json.loads(line) for line in result.out.splitlines()]

    def kinds(self, *arguments):
        return [event["kind"] for event in self.events(*arguments)]


class TestStats(WatchCase):
    def stats(self, name="small"):
        return self.ok("stats", name)["stats"][0]

    def test_rates_are_ratios_in_json_and_percent_for_people(self):
        pool = self.small()
        pool.free(*pool.allocate(count=9)[:3])
        self.exhaust(pool, count=5)
        stats = self.stats()
        self.assertEqual((stats["current_usage"], stats["peak_usage"]), (6, 9))
        self.assertAlmostEqual(stats["utilization_rate"], 0.6)
        self.assertAlmostEqual(stats["hit_rate"], 0.9)
        self.assertGreater(stats["average_usage"], 0)
        self.assertGreater(stats["age"], 0)
        page = self.text("stats", "small")
        for line in ("in use +6  60.0 %", "allocated +9  hit rate 90.0 %", "failed +1  .*",
                     r"peak +9  in use at once; \d\.\d on average"):
            self.assertRegex(page, rf"(?m)^  {line}$")
        header, row = self.text("stats").splitlines()
        self.assertIn("HIT %", header)
        self.assertEqual(row.split(),
                         ["small", "10", "6", "60", "-", "9", "9", "3", "1", "90", "0", "0"])

    def test_what_members_have_cached_is_told(self):
        pool = self.small("--leased")
        pool.client.call("lease", pool=pool.number, count=2)
        row = self.text("stats").splitlines()[1]
        self.assertEqual(row.split()[:6], ["small", "10", "0", "0", "2", "0"])

    def test_times_are_in_readable_units(self):
        pool = self.small()
        handles = pool.allocate(count=10)
        other = self.open("small", "waiter")
        request = other.send_allocate(count=1, timeout=-1)
        self.until(lambda: self.stats()["waiters"] == 1)
        pool.free(*handles)
        other.client.wait(request)
        stats = self.stats()
        self.assertEqual((stats["waiters"], stats["total_waits"]), (0, 1))
        self.assertGreater(stats["wait_max"], 0)
        self.assertGreater(stats["hold_max"], 0)
        page = self.text("stats", "small")
        duration = r"[\d.]+ (?:ns|us|ms|s)"
        self.assertRegex(page, rf"(?m)^  waiting +0  now; 1 ever had to$")
        for label in ("waited", "held"):
            self.assertRegex(page, rf"(?m)^  {label} +{duration}  at most; p50 {duration}, "
                                   rf"p99 {duration}$")

    def test_growth_and_watermark_are_counted(self):
        pool = self.small("--max", "20", "--growth", "linear:5", "--watermark", "50%")
        pool.allocate(count=12)
        stats = self.stats()
        self.assertEqual((stats["capacity"], stats["capacity_max"], stats["growth_count"]),
                         (15, 20, 1))
        self.assertRegex(self.text("stats", "small"), r"(?m)^  grows up to +20$")
        self.assertGreaterEqual(stats["watermarks"], 1)

    def test_reset_begins_anew(self):
        pool = self.small()
        pool.free(*pool.allocate(count=9)[:7])
        self.assertEqual(self.text("stats", "--reset", "small"),
                         "The statistics of pool small begin anew.\n")
        stats = self.stats()
        self.assertEqual((stats["peak_usage"], stats["total_allocations"]), (2, 0))
        self.assertEqual(self.ok("stats", "small", "--reset"), {"reset": "small"})


class TestHolders(WatchCase):
    def test_most_first_with_their_share(self):
        self.small().allocate(count=2)
        self.open("small", "second").allocate(count=5)
        holders = self.ok("holders", "small")["holders"]
        self.assertEqual([set(holder) for holder in holders], [HOLDER_FIELDS] * 2)
        self.assertEqual([(holder["name"], holder["slots"], holder["share"], holder["pid"])
                          for holder in holders],
                         [("second", 5, 0.5, os.getpid()), ("holder", 2, 0.2, os.getpid())])
        for holder in holders:
            self.assertGreater(holder["oldest"], 0)
        header, *lines = self.text("holders", "small").splitlines()
        self.assertEqual(header.split(),
                         ["SESSION", "NAME", "PID", "UID", "SLOTS", "%", "FOR", "STATE"])
        self.assertRegex(lines[0], rf"^ +\d+  second  +{os.getpid()} +\d+ +5 +50 +[\d.]+ \w+  "
                                   r"connected$")
        self.assertEqual(len(lines), 2)

    def test_what_was_detached_is_nobodys(self):
        pool = self.small()
        pool.detach(*pool.allocate(count=3))
        holders = self.ok("holders", "small")["holders"]
        self.assertEqual([(holder["session"], holder["slots"]) for holder in holders], [(0, 3)])
        self.assertRegex(self.text("holders", "small"), r"(?m)^ +-  \(detached\) +- +- +3 +30 ")

    def test_sessions_are_granted_what_they_have_cached_too(self):
        pool = self.small("--leased")
        pool.allocate(count=3)
        pool.client.call("lease", pool=pool.number, count=1)
        self.assertEqual(self.ok("sessions")["sessions"][0]["granted"], 4)
        header, row, _ = self.text("sessions").splitlines()
        self.assertEqual((header.split()[5], row.split()[5]), ("GRANTED", "4"))
        self.assertEqual(self.ok("holders", "small")["holders"][0]["slots"], 3)
        self.assertEqual(self.ok("stats", "small")["stats"][0]["cached"], 1)
        self.assertEqual(self.ok("sessions")["sessions"][0]["granted"], 4)

    def test_nobody_is_told(self):
        self.small()
        self.assertEqual(self.text("holders", "small"), "Nobody holds a slot of it.\n")
        self.assertEqual(self.ok("holders", "small"), {"holders": []})


class TestEvents(WatchCase):
    def test_what_is_kept_is_told_a_line_each(self):
        pool = self.small("--max", "12")
        self.ok("pool", "grow", "small", "12")
        pool.allocate(count=12)
        self.exhaust(pool, count=2)
        events = self.events()
        self.assertEqual([event["kind"] for event in events],
                         ["grown", "watermark-reached", "exhausted"])
        for event in events:
            self.assertEqual(set(event), EVENT_FIELDS)
            self.assertRegex(event["date"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")
        last = events[-1]
        self.assertEqual((last["pool"], last["capacity"], last["allocated"], last["count"]),
                         ("small", 12, 12, 2))
        lines = self.text("events").splitlines()
        date = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
        self.assertRegex(lines[0], rf"\A{date}  #1  small  grown  by 2 slots; 0 of 12 in use\Z")
        self.assertRegex(lines[2], rf"\A{date}  #3  small  exhausted  asked for 2 slots; 12 of 12 "
                                   r"in use\Z")

    def test_a_pool_and_a_number_choose(self):
        for name in ("a", "b"):
            self.small("--max", "12", name=name)
            self.ok("pool", "grow", name, "11")
            self.ok("pool", "grow", name, "12")
        self.assertEqual([event["number"] for event in self.events("b")], [3, 4])
        self.assertEqual([event["number"] for event in self.events("--after", "2")], [3, 4])
        self.assertEqual([event["number"] for event in self.events("a", "--after", "1")], [2])
        self.assertEqual(self.events("a", "--after", "4"), [])

    def test_many_are_all_told(self):
        self.small("--max", "300")
        for capacity in range(11, 211):
            self.ok("pool", "grow", "small", capacity)
        self.assertEqual([event["number"] for event in self.events()], list(range(1, 201)))

    def test_none_are_none(self):
        self.assertEqual(self.text("events"), "No events.\n")
        self.assertEqual(self.events(), [])
        self.assertEqual(self.events("--timeout", "1ms"), [])
        self.assertEqual(self.events("--follow", "--timeout", "1ms"), [])

    def test_events_that_came_too_early_are_counted(self):
        pool = self.small("--watermark", "50%")
        for _ in range(600):
            pool.free(*pool.allocate(count=10))
        first, *rest = self.events()
        self.assertEqual(first, {"lost": 1200 - len(rest)})
        self.assertEqual(rest[0]["number"], first["lost"] + 1)
        self.assertRegex(self.text("events"), rf"\A\({first['lost']} before these aren't kept any "
                                              r"more\)\n")
        first, last = self.events("--after", str(first["lost"] - 1))[::len(rest)]
        self.assertEqual((first, last["number"]), ({"lost": 1}, 1200))

    def follow(self, *arguments):
        return self.popen("events", "--follow", *arguments, "--json")

    @staticmethod
    def line(process):
        return json.loads(process.stdout.readline())

    def test_follow_tells_each_when_it_happens(self):
        self.small("--max", "20")
        process = self.follow("small")
        for capacity in (11, 12, 13):
            self.ok("pool", "grow", "small", capacity)
            self.assertEqual(self.line(process)["capacity"], capacity)
        for number in (signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
            out, err = process.communicate(timeout=DEADLINE)
            self.assertEqual((process.returncode, out, err), (-number, b"", b""))
            process = self.follow("--after", "2")
            self.assertEqual(self.line(process)["number"], 3)

    def test_follow_ends_after_its_time(self):
        self.small("--max", "20")
        self.ok("pool", "grow", "small", "11")
        self.assertEqual(self.kinds("--follow", "--timeout", "50ms"), ["grown"])

    def test_timeout_waits_for_the_first(self):
        self.small("--max", "20")
        process = self.popen("events", "--timeout", "1h", "--json")
        self.until(lambda: len(self.ok("sessions")["sessions"]) == 3)
        self.ok("pool", "grow", "small", "11")
        out, err = process.communicate(timeout=DEADLINE)
        self.assertEqual((process.returncode, err), (OK, b""))
        self.assertEqual(json.loads(out)["kind"], "grown")

    def test_follow_ends_when_nobody_reads_it(self):
        self.small("--max", "20")
        process = self.follow()
        process.stdout.close()
        self.assertEqual(process.wait(timeout=DEADLINE), -signal.SIGPIPE)
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()
        process.stdout = process.stderr = None

    def test_follow_ends_a_pipe_in_order(self):
        self.small("--max", "20")
        self.ok("pool", "grow", "small", "11")
        run = subprocess.run(["sh", "-c", f"{shlex.quote(CTL)} events --follow | head -n 1"],
                             env=self.env, check=False, capture_output=True, text=True,
                             timeout=DEADLINE)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertIn("grown", run.stdout)

    def test_a_daemon_that_ends_is_a_failure(self):
        process = self.follow()
        self.until(lambda: len(self.ok("sessions")["sessions"]) == 2)
        self.daemon.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=DEADLINE)
        self.assertEqual(process.returncode, ctl_case.UNREACHABLE, err)
        self.assertRegex(err.decode(), r"\Afastallocctl: [^\n]+\n\Z")


class TestAdvise(WatchCase):
    def advise(self, *arguments):
        advice = self.ok("advise", *arguments)
        self.assertEqual(set(advice), ADVICE_FIELDS)
        return advice

    def run_next(self, advice):
        """Runs the command that was advised."""
        words = shlex.split(advice["command"])
        self.assertEqual(words[0], "fastallocctl")
        self.assert_status(self.run_ctl(*words[1:]), OK)

    def test_nothing_observed_is_no_advice(self):
        self.small()
        advice = self.advise("small")
        self.assertEqual((advice["verdict"], advice["advised"], advice["command"]),
                         ("unknown", 0, None))
        self.assertIn("nothing was allocated yet", self.text("advise", "small"))

    def test_right_is_right(self):
        self.small().allocate(count=8)
        advice = self.advise("small")
        self.assertEqual((advice["verdict"], advice["advised"], advice["command"]),
                         ("right", 10, None))
        self.assertRegex(self.text("advise", "small"), r"\APool small is right\.\n  capacity  10\n"
                                                       r"  advised   10: ")

    def test_too_small_is_to_grow(self):
        pool = self.small()
        pool.allocate(count=8)
        self.exhaust(pool, count=7)
        advice = self.advise("small")
        self.assertEqual((advice["verdict"], advice["advised"], advice["needed"]),
                         ("too-small", 15, 15))
        self.assertEqual(advice["command"], "fastallocctl pool grow small 15 --max 15")
        out = self.text("advise", "small")
        self.assertIn("Pool small is too small.", out)
        self.assertRegex(out, r"(?m)^  refused +1  request: ")
        self.assertRegex(out, r"Next:\n  fastallocctl pool grow small 15 --max 15\n\Z")
        self.run_next(advice)
        self.assertEqual(self.advise("small")["verdict"], "right")

    def test_what_is_reserved_is_needed_beside(self):
        pool = self.small("--reserve-critical", "4")
        pool.allocate(count=6)
        self.exhaust(pool)
        advice = self.advise("small")
        self.assertEqual((advice["verdict"], advice["needed"], advice["advised"]),
                         ("too-small", 11, 11))
        self.assertRegex(self.text("advise", "small"), r"(?m)^  needed +11  slots, .*: "
                                                       r"6 in use, 1 asked for, 4 in reserve$")
        self.run_next(advice)
        pool.allocate()

    def test_reserves_are_needed_once(self):
        pool = self.small("--reserve-critical", "2", "--reserve-normal", "3")
        pool.allocate(count=5)
        self.exhaust(pool, priority=2)
        self.assertEqual((self.advise("small")["needed"], self.advise("small")["advised"]), (11, 11))
        pool.allocate(count=3)
        self.exhaust(pool)
        self.assertEqual((self.advise("small")["needed"], self.advise("small")["advised"]), (11, 11))

    def test_within_its_maximum_it_only_grows(self):
        self.small("--max", "50").allocate(count=10)
        advice = self.advise("small")
        self.assertEqual(advice["command"], "fastallocctl pool grow small 12")
        self.run_next(advice)
        self.assertEqual(self.advise("small")["verdict"], "right")

    def test_what_grows_by_itself_is_right(self):
        self.small("--max", "50", "--growth", "linear:1").allocate(count=12)
        advice = self.advise("small")
        self.assertEqual((advice["verdict"], advice["advised"]), ("right", 15))
        self.assertEqual(advice["growth_count"], 1)

    def test_too_large_is_to_be_replaced(self):
        self.small("--type", "it's odd", "--mode", "0640").allocate(count=3)
        advice = self.advise("small")
        self.assertEqual((advice["verdict"], advice["advised"]), ("too-large", 4))
        self.run_next(advice)
        pool = self.ok("pool", "show", "small-2")
        self.assertEqual((pool["capacity"], pool["object_size"], pool["type"], pool["mode"]),
                         (4, 64, "it's odd", "0640"))

    def test_what_is_to_replace_it_has_the_same_policies(self):
        """A growing pool that is used up needs no advice; what is left over of a large one does."""
        policies = ("--max", "90", "--growth", "custom:50,90", "--grow-ahead", "1",
                    "--reserve-critical", "2", "--reserve-normal", "1", "--session-slots", "80",
                    "--user-slots", "85", "--zero", "allocate", "--watermark", "75%",
                    "--hold-limit", "1s", "--trim-after", "2h", "--owner-frees", "--prefault",
                    "--huge", "--mode", "0660")
        name = "n" * 63
        self.ok("pool", "create", name, "--size", "64", "--capacity", "40", *policies)
        self.open(name).allocate(count=3)
        advice = self.advise(name)
        self.assertEqual(advice["verdict"], "too-large")
        self.run_next(advice)
        old, new = self.ok("pool", "show", name), self.ok("pool", "show", "n" * 61 + "-2")
        for field in ("name", "id", "capacity", "reserve", "allocated", "members", "memory"):
            del old[field], new[field]
        self.assertEqual(new, old)

    def test_a_template_is_the_users_to_give(self):
        template = self.directory / "template"
        template.write_bytes(b"begin")
        self.small("--template", str(template)).allocate(count=1)
        advice = self.advise("small")
        self.assertTrue(advice["command"].endswith(" --template FILE"))
        advice["command"] = advice["command"].replace("FILE", str(template))
        self.run_next(advice)
        self.assertEqual(self.ok("pool", "show", "small-2")["template_size"], 5)

    def test_leased_pools_are_seen_now_and_then(self):
        pool = self.small("--leased")
        pool.allocate(count=2)
        pool.client.call("lease", pool=pool.number, count=1)
        advice = self.advise("small")
        self.assertEqual((advice["verdict"], advice["advised"], advice["command"]),
                         ("unknown", 0, None))
        self.assertEqual((advice["kind"], advice["total_allocations"], advice["cached"]),
                         ("leased", 2, 1))
        out = self.text("advise", "small")
        self.assertNotIn("nothing was allocated", out)
        self.assertRegex(out, r"\APool small is not too small as far as is known: ")
        self.assertRegex(out, r"(?m)^  peak +2  in use at once, of what was seen now and then; ")
        self.assertRegex(out, r"(?m)^  granted +3  now: ")

    def test_leased_pools_are_replaced_by_such(self):
        self.small("--leased").allocate(count=10)
        advice = self.advise("small", "--margin", "1000")
        self.assertIn(" --leased ", advice["command"])
        self.run_next(advice)
        self.assertEqual(self.ok("pool", "show", "small-2")["kind"], "leased")

    def test_margin_is_chosen(self):
        self.small().allocate(count=5)
        for margin, advised in (("0", 5), ("50", 8), ("1000", 55)):
            self.assertEqual(self.advise("small", "--margin", margin)["advised"], advised)

    def test_reset_forgets_what_was_refused(self):
        pool = self.small()
        pool.allocate(count=8)
        self.exhaust(pool, count=7)
        self.ok("stats", "--reset", "small")
        self.assertEqual((self.advise("small")["needed"], self.advise("small")["advised"]),
                         (0, 10))

    def test_socket_is_part_of_the_command(self):
        self.small().allocate(count=10)
        path = self.env.pop("FASTALLOC_SOCKET")
        advice = self.ok("advise", "small", "--socket", path)
        self.assertIn(f" --socket {path} ", advice["command"])
        self.run_next(advice)

    def test_the_basis_is_told(self):
        pool = self.small()
        pool.allocate(count=10)
        out = self.text("advise", "small")
        self.assertRegex(out, r"(?m)^Based on the last [\d.]+ \w+:$")
        self.assertRegex(out, r"(?m)^  peak +10  in use at once; \d+\.\d on average$")
        for label in ("refused", "waited", "growths"):
            self.assertTrue(re.search(rf"(?m)^  {label} +0", out), label)


if __name__ == "__main__":
    sys.exit(ctl_case.main())
