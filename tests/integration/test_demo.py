"""fastallocctl demo: right on any input, and nothing left of it."""

import os
import pathlib
import random
import re
import subprocess
import sys

import ctl_case
from ctl_case import CTL, DAEMON, DEADLINE, FAILED, OK, UNREACHABLE, can_be_another
from demo_case import LICENCE, DemoCase, descriptors

SLOT_TEXT = 248


class TestInputs(DemoCase):
    def test_default_is_a_licence(self):
        demo = self.demo()
        self.assertIs(demo["private_daemon"], True)
        self.assertEqual(demo["killed"]["line"], 10)
        self.assertGreaterEqual(demo["killed"]["reclaimed"], 1)
        self.assertEqual(demo["readers"][1]["slots"], 9)

    def test_what_the_victim_had_adopted_comes_back(self):
        """Unless the writer, which may notice its end first, frees it before."""
        self.until(lambda: self.demo()["killed"]["reclaimed"] > 1)

    def test_empty_file(self):
        demo = self.check_content(b"")
        self.assertEqual((demo["slots"], demo["killed"]["line"]), (0, 0))

    def test_one_line_for_another_reader(self):
        demo = self.check_content(b"hello world\n")
        self.assertEqual((demo["slots"], demo["killed"]["line"]), (1, 0))

    def test_one_line_for_the_victim(self):
        for content in (b"hello\nworld\n", b"hello\nworld", b"a\nb\nc\nd\n"):
            demo = self.check_content(content)
            self.assertEqual(demo["killed"]["line"], 1)
            self.assertEqual(demo["readers"][1]["slots"], 0)
            self.assertGreaterEqual(demo["readers"][1]["handed_on"], 1)

    def test_no_final_newline(self):
        demo = self.check_content(LICENCE + b"the end")
        self.assertEqual(demo["slots"], 2001)

    def test_nul_bytes(self):
        self.check_content(b"a\0b \0 c\n\0\0\n" * 500)
        self.check_content(b"\0" * 10000)

    def test_only_newlines(self):
        self.assertEqual(self.check_content(b"\n" * 50000)["slots"], 50000)

    def test_lines_longer_than_a_slot(self):
        content = b"word " * 20000 + b"\n" + b"x" * 30000 + b" \001\n" + b"\001" * 999
        self.assertGreater(self.check_content(content)["slots"], len(content) // SLOT_TEXT)

    def test_lines_about_as_long_as_a_slot(self):
        for length in range(SLOT_TEXT - 2, SLOT_TEXT + 2):
            demo = self.check_content((b"y" * length + b"\n") * 100)
            self.assertEqual(demo["slots"], 100 * (1 + (length + 1 > SLOT_TEXT)))

    def test_any_bytes(self):
        self.check_content(random.Random(4711).randbytes(500000))

    def test_eight_megabytes(self):
        demo = self.check_content((LICENCE * 90)[:8 * 1024 * 1024])
        self.assertEqual(demo["killed"]["line"], 10)
        self.assertGreater(demo["readers"][1]["handed_on"], 0)


class TestShow(DemoCase):
    def test_shows_each_step_within_a_terminal(self):
        result = self.run_ctl("demo", self.file(LICENCE))
        self.assert_status(result, OK)
        self.assertEqual(result.err, "")
        steps = [line.split()[0] for line in result.out.splitlines() if re.match(r"[a-z]+  ", line)]
        self.assertEqual(steps[:6],
                         ["daemon", "pool", "exhausted", "passing", "killed", "passed"])
        self.assertIn("is exhausted: 4096 of 4096", " ".join(result.out.split()))
        self.assertRegex(" ".join(result.out.split()), r"Held by: session \d+ 'demo' ")
        self.assertIn("agree: yes", result.out)
        self.assertRegex(result.out, r"reclaimed +\d+  ")
        rows = {line.split()[0]: line.split()[1:] for line in result.out.splitlines() if line}
        self.assertEqual(rows["fastalloc"], rows["wc"])
        for line in result.out.splitlines():
            self.assertEqual(line, line.rstrip())
            if not line.startswith("  /"):  # a command, with a path of any length
                self.assertLessEqual(len(line.replace(str(self.directory), "")), 80)
        self.assertLessEqual(len(result.out.splitlines()), 50)
        self.assert_nothing_left()

    def check_next_commands(self, place):
        out = self.run_ctl("demo").out
        commands = [line.strip() for line in out.splitlines() if line.startswith("  /")]
        self.assertEqual(len(commands), 2)
        self.assertIn(f"fastallocd {place} &", commands[0])
        script = (f"{commands[0]} pid=$!; {commands[1]}; status=$?; "
                  "kill $pid; wait $pid; exit $status")
        run = subprocess.run(["sh", "-c", script], env=self.env, check=False, capture_output=True,
                             text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("Made pool things", run.stdout)

    def test_next_commands_work_as_printed(self):
        self.check_next_commands("--user")

    def test_next_commands_work_where_the_environment_names_the_socket(self):
        self.env["FASTALLOC_SOCKET"] = str(self.directory / "a place" / "x.sock")
        self.check_next_commands('--socket "$FASTALLOC_SOCKET"')

    def on_terminal(self, columns):
        """What the demo writes to standard error, on a terminal of that width."""
        command = f"stty cols {columns} <&2; {CTL} demo {self.file(LICENCE * 90)} >/dev/null"
        run = subprocess.run(["script", "-qec", command, "/dev/null"], env=self.env, check=False,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.assertEqual(run.returncode, 0)
        return run.stdout

    def test_bar_is_for_terminals_that_have_room(self):
        bar = self.on_terminal(60)
        self.assertIn(b" %", bar)
        self.assertNotIn(b"\033", bar)
        self.assertLess(max(map(len, bar.split(b"\r"))), 60)
        self.assertRegex(bar, rb"\r {59}\r\Z")
        self.assertIn(b" %", self.on_terminal(0))
        self.assertEqual(self.on_terminal(59), b"")
        self.assertEqual(self.run_ctl("demo", self.file(LICENCE * 90)).err, "")

    def test_output_that_cant_be_written_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            for arguments in (["demo"], ["demo", "--json"]):
                self.assert_status(self.run_ctl(*arguments, stdout=full), FAILED)
        self.assert_nothing_left()


class TestRefusals(DemoCase):
    def refused(self, *arguments, status=FAILED):
        result = self.run_ctl("demo", *arguments)
        self.assert_status(result, status)
        self.assertEqual(result.out, "")
        self.assert_nothing_left()
        return result.err

    def test_files_that_cant_be_read(self):
        fifo = self.directory / "fifo"
        os.mkfifo(fifo)
        for path, why in (("/nonexistent/x", "No such file"), (self.directory, "is a directory"),
                          (fifo, "not a regular file"), ("/dev/null", "not a regular file")):
            self.assertIn(why, self.refused(path))
        self.assertIn(r"\x1b[31m", self.refused("/none\x1b[31m"))

    def test_a_file_of_somebody_else(self):
        path = self.file(b"secret\n")
        path.chmod(0)
        command = [CTL, "demo", str(path)]
        if os.geteuid() == 0 and not can_be_another():
            self.skipTest("reads every file, and can't be another user")
        if os.geteuid() == 0:
            os.chmod(self.directory, 0o755)
            command = ["setpriv", "--reuid", "65534", "--clear-groups", *command]
        run = subprocess.run(command, env=self.env, check=False, capture_output=True, text=True)
        self.assertEqual(run.returncode, FAILED)
        self.assertIn("Permission denied", run.stderr)

    def test_a_daemon_that_was_named_must_be_there(self):
        self.refused("--socket", str(self.directory / "none.sock"), status=UNREACHABLE)

    def test_no_program_to_start(self):
        copy = self.directory / "bin" / "fastallocctl"
        copy.parent.mkdir()
        copy.write_bytes(pathlib.Path(CTL).read_bytes())
        copy.chmod(0o755)
        library = pathlib.Path(CTL).resolve().parent.parent / "lib"
        env = {**self.env, "PATH": "/nonexistent", "LD_LIBRARY_PATH": str(library)}
        run = subprocess.run([copy, "demo"], env=env, check=False, capture_output=True, text=True)
        self.assertEqual(run.returncode, FAILED)
        self.assertIn("no fastallocd to start", run.stderr)
        self.assert_nothing_left()

        env["PATH"] = f"/nonexistent:{pathlib.Path(DAEMON).parent}:/usr/bin"
        run = subprocess.run([copy, "demo"], env=env, check=False, capture_output=True, text=True)
        self.assertEqual(run.returncode, OK, run.stderr)

    def test_a_program_that_doesnt_start(self):
        copy = self.directory / "bin" / "fastallocctl"
        copy.parent.mkdir()
        copy.write_bytes(pathlib.Path(CTL).read_bytes())
        broken = copy.parent / "fastallocd"
        broken.write_text("#!/bin/sh\necho first >&2\necho 'no good' >&2\nexit 1\n")
        copy.chmod(0o755)
        broken.chmod(0o755)
        library = pathlib.Path(CTL).resolve().parent.parent / "lib"
        env = {**self.env, "LD_LIBRARY_PATH": str(library)}
        run = subprocess.run([copy, "demo"], env=env, check=False, capture_output=True, text=True)
        self.assertEqual(run.returncode, FAILED)
        self.assertIn("ended while starting: no good", run.stderr)
        self.assert_nothing_left()


class TestExisting(DemoCase):
    def test_uses_the_daemon_that_runs_and_leaves_it_as_it_was(self):
        daemon = self.start_daemon()

        def settled():
            """How many descriptors it has, once it has no connection any more."""
            links = list(descriptors(daemon.pid).values())
            return len(links) if sum("socket:" in link for link in links) == 1 else 0

        self.assert_status(self.run_ctl("ping"), OK)
        before = self.until(settled)
        for _ in range(3):
            result = self.run_ctl("demo", self.file(LICENCE), "--json")
            self.assert_status(result, OK)
            demo = result.json()
            self.check(demo)
            self.assertIs(demo["private_daemon"], False)
        self.assertEqual(self.run_ctl("pool", "list", "--json").json(), {"pools": []})
        self.assertEqual(len(self.run_ctl("sessions", "--json").json()["sessions"]), 1)
        self.assertEqual(self.until(settled), before, descriptors(daemon.pid))
        self.assertIsNone(daemon.poll())

    def test_two_demos_at_once(self):
        self.start_daemon()
        path = self.file(LICENCE * 10)
        demos = [self.popen("demo", path, "--json") for _ in range(3)]
        for process in demos:
            out, err = process.communicate(timeout=DEADLINE)
            self.assertEqual(process.returncode, OK, err)
            self.assertIn(b'"agree": true', out)
        self.assertEqual(self.run_ctl("pool", "list", "--json").json(), {"pools": []})


if __name__ == "__main__":
    sys.exit(ctl_case.main())
