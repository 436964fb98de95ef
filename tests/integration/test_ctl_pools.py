"""fastallocctl makes, shows, grows and trims pools."""

import grp
import os
import sys
import unittest

import ctl_case
from ctl_case import FAILED, NOT_PERMITTED, OK, USAGE, Case, WithDaemon, can_be_another

SIZE = ("--size", "4K", "--capacity", "100")


class TestCreate(WithDaemon):
    def test_each_option_reaches_the_pool(self):
        template = self.directory / "template"
        template.write_bytes(b"\0begin\n")
        wanted = {
            "capacity": (100, "--capacity", "100"),
            "capacity_max": (400, "--max", "400"),
            "growth": ("linear:50", "--growth", "linear:50"),
            "grow_ahead": (5, "--grow-ahead", "5"),
            "mode": ("0664", "--mode", "0664"),
            "owner_frees": (True, "--owner-frees"),
            "reserve_critical": (3, "--reserve-critical", "3"),
            "reserve_normal": (2, "--reserve-normal", "2"),
            "session_slots": (300, "--session-slots", "300"),
            "user_slots": (350, "--user-slots", "350"),
            "zero": ("free", "--zero", "free"),
            "template_size": (7, "--template", str(template)),
            "watermark": ("80%", "--watermark", "80%"),
            "hold_limit": (1_500_000_000, "--hold-limit", "1500ms"),
            "trim_after": (300_000_000_000, "--trim-after", "5m"),
            "prefault": (True, "--prefault"),
            "lock": (True, "--lock"),
            "huge": (True, "--huge"),
            "kind": ("leased", "--leased"),
        }
        options = [word for _, *words in wanted.values() for word in words]
        pool = self.ok("pool", "create", "all", "--size", "4K", *options)
        for field, (value, *_) in wanted.items():
            self.assertEqual(pool[field], value, field)
        self.assertEqual(self.ok("pool", "show", "all"), pool)

        # What isn't asked for isn't there.
        plain = self.ok("pool", "create", "plain", *SIZE)
        for field, value in {"capacity_max": 100, "growth": "none", "grow_ahead": 0,
                             "mode": "0600", "owner_frees": False, "reserve_critical": 0,
                             "reserve_normal": 0, "session_slots": 0, "user_slots": 0,
                             "zero": "never", "template_size": 0, "watermark": "90%",
                             "hold_limit": 0, "trim_after": 0, "prefault": False, "lock": False,
                             "huge": False, "kind": "brokered", "damaged": False}.items():
            self.assertEqual(plain[field], value, field)

    def test_zero_is_one_of_three(self):
        for zero in ("never", "allocate", "free"):
            self.assertEqual(self.ok("pool", "create", zero, *SIZE, "--zero", zero)["zero"], zero)

    def test_growth_may_be_any_policy(self):
        for number, growth in enumerate(("none", "linear:1", "exponential:1.5", "custom:150,200")):
            pool = self.ok("pool", "create", f"p{number}", *SIZE, "--max", "200", "--growth",
                           growth)
            self.assertEqual(pool["growth"], growth)

    def test_policies_are_the_daemons_to_refuse(self):
        for options, field in ((("--growth", "fast", "--max", "200"), "growth"),
                               (("--growth", "linear:5"), "growth"),
                               (("--watermark", "101%"), "watermark"),
                               (("--reserve-critical", "101"), "reserve_critical")):
            error = self.refused("INVALID_ARGUMENT", "pool", "create", "x", *SIZE, *options)
            self.assertEqual(error["field"], field)
        self.refused("INVALID_CAPACITY", "pool", "create", "x", *SIZE, "--max", "99")

    def test_help_says_which_option_sets_what_messages_name(self):
        error = self.refused("INVALID_ARGUMENT", "pool", "create", "x", *SIZE, "--growth", "linear:5")
        self.assertIn("capacity_max", error["message"])
        self.assertRegex(self.text("pool", "create", "--help"), r"capacity_max\s+--max\b")

    def test_a_maximum_without_growth_is_for_who_administers_it(self):
        hint = "Without --growth it comes to 400 only by `fastallocctl pool grow`.\n"
        for number, options in enumerate((("--max", "400"), ("--max", "400", "--growth", "none"))):
            self.assertTrue(self.text("pool", "create", f"p{number}", *SIZE, *options).endswith(hint))
        self.assertEqual(self.ok("pool", "grow", "p0", "400")["capacity"], 400)
        for number, options in enumerate(((), ("--max", "100"),
                                          ("--max", "400", "--growth", "linear:1"))):
            self.assertNotIn("--growth", self.text("pool", "create", f"q{number}", *SIZE, *options))

    def test_group_is_a_name_or_a_number(self):
        gid = os.getegid()
        self.assertEqual(self.ok("pool", "create", "number", *SIZE, "--group", gid)["gid"], gid)
        try:
            name = grp.getgrgid(gid).gr_name
        except KeyError:
            self.skipTest("this group has no name")
        self.assertEqual(self.ok("pool", "create", "name", *SIZE, "--group", name)["gid"], gid)

    def test_template_must_be_a_file_of_some_bytes(self):
        def refused(why):
            result = self.run_ctl("pool", "create", "x", *SIZE, "--template", path)
            self.assert_status(result, FAILED)
            self.assertIn(why, result.err)

        path = self.directory / "none"
        refused("No such file")
        path = self.directory
        refused("Is a directory")
        path = self.directory / "empty"
        path.write_bytes(b"")
        refused("must have 1 to 32768 bytes")
        path.write_bytes(b"x" * 32769)
        refused("must have 1 to 32768 bytes")
        path.write_bytes(b"x" * 4097)
        error = self.refused("INVALID_ARGUMENT", "pool", "create", "x", *SIZE, "--template", path)
        self.assertEqual(error["field"], "template")

    def test_template_of_the_most_bytes_is_taken_whole(self):
        path = self.directory / "template"
        path.write_bytes(b"x" * 32768)
        pool = self.ok("pool", "create", "x", "--size", "32K", "--capacity", "1", "--template",
                       path)
        self.assertEqual(pool["template_size"], 32768)


