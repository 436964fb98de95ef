"""fastallocctl demo: right on any input, whoever dies, and nothing left of it."""

import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import ctl_case
from ctl_case import CTL, DAEMON, DEADLINE, FAILED, OK, UNREACHABLE, Case, can_be_another

LICENCE = b"".join(b"%d The quick brown fox jumps over the lazy dog. \t ends\n" % number
                   for number in range(2000))
SLOT_TEXT = 248
READERS = ("demo-reader-1", "demo-reader-2", "demo-reader-3")


def comm(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def descriptors(pid):
    """What a process has open, but for the three standard streams."""
    links = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            if int(number) > 2:
                links[number] = os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            pass  # closed meanwhile
    return links


class DemoCase(Case):
    def file(self, content):
        path = self.directory / "input"
        path.write_bytes(content)
        return path

    def demo(self, *arguments):
        """Runs it, and checks what must hold whatever it is given."""
        result = self.run_ctl("demo", *arguments, "--json")
        self.assert_nothing_left()
        self.assert_status(result, OK)
        self.assertEqual(result.err, "")
        demo = result.json()
        self.check(demo)
        return demo

    def check(self, demo):
        """The laws of a demo that worked."""
        self.assertIs(demo["agree"], True)
        self.assertEqual(demo["totals"], demo["wc"])
        readers = demo["readers"]
        for key in ("lines", "words", "bytes"):
            self.assertEqual(sum(reader[key] for reader in readers), demo["totals"][key])
        self.assertEqual(sum(reader["slots"] for reader in readers), demo["slots"])

        stats = demo["stats"]
        lost = sum(reader["lost"] for reader in readers)
        self.assertEqual(stats["current_usage"], 0)
        late = stats["reclaimed"] - lost  # killed when its totals had been read already
        self.assertIn(late, (0, 1))
        self.assertEqual(stats["allocation_failures"], 1)
        self.assertEqual(stats["peak_usage"], stats["capacity"])
        allocations = stats["capacity"] + demo["slots"] + len(readers) + lost
        self.assertIn(stats["total_allocations"], (allocations, allocations + late))
        self.assertEqual(stats["total_deallocations"], stats["total_allocations"])
        self.assertEqual(demo["exhausted"]["name"], "FASTALLOC_ERR_POOL_EXHAUSTED")

    def check_content(self, content):
        demo = self.demo(self.file(content))
        self.assertEqual(demo["totals"]["lines"], content.count(b"\n"))
        self.assertEqual(demo["totals"]["bytes"], len(content))
        return demo


class TestInputs(DemoCase):
    def test_default_is_a_licence(self):
        demo = self.demo()
        self.assertIs(demo["private_daemon"], True)
        self.assertEqual(demo["killed"]["line"], 10)
        self.assertGreaterEqual(demo["killed"]["reclaimed"], 1)
        self.assertEqual(demo["readers"][1]["slots"], 9)

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
        self.assertIn("agree: yes", result.out)
        self.assertRegex(result.out, r"reclaimed +1  ")
        rows = {line.split()[0]: line.split()[1:] for line in result.out.splitlines() if line}
        self.assertEqual(rows["fastalloc"], rows["wc"])
        for line in result.out.splitlines():
            self.assertEqual(line, line.rstrip())
            if not line.startswith("  /"):  # a command, with a path of any length
                self.assertLessEqual(len(line.replace(str(self.directory), "")), 80)
        self.assertLessEqual(len(result.out.splitlines()), 45)
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


class TestEarlyDeaths(DemoCase):
    """A daemon that is stopped holds a demo up when its workers are there and nothing has begun."""

    def demo_without(self, *names):
        """A demo whose workers of these names are killed before they have done anything."""
        daemon = self.start_daemon()
        self.assert_status(self.run_ctl("ping"), OK)
        daemon.send_signal(signal.SIGSTOP)
        try:
            demo = self.popen("demo", self.file(LICENCE), "--json")
            pids = self.until(lambda: self.workers(demo))
            for name in names:
                os.kill(pids[name], signal.SIGKILL)
        finally:
            daemon.send_signal(signal.SIGCONT)
        out, err = demo.communicate(timeout=DEADLINE)
        return ctl_case.Result(demo, out, err)

    @staticmethod
    def workers(demo):
        text = pathlib.Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text()
        pids = {comm(pid): int(pid) for pid in text.split()}
        return pids if {"demo-writer", *READERS} <= set(pids) else None

    def check_lost(self, result, lost):
        self.assert_status(result, OK)
        demo = result.json()
        self.assertIs(demo["agree"], True)
        self.assertEqual([reader["lost"] for reader in demo["readers"]], lost)
        self.assertEqual(demo["stats"]["current_usage"], 0)
        return demo

    def test_nobody_killed(self):
        self.check_lost(self.demo_without(), [False, True, False])

    def test_the_victim_killed_by_somebody_else(self):
        demo = self.check_lost(self.demo_without("demo-reader-2"), [False, True, False])
        self.assertIsNone(demo["killed"])

    def test_the_last_reader_is_spared(self):
        result = self.demo_without("demo-reader-1", "demo-reader-3")
        demo = self.check_lost(result, [True, False, True])
        self.assertIsNone(demo["killed"])
        self.assertEqual(demo["readers"][1]["slots"], demo["slots"])

    def test_a_signal_ends_it_while_the_daemon_is_stopped(self):
        daemon = self.start_daemon()
        self.assert_status(self.run_ctl("ping"), OK)
        daemon.send_signal(signal.SIGSTOP)
        self.addCleanup(daemon.send_signal, signal.SIGCONT)
        demo = self.popen("demo", self.file(LICENCE))
        self.until(lambda: self.workers(demo))
        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate(timeout=20)
        self.assertEqual(demo.returncode, -signal.SIGINT)
        self.assertEqual((out, err), (b"", b"fastallocctl: interrupted\n"))

    def test_no_reader_at_all_is_a_failure(self):
        result = self.demo_without(*READERS)
        self.assert_status(result, FAILED)
        self.assertIn("every reader is gone", result.err)

    def test_no_writer_is_a_failure(self):
        result = self.demo_without("demo-writer")
        self.assert_status(result, FAILED)
        self.assertIn("the writer ended before its time", result.err)


class TestDeaths(DemoCase):
    """A demo that is held up by stopping one of its readers, for things to happen meanwhile."""

    def hold(self, victim="demo-reader-1"):
        """
        Starts a demo, and stops one of its readers early enough for more lines to come to it: the
        demo waits for them.
        """
        path = self.file(LICENCE * 400)
        for _ in range(50):
            demo = self.popen("demo", path, "--json", start_new_session=True)
            pids = self.until(lambda: self.workers(demo) or demo.poll() is not None)
            if pids is not True and self.stop(pids[victim]) and self.has_read(
                    pids["demo-writer"]) < path.stat().st_size // 2:
                self.until(lambda: not comm(pids.get("demo-reader-2", 0)))
                return demo, pids
            demo.terminate()
            demo.communicate(timeout=DEADLINE)
        self.fail("never caught a demo in the middle")

    @staticmethod
    def stop(pid):
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            return False
        return True

    @staticmethod
    def go_on(pid):
        """Unless it is gone: others may have noticed first, and ended the demo."""
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass

    @staticmethod
    def has_read(pid):
        """Bytes of files and sockets."""
        try:
            io = pathlib.Path(f"/proc/{pid}/io").read_text()
        except OSError:
            return float("inf")
        return int(re.search(r"rchar: (\d+)", io).group(1))

    def workers(self, demo):
        """The processes of a demo by name, once all are there and the writer is at work."""
        try:
            text = pathlib.Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text()
        except OSError:
            return None
        pids = {comm(pid): int(pid) for pid in text.split()}
        private = "FASTALLOC_SOCKET" not in self.env
        if not {"demo-writer", "demo-reader-1", "demo-reader-3"} <= set(pids):
            return None  # the victim may be gone again
        if ("fastallocd" in pids) != private:
            return None
        try:
            maps = pathlib.Path(f"/proc/{pids['demo-writer']}/maps").read_text()
        except OSError:
            return None
        return pids if "/dev/shm/" in maps else None

    def finish(self, demo, status):
        out, err = demo.communicate(timeout=DEADLINE)
        result = ctl_case.Result(demo, out, err)
        self.assertEqual(result.status, status, f"{result.out}\n{result.err}")
        return result

    def test_a_reader_killed_by_somebody_else(self):
        demo, pids = self.hold("demo-reader-1")
        os.kill(pids["demo-reader-1"], signal.SIGKILL)
        result = self.finish(demo, OK)
        self.check(result.json())
        self.assertIs(result.json()["readers"][0]["lost"], True)
        self.assertIs(result.json()["readers"][1]["lost"], True)
        self.assert_nothing_left()

    def test_readers_killed_at_random(self):
        chance = random.Random(time.time_ns())
        path = self.file(LICENCE * 40)
        lost = 0
        for _ in range(25):
            demo = self.popen("demo", path, "--json")
            pids = self.until(lambda: self.workers(demo) or demo.poll() is not None)
            if pids is not True:
                end = time.monotonic() + chance.uniform(0, 0.03)
                while time.monotonic() < end and demo.poll() is None:
                    os.sched_yield()
                name = chance.choice(READERS)
                if name in pids and comm(pids[name]) == name:
                    os.kill(pids[name], signal.SIGKILL)
            result = self.finish(demo, OK)
            self.check(result.json())
            lost += sum(reader["lost"] for reader in result.json()["readers"])
        self.assertGreater(lost, 25)
        self.assert_nothing_left()

    def test_every_reader_killed_is_a_failure(self):
        demo, pids = self.hold("demo-reader-1")
        os.kill(pids["demo-reader-3"], signal.SIGKILL)
        os.kill(pids["demo-reader-1"], signal.SIGKILL)
        result = self.finish(demo, FAILED)
        self.assertIn("every reader is gone", result.err)
        self.assert_nothing_left()

    def test_the_writer_killed_is_a_failure(self):
        demo, pids = self.hold()
        os.kill(pids["demo-writer"], signal.SIGKILL)
        result = self.finish(demo, FAILED)
        self.assertIn("the writer ended before its time", result.err)
        self.assert_nothing_left()

    def test_the_daemon_killed_is_a_failure_that_is_cleaned_up(self):
        demo, pids = self.hold()
        os.kill(pids["fastallocd"], signal.SIGKILL)
        self.go_on(pids["demo-reader-1"])
        out, err = demo.communicate(timeout=DEADLINE)
        self.assertIn(demo.returncode, (FAILED, UNREACHABLE), err)
        self.assert_one_line(ctl_case.Result(demo, out, err))
        self.assert_nothing_left()

    def test_a_signal_ends_it_and_leaves_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            demo, _ = self.hold()
            os.killpg(demo.pid, number) if number == signal.SIGINT else demo.send_signal(number)
            self.finish(demo, -number)
            self.assert_nothing_left()

    def test_a_signal_ends_it_while_its_own_daemon_is_stopped(self):
        demo, pids = self.hold()
        self.stop(pids["fastallocd"])
        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate(timeout=20)
        self.assertEqual(demo.returncode, -signal.SIGINT)
        self.assertEqual((out[:1], err), (b"{", b"fastallocctl: interrupted\n"))
        self.assert_nothing_left()

    def test_the_demo_itself_killed_leaves_nothing(self):
        demo, _ = self.hold()
        demo.kill()
        self.finish(demo, -signal.SIGKILL)
        self.until(lambda: self.processes() == [])
        self.assert_nothing_left()

    def test_what_may_be_left_is_told(self):
        daemon = self.start_daemon()
        demo, _ = self.hold()
        daemon.send_signal(signal.SIGSTOP)
        demo.terminate()
        try:
            result = self.finish(demo, -signal.SIGTERM)
        finally:
            daemon.send_signal(signal.SIGCONT)
        self.assertRegex(result.err,
                         r"\Afastallocctl: interrupted; what may be left: the pool demo-\w+\n\Z")

    def test_files_that_its_daemon_left_are_told(self):
        demo, _ = self.hold()
        for folder in self.tmp.glob("*.d"):
            (folder / "in the way").touch()
        demo.terminate()
        result = self.finish(demo, -signal.SIGTERM)
        self.assertRegex(result.err, r"; what may be left: \S+\.sock and what has its name\n\Z")

    def test_a_file_that_changes_meanwhile_is_noticed(self):
        demo, pids = self.hold()
        with open(self.directory / "input", "r+b") as file:
            file.write(b"\n" * 10)
        self.go_on(pids["demo-reader-1"])
        result = self.finish(demo, FAILED)
        self.assert_one_line(result)
        self.assertIn("the totals don't agree", result.err)
        self.assertIs(result.json()["agree"], False)
        self.assert_nothing_left()

    def test_its_pool_destroyed_is_a_failure(self):
        self.start_daemon()
        demo, pids = self.hold()
        name = self.run_ctl("pool", "list", "--json").json()["pools"][0]["name"]
        result = self.run_ctl("pool", "destroy", name, "--json")
        self.assert_status(result, FAILED)
        self.assertEqual(result.json()["error"]["name"], "FASTALLOC_ERR_POOL_IN_USE")
        self.assertGreater(result.json()["error"]["allocated"], 0)
        self.assertGreater(self.run_ctl("stats", name, "--json").json()["stats"][0]
                           ["utilization_rate"], 0)
        sessions = self.run_ctl("sessions", "--json").json()["sessions"]
        names = {session["name"]: session for session in sessions}
        self.assertEqual(names["demo-reader-1"]["pid"], pids["demo-reader-1"])
        self.assertGreater(names["demo-writer"]["allocated"], 0)

        self.assert_status(self.run_ctl("pool", "destroy", name, "--force"), OK)
        self.go_on(pids["demo-reader-1"])
        out, err = demo.communicate(timeout=DEADLINE)
        self.assertIn(demo.returncode, (FAILED, ctl_case.NO_SUCH_POOL), err)
        self.assert_one_line(ctl_case.Result(demo, out, err))

    def test_workers_have_nothing_open_but_their_own(self):
        demo, pids = self.hold("demo-reader-3")

        def sockets(name):
            return sum("socket:" in link for link in descriptors(pids[name]).values())

        # Control, the readers that live, the connection.
        self.until(lambda: sockets("demo-writer") == 1 + 2 + 1)
        writer = descriptors(pids["demo-writer"]).values()
        reader = descriptors(pids["demo-reader-3"]).values()
        self.assertEqual(sum(str(self.directory) in name for name in writer), 1, writer)
        self.assertEqual(sockets("demo-reader-3"), 3, reader)
        self.assertEqual(sum(str(self.directory) in name for name in reader), 0, reader)
        daemon = descriptors(pids["fastallocd"]).values()
        self.assertEqual(sum("input" in name for name in daemon), 0, daemon)
        self.go_on(pids["demo-reader-3"])
        self.check(self.finish(demo, OK).json())


if __name__ == "__main__":
    sys.exit(ctl_case.main())
