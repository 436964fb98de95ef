"""fastallocctl against a real daemon: what it prints, and how it fails."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

import ctl_case
from ctl_case import (CTL, FAILED, NO_SUCH_POOL, NOT_PERMITTED, OK, PROTOCOL, UNREACHABLE, USAGE, can_be_another,
                      Case, WithDaemon)

COMMANDS = (["pool", "create"], ["pool", "list"], ["pool", "show"], ["pool", "grow"],
            ["pool", "trim"], ["pool", "destroy"], ["stats"], ["advise"], ["holders"], ["events"],
            ["sessions"], ["check"], ["ping"], ["demo"], ["help"])

POOL_FIELDS = {"name", "id", "type", "object_size", "stride", "alignment", "capacity",
               "capacity_max", "reserve", "allocated", "members", "memory", "uid", "gid", "mode",
               "owner_frees", "growth", "grow_ahead", "reserve_critical", "reserve_normal",
               "session_slots", "user_slots", "zero", "template_size", "watermark", "hold_limit",
               "trim_after", "prefault", "lock", "huge", "kind", "damaged"}
STATS_FIELDS = {"pool", "capacity", "capacity_max", "current_usage", "available", "cached",
                "utilization_rate", "peak_usage", "average_usage", "total_allocations",
                "total_deallocations", "allocation_failures", "hit_rate", "growth_count", "timeouts", "reclaimed",
                "evictions", "watermarks", "waiters", "total_waits", "wait_p50", "wait_p99",
                "wait_max", "held_long", "total_held_long", "hold_p50", "hold_p99", "hold_max",
                "age"}
SESSION_FIELDS = {"id", "name", "pid", "uid", "connected", "pools", "waiting", "granted"}


class TestPools(WithDaemon):
    def test_create_says_what_was_made(self):
        self.assertRegex(self.create().out,
                         r"\AMade pool things: 1,000 slots of 4 KiB, [\d.]+ MiB of shared "
                         r"memory\.\n")

    def test_create_honours_each_option(self):
        pool = self.create("a", "--align", "64", "--type=particle", "--mode", "0640",
                           "--json").json()
        self.assertEqual(set(pool), POOL_FIELDS)
        self.assertEqual({key: pool[key] for key in ("name", "object_size", "capacity", "alignment",
                                                     "type", "mode", "allocated")},
                         {"name": "a", "object_size": 4096, "capacity": 1000, "alignment": 64,
                          "type": "particle", "mode": "0640", "allocated": 0})

    def test_create_takes_no_name_twice(self):
        self.create()
        result = self.run_ctl("pool", "create", "things", "--size", "1", "--capacity", "1",
                              "--json")
        self.assert_status(result, FAILED)
        self.assertEqual(result.json()["error"]["name"], "FASTALLOC_ERR_POOL_EXISTS")
        self.assertEqual(result.json()["error"]["pool"], "things")

    def test_create_leaves_limits_to_the_daemon(self):
        for size, capacity, align, name in (("0", "1", "16", "INVALID_OBJECT_SIZE"),
                                            ("1", "0", "16", "INVALID_CAPACITY"),
                                            ("1", "1", "3", "INVALID_ALIGNMENT")):
            result = self.run_ctl("--json", "pool", "create", "x", "--size", size, "--capacity",
                                  capacity, "--align", align)
            self.assert_status(result, FAILED)
            self.assertEqual(result.json()["error"]["name"], "FASTALLOC_ERR_" + name)

    def test_list_is_an_aligned_table(self):
        self.create("a")
        self.create("a-longer-name", "--type", "t", "--leased")
        lines = self.run_ctl("pool", "list").out.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertEqual(lines[0].split()[:5], ["POOL", "TYPE", "KIND", "SIZE", "CAPACITY"])
        self.assertEqual([line.split()[2] for line in lines[1:]], ["brokered", "leased"])
        for column in ("SIZE", "CAPACITY", "MEMORY"):
            end = lines[0].index(column) + len(column)
            for line in lines[1:]:
                self.assertRegex(line[:end], r"\S\Z", column)
        self.assertEqual(lines[0].index("TYPE"), lines[2].index(" t ") + 1)

    def test_list_is_json_with_stable_names(self):
        self.create("a")
        self.create("b")
        pools = self.run_ctl("pool", "list", "--json").json()["pools"]
        self.assertEqual([pool["name"] for pool in pools], ["a", "b"])
        for pool in pools:
            self.assertEqual(set(pool), POOL_FIELDS)

    def test_list_of_many_pools_is_complete(self):
        names = [f"p{number:03}" for number in range(150)]
        for name in names:
            result = self.run_ctl("pool", "create", name, "--size", "1", "--capacity", "1")
            self.assert_status(result, OK)
        pools = self.run_ctl("pool", "list", "--json").json()["pools"]
        self.assertEqual([pool["name"] for pool in pools], names)
        stats = self.run_ctl("stats", "--json").json()["stats"]
        self.assertEqual([entry["pool"] for entry in stats], names)

    def test_list_of_no_pools_says_so(self):
        self.assertRegex(self.run_ctl("pool", "list").out, r"\AThere are no pools\.")
        self.assertEqual(self.run_ctl("pool", "list", "--json").json(), {"pools": []})
        self.assertRegex(self.run_ctl("stats").out, r"\AThere are no pools\.")
        self.assertEqual(self.run_ctl("stats", "--json").json(), {"stats": []})

    def test_show_is_readable(self):
        self.create()
        out = self.run_ctl("pool", "show", "things").out
        self.assertRegex(out, r"(?m)^object size +4 KiB$")
        self.assertRegex(out, r"(?m)^capacity +1,000$")
        self.assertRegex(out, r"(?m)^mode +0600$")

    def test_destroy_destroys(self):
        self.create()
        result = self.run_ctl("pool", "destroy", "things", "--json")
        self.assert_status(result, OK)
        self.assertEqual(result.json(), {"destroyed": "things"})
        self.assert_status(self.run_ctl("pool", "show", "things"), NO_SUCH_POOL)

    def test_commands_that_need_a_pool_say_when_there_is_none(self):
        for command in (["pool", "show"], ["pool", "trim"], ["pool", "destroy"], ["stats"],
                        ["stats", "--reset"], ["holders"], ["events"], ["advise"],
                        ["pool", "grow", "--max", "1"]):
            result = self.run_ctl(*command, "nothing", "--json")
            self.assert_status(result, NO_SUCH_POOL)
            error = result.json()["error"]
            self.assertEqual((error["name"], error["pool"], error["status"]),
                             ("FASTALLOC_ERR_NO_SUCH_POOL", "nothing", NO_SUCH_POOL))


class TestOthers(WithDaemon):
    def test_stats_are_json_with_stable_names(self):
        self.create()
        for arguments in ([], ["things"]):
            entries = self.run_ctl("stats", *arguments, "--json").json()["stats"]
            self.assertEqual(len(entries), 1)
            self.assertEqual(set(entries[0]), STATS_FIELDS)
            self.assertEqual(entries[0]["capacity"], 1000)
            self.assertEqual(entries[0]["utilization_rate"], 0.0)

    def test_stats_are_a_table_or_a_page(self):
        self.create()
        lines = self.run_ctl("stats").out.splitlines()
        self.assertEqual(lines[0].split()[:4], ["POOL", "CAPACITY", "IN", "USE"])
        self.assertEqual(len({len(line) for line in lines}), 1)
        self.assertRegex(self.run_ctl("stats", "things").out, r"(?m)^  in use +0  0\.0 %$")

    def test_sessions_show_this_one(self):
        sessions = self.run_ctl("sessions", "--json").json()["sessions"]
        self.assertEqual([set(session) for session in sessions], [SESSION_FIELDS])
        self.assertEqual(sessions[0]["name"], "fastallocctl")
        self.assertIs(sessions[0]["connected"], True)
        lines = self.run_ctl("sessions").out.splitlines()
        self.assertRegex(lines[1], r"^ +\d+  fastallocctl +\d+ +\d+ +0 +0 +0  connected$")

    def test_ping_says_who_answers(self):
        self.assertRegex(self.run_ctl("ping").out,
                         r"\Afastallocd \S+, instance \S+, pid \d+, answered in .*\.\n\Z")
        answer = self.run_ctl("ping", "--json").json()
        self.assertEqual(set(answer), {"pid", "release", "instance", "round_trip_ns"})

    def test_options_may_stand_anywhere(self):
        path = self.env.pop("FASTALLOC_SOCKET")
        for arguments in (["--json", "--socket", path, "pool", "list"],
                          ["pool", "--json", f"--socket={path}", "list"],
                          ["pool", "list", "--socket", path, "--json"]):
            result = self.run_ctl(*arguments)
            self.assert_status(result, OK)
            self.assertEqual(result.json(), {"pools": []})

    def test_output_that_cant_be_written_is_a_failure(self):
        self.create()
        for arguments in (["ping"], ["pool", "list"], ["pool", "list", "--json"], ["stats"],
                          ["sessions", "--json"], ["help"], ["--version"]):
            with open("/dev/full", "wb") as full:
                result = self.run_ctl(*arguments, stdout=full)
            self.assert_status(result, FAILED)
            self.assertIn("No space left on device", result.err)

    def test_output_nobody_reads_is_a_failure(self):
        reader, writer = os.pipe()
        os.close(reader)
        result = self.run_ctl("ping", stdout=writer)
        os.close(writer)
        self.assert_status(result, FAILED)
        self.assertIn("Broken pipe", result.err)

    def test_closed_streams_are_no_file_of_ours(self):
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            run = subprocess.run(["sh", "-c", f'"$0" ping {closed}', CTL], env=self.env,
                                 check=False, capture_output=True)
            self.assertEqual(run.returncode, FAILED if ">&-" in closed.replace("2>&-", "") else OK)

    @unittest.skipUnless("OWN_SHM" in os.environ, "fills /dev/shm")
    def test_a_full_dev_shm_can_be_looked_at_and_cleared(self):
        self.create()
        with tempfile.NamedTemporaryFile(dir="/dev/shm") as filler:
            with self.assertRaises(OSError):
                while os.write(filler.fileno(), b"x" * 65536):
                    pass
            for command in (["pool", "list"], ["stats"], ["sessions"], ["ping"],
                            ["pool", "destroy", "things"]):
                result = self.run_ctl(*command)
                self.assertEqual(result.status, OK, result.err)

    @unittest.skipUnless(can_be_another(), "needs another user")
    def test_what_another_user_may_not_do_is_not_permitted(self):
        self.create()
        os.chmod(self.directory, 0o755)
        os.chmod(self.env["FASTALLOC_SOCKET"], 0o666)
        result = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", CTL, "--json",
                                 "pool", "destroy", "things"], env=self.env, check=False,
                                capture_output=True, text=True)
        self.assertEqual(result.returncode, NOT_PERMITTED, result.stderr)
        self.assertIn("FASTALLOC_ERR_NOT_PERMITTED", result.stdout)

    @unittest.skipUnless(can_be_another(), "needs another user")
    def test_a_socket_another_user_may_not_reach_is_not_permitted(self):
        os.chmod(self.directory, 0o755)
        os.chmod(self.env["FASTALLOC_SOCKET"], 0o600)
        result = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", CTL, "ping"],
                                env=self.env, check=False, capture_output=True, text=True)
        self.assertEqual(result.returncode, NOT_PERMITTED, result.stderr)


class TestWithoutDaemon(Case):
    def test_wrong_usage_names_what_is_wrong(self):
        create = ["pool", "create", "x", "--size", "1", "--capacity", "1"]
        for arguments, pattern in (
                ([], "no command"),
                (["frob"], '"frob"'),
                (["pool"], "create, list, show, grow, trim or destroy"),
                (["pool", "frob"], '"pool frob"'),
                (["--frob", "ping"], "--frob"),
                (["ping", "--frob"], "ping has no option --frob"),
                (["ping", "--sock", "x"], "--sock"),
                (["ping", "more"], '"more"'),
                (["pool", "show"], "NAME"),
                (["pool", "show", "a", "b"], '"b"'),
                (["pool", "create", "x"], "--size BYTES"),
                (["pool", "create", "x", "--size", "1"], "--capacity SLOTS"),
                (["pool", "create", "x", "--size"], "--size needs a value"),
                ([*create, "--size", "2"], "--size is given twice"),
                (["ping", "--socket", "a", "--socket", "b"], "--socket is given twice"),
                (["pool", "destroy", "x", "--force=yes"], "--force takes no value"),
                (["pool", "grow", "x"], "needs TO or --max SLOTS"),
                (["pool", "grow", "x", "0"], "TO 0:"),
                (["pool", "grow", "x", "--max", "4G"], "--max 4G:"),
                (["stats", "--reset"], "stats --reset needs POOL"),
                (["holders"], "holders needs POOL"),
                (["advise"], "advise needs POOL"),
                (["advise", "x", "--margin", "1001"], "--margin 1001:"),
                (["advise", "x", "--margin", "20%"], "--margin 20%:"),
                (["events", "--after", "x"], "--after x:"),
                (["events", "--timeout", "10"], "--timeout 10:"),
                (["help", "frob"], '"frob"'),
                (["--", "--json"], '"--json"')):
            with self.subTest(arguments=arguments):
                result = self.run_ctl(*arguments)
                self.assert_status(result, USAGE)
                self.assertIn(pattern, result.err)
                self.assertEqual(result.out, "")

    def test_bad_numbers_name_the_option_and_what_is_allowed(self):
        good = {"--size": "1", "--capacity": "1"}
        for option, values, allowed in (
                ("--size", ("12x", "-1", "", "1.5", "99999999999999999999", "9G9", "8589934592G"),
                 "K, M or G"),
                ("--capacity", ("12x", "-1", "1K", "4294967296"), "slots"),
                ("--max", ("x", "4294967296"), "slots"),
                ("--grow-ahead", ("-1",), "slots"),
                ("--reserve-critical", ("1K",), "slots"),
                ("--reserve-normal", ("",), "slots"),
                ("--session-slots", ("all",), "slots"),
                ("--user-slots", ("4294967296",), "slots"),
                ("--zero", ("", "always", "Free"), "never, allocate or free"),
                ("--hold-limit", ("10", "1.5s", "9223372037s"), "500ms, 10s, 5m or 2h"),
                ("--trim-after", ("1 s", "s"), "500ms, 10s, 5m or 2h"),
                ("--group", ("no such group", "4294967295"), "a group that exists"),
                ("--align", ("12x", "-1", "0", "4294967296"), "power of two up to 4096"),
                ("--mode", ("999", "rw", "-1", "01000", "0"), "octal")):
            for value in values:
                arguments = [f"{key}={text}" for key, text in {**good, option: value}.items()]
                with self.subTest(arguments=arguments):
                    result = self.run_ctl("pool", "create", "x", *arguments)
                    self.assert_status(result, USAGE)
                    self.assertIn(f"{option} {value}:", result.err)
                    self.assertIn(allowed, result.err)

    def test_wrong_usage_is_json_wherever_it_is_asked_for(self):
        for arguments in (["--json", "frob"], ["frob", "--json"], ["--frob", "--json"]):
            result = self.run_ctl(*arguments)
            self.assert_status(result, USAGE)
            self.assertEqual(result.json()["error"]["status"], USAGE)

    def test_each_command_has_help(self):
        for command in COMMANDS:
            for arguments in ([*command, "--help"], ["--help", *command], ["help", *command]):
                result = self.run_ctl(*arguments)
                self.assert_status(result, OK)
                self.assertIn(f"usage: fastallocctl {' '.join(command)}", result.out)
                self.assertEqual(result.err, "")

    def test_help_lists_each_command_within_a_terminal(self):
        result = self.run_ctl("--help")
        self.assert_status(result, OK)
        for command in COMMANDS:
            self.assertRegex(result.out, rf"(?m)^  {' '.join(command)}\b")
        for command in ([], *COMMANDS):
            for line in self.run_ctl("help", *command).out.splitlines():
                self.assertLessEqual(len(line), 100)

    def test_help_is_text_with_json_too_and_says_so(self):
        text = self.run_ctl("--help").out
        self.assertIn("JSON instead of text, except for help;", text)
        for arguments in (["--help", "--json"], ["help", "--json"]):
            result = self.run_ctl(*arguments)
            self.assert_status(result, OK)
            self.assertEqual(result.out, text)

    def test_version_is_told(self):
        self.assertRegex(self.run_ctl("--version").out, r"\Afastallocctl \d+\.\d+\.\d+\n\Z")
        version = self.run_ctl("--json", "--version").json()["version"]
        self.assertRegex(version, r"\A\d+\.\d+\.\d+\Z")

    def test_no_daemon_is_unreachable(self):
        self.env["FASTALLOC_SOCKET"] = str(self.directory / "none.sock")
        for command in (["ping"], ["pool", "list"], ["stats"], ["sessions"], ["pool", "show", "x"],
                        ["events", "--follow"], ["advise", "x"]):
            result = self.run_ctl(*command, "--json")
            self.assert_status(result, UNREACHABLE)
            self.assertEqual(result.json()["error"]["name"], "FASTALLOC_ERR_UNREACHABLE")

    def test_a_path_too_long_for_a_socket_is_wrong_usage(self):
        self.assert_status(self.run_ctl("--socket", "/" + "x" * 200, "ping"), USAGE)

    def test_control_characters_are_made_harmless(self):
        result = self.run_ctl("\x1b[31mred\x07", "\x9b")
        self.assert_status(result, USAGE)
        self.assertIn(r"\x1b[31mred\x07", result.err)
        self.assertIsNone(re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", result.err))

    def answer(self, reply):
        """A socket at which something else answers: reads a little, replies, closes."""
        path = str(self.directory / "other.sock")
        self.env["FASTALLOC_SOCKET"] = path
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()

        def serve():
            with server, server.accept()[0] as peer:
                peer.recv(4096)
                peer.sendall(reply)
                peer.shutdown(socket.SHUT_WR)
                peer.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)

    def test_something_else_at_the_socket_is_another_protocol(self):
        self.answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assert_status(self.run_ctl("ping"), PROTOCOL)

    def test_a_daemon_of_another_age_is_another_protocol(self):
        # [1, msgid 1, {code: 4, name, message, detail: {requested: 1, actual: 9}}, nil]
        try:
            import msgpack
        except ImportError:
            self.skipTest("python3-msgpack isn't installed")
        for msgid in (0, 1):
            self.answer(msgpack.packb([1, msgid, {
                "code": 4, "name": "PROTOCOL_MISMATCH", "message": "too old",
                "detail": {"requested": 1, "actual": 9}}, None]))
            result = self.run_ctl("ping", "--json")
            os.unlink(self.env["FASTALLOC_SOCKET"])
            self.assert_status(result, PROTOCOL)
            names = {result.json()["error"]["name"]}
            if "FASTALLOC_ERR_PROTOCOL_MISMATCH" in names:
                return
        self.fail("the mismatch was never understood")


if __name__ == "__main__":
    sys.exit(ctl_case.main())