class TestShow(WithDaemon):
    def test_shows_all_there_is_in_readable_units(self):
        self.create("things", "--max", "2000", "--growth", "exponential:2", "--hold-limit", "90s",
                    "--trim-after", "250ms", "--zero", "allocate", "--lock", "--huge")
        out = self.text("pool", "show", "things")
        for line in ("pool +things", "capacity +1,000", "growth +exponential:2",
                     "grows up to +2,000", "may be raised to +[0-9,]+", "grow ahead +-",
                     "freed by +whoever may write", "session slots +-", "zero +allocate",
                     "template +-", "watermark +90%", "hold limit +1 min 30 s",
                     r"trim after +250\.0 ms", "pages +lock huge"):
            self.assertRegex(out, rf"(?m)^{line}$")
        # Each number of the JSON has its line; name, type and flags are in others.
        self.assertGreaterEqual(len(out.splitlines()), len(self.ok("pool", "show", "things")) - 7)

    def test_kind_is_told(self):
        for options, kind in (((), "brokered"), (("--leased",), "leased")):
            self.create(kind, *options)
            self.assertRegex(self.text("pool", "show", kind), rf"(?m)^kind +{kind}$")

    def test_owner_frees_is_told(self):
        self.create("things", "--owner-frees")
        self.assertRegex(self.text("pool", "show", "things"), r"(?m)^freed by +its holder only$")


