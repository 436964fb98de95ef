"""fastallocctl demo: right whoever dies, and nothing left of it."""

import os
import pathlib
import random
import re
import signal
import sys
import time

import ctl_case
from ctl_case import DEADLINE, FAILED, OK, UNREACHABLE
from demo_case import LICENCE, READERS, DemoCase, comm, descriptors


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
        self.assertGreater(names["demo-writer"]["granted"] + names["demo-reader-1"]["granted"],
                           1)

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