class TestGrow(WithDaemon):
    def test_grows_to_a_capacity(self):
        self.create("things", "--max", "3000")
        self.assertRegex(self.text("pool", "grow", "things", "2000"),
                         r"\APool things has 2,000 slots, 3,000 at most; [\d.]+ MiB of shared "
                         r"memory\.\n\Z")
        self.assertEqual(self.ok("pool", "grow", "things", "2500")["capacity"], 2500)
        self.assertEqual(self.ok("stats", "things")["stats"][0]["growth_count"], 2)

    def test_what_has_as_many_already_stays(self):
        self.create("things", "--max", "3000")
        self.assertEqual(self.ok("pool", "grow", "things", "500")["capacity"], 1000)

    def test_the_maximum_can_be_raised_with_it_or_alone(self):
        self.create()
        pool = self.ok("pool", "grow", "things", "--max", "1500")
        self.assertEqual((pool["capacity"], pool["capacity_max"]), (1000, 1500))
        pool = self.ok("pool", "grow", "things", "2000", "--max", "2000")
        self.assertEqual((pool["capacity"], pool["capacity_max"]), (2000, 2000))

    def test_beyond_the_maximum_is_refused_with_the_numbers(self):
        self.create("things", "--max", "1500")
        error = self.refused("MAX_CAPACITY_EXCEEDED", "pool", "grow", "things", "1501")
        self.assertEqual({key: error[key] for key in ("pool", "current", "requested", "max")},
                         {"pool": "things", "current": 1000, "requested": 1501, "max": 1500})
        reserve = self.ok("pool", "show", "things")["reserve"]
        self.run_ctl("pool", "grow", "things", "--max", str(reserve + 1))
        self.assertEqual(self.ok("pool", "show", "things")["capacity_max"], 1500)

    def test_who_has_it_open_gets_the_new_slots(self):
        self.create("things", "--max", "1100")
        pool = self.open("things")
        pool.allocate(count=1000)
        self.ok("pool", "grow", "things", "1001")
        pool.allocate(count=1)
        self.assertEqual(self.ok("pool", "show", "things")["allocated"], 1001)

    @unittest.skipUnless("OWN_SHM" in os.environ, "fills /dev/shm")
    def test_memory_that_isnt_there_is_an_error(self):
        self.ok("pool", "create", "big", "--size", "1M", "--capacity", "1", "--max", "400")
        error = self.refused("SHARED_MEMORY_FULL", "pool", "grow", "big", "300")
        self.assertGreater(error["needed"], error["available"])
        self.assertEqual(self.ok("pool", "show", "big")["capacity"], 1)


class TestTrim(WithDaemon):
    def test_says_how_many_bytes(self):
        self.create()
        self.assertEqual(self.text("pool", "trim", "things"),
                         "Gave back 3.9 MiB of pool things.\n")
        self.assertEqual(self.ok("pool", "trim", "things"), {"pool": "things", "bytes": 0})

    def test_what_is_in_use_stays(self):
        self.create()
        self.open("things").allocate(count=1000)
        self.assertEqual(self.ok("pool", "trim", "things")["bytes"], 0)


class TestQuota(Case):
    def test_more_pools_than_a_user_may_have_are_refused_with_the_numbers(self):
        self.start_daemon("--user-pools", "1")
        self.assert_status(self.run_ctl("pool", "create", "a", *SIZE), OK)
        result = self.run_ctl("pool", "create", "b", *SIZE, "--json")
        self.assert_status(result, FAILED)
        error = result.json()["error"]
        self.assertEqual((error["name"], error["max"]), ("FASTALLOC_ERR_QUOTA_EXCEEDED", 1))


@unittest.skipUnless(can_be_another(), "needs another user")
class TestOthers(WithDaemon):
    def test_only_who_may_administer_a_pool_changes_it(self):
        self.create("things", "--mode", "0666", "--max", "2000")
        os.chmod(self.directory, 0o755)
        os.chmod(self.env["FASTALLOC_SOCKET"], 0o666)
        for command in (["pool", "grow", "things", "1001"], ["pool", "trim", "things"],
                        ["stats", "--reset", "things"]):
            result = self.as_another(*command)
            self.assert_status(result, NOT_PERMITTED)
        for command in (["pool", "show", "things"], ["stats", "things"], ["holders", "things"],
                        ["events", "things"], ["advise", "things"]):
            self.assert_status(self.as_another(*command), OK)


class TestUsage(WithDaemon):
    def test_zero_slots_are_wrong_usage(self):
        self.create()
        for arguments in (["0"], ["--max", "0"], ["x"]):
            self.assert_status(self.run_ctl("pool", "grow", "things", *arguments), USAGE)

    def test_a_limit_of_zero_isnt_taken_for_none(self):
        for option in ("--max", "--session-slots", "--user-slots"):
            result = self.run_ctl("pool", "create", "p", *SIZE, option, "0")
            self.assert_status(result, USAGE)
            self.assertIn(option, result.err)


class TestWords(WithDaemon):
    def test_one_slot_is_no_slots(self):
        self.assertRegex(self.text("pool", "create", "one", "--size", "64", "--capacity", "1"),
                         r"\AMade pool one: 1 slot of 64 B, ")
        self.assertRegex(self.text("pool", "grow", "one", "1"), r"\APool one has 1 slot, 1 at most; ")
        self.assertRegex(self.text("stats", "one"), r"(?m)^  capacity +1  slot$")
        self.assertRegex(self.text("pool", "grow", "one", "2", "--max", "2"),
                         r"\APool one has 2 slots, 2 at most; ")


if __name__ == "__main__":
    sys.exit(ctl_case.main())
