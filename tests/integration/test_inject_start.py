"""Each system call and each allocation of a daemon that begins, takes over what a dead one left, and ends
fails in its turn, alone or with all that follow: it goes on or says why not, and what there was is found
again by the next.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from inject_case import FIRST_ERRORS, SANITIZED, WAYS, Injection
from protocol_case import DAEMON, Case, die_with_us, main
from protocol_client import DEADLINE, Client

LEASED = 2
SOUND = 0


class TestLife(unittest.TestCase):
    """Of one daemon after the other, at the same socket."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="life-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.socket = self.directory / "test.sock"
        self.objects = Case.shared_objects()
        self.injection = Injection()
        self.addCleanup(self.injection.remove)

    def start(self, *arguments, injected=False):
        command = [DAEMON, "--socket", self.socket, *arguments]
        with open(self.directory / "log", "wb") as log:
            process = subprocess.Popen(
                self.injection.command(*command) if injected else command, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=die_with_us,
                env={**os.environ, **(self.injection.environment() if injected else {})})
        self.addCleanup(process.kill)
        return process

    def run_daemon(self, *arguments):
        """Its status."""
        return self.start(*arguments).wait(timeout=DEADLINE)

    def log(self):
        return (self.directory / "log").read_text(encoding="utf-8")

    def run_injected(self, way, number, *arguments):
        """From its begin to its end, which comes as soon as it has nothing to do. Whether there was a
        call of that number.
        """
        self.injection.prepare(way, number, at_begin=True)
        self.injection["resting"] = False
        process = self.start(*arguments, injected=True)
        deadline = time.monotonic() + DEADLINE
        while process.poll() is None and not self.injection["resting"]:
            self.assertLess(time.monotonic(), deadline, self.injection.describe())
            time.sleep(0)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=DEADLINE)
        over = self.injection.is_over()
        self.injection.disarm()
        if status == -signal.SIGABRT: # libuv's way to say that there is no memory for its own
            self.assertTrue(self.injection["memory"])
            self.assertIn("ended by abort(), as where there is no memory left", self.log())
        else:
            self.assertIn(status, (0, 1, 4), (self.injection.describe(), self.log()))
        if status == 1 and self.injection["number"] != 1: # a line that can't be written isn't
            self.assertIn("fastallocd: error: ", self.log())
        if not self.injection["failed"]:
            self.assertEqual(status, 0, self.log())
        return not over

    def each(self, attempt, ways=WAYS):
        for way in ways:
            number = 1
            while True:
                self.injection.prepare(way, number)
                goes_on = attempt(way, number)
                if not goes_on:
                    break
                number += 7 if SANITIZED else 1

    def test_beginning_and_ending(self):
        def attempt(way, number):
            goes_on = self.run_injected(way, number, "--exit-idle", "0")
            with self.subTest(what=self.injection.describe(), log=self.log()):
                self.assertEqual(Case.shared_objects(), self.objects)
                self.assertEqual(self.run_daemon("--exit-idle", "0"), 0, self.log())
                self.assertEqual(Case.shared_objects(), self.objects)
                self.assertEqual(os.listdir(self.directory), ["log"])
            return goes_on
        self.each(attempt)

    def leave_a_dead_instance(self):
        """With what a daemon has to look at when it takes it over."""
        process = self.start()
        self.client = Client(self.socket, name="holder", witness=True)
        self.addCleanup(self.client.close)
        self.plain = self.client.open("plain", create=True, write=True, map=True, object_size=5000,
                                      capacity=8, template=b"template", zero=1)
        self.leased = self.client.open("leased", create=True, write=True, map=True, object_size=64,
                                       capacity=8, kind=LEASED)
        self.handles = self.plain.allocate(count=8)
        self.plain.free(*self.handles[:6])
        self.client.call("pool.trim", name="plain")
        self.plain.detach(self.handles[7])
        self.plain.retain(self.handles[7])
        self.granted = self.client.call("lease", pool=self.leased.number, count=2)["slots"]
        process.kill()
        process.wait()

    def test_taking_over(self):
        self.leave_a_dead_instance()
        objects = Case.shared_objects()

        def attempt(way, number):
            goes_on = self.run_injected(way, number, "--retry")
            with self.subTest(what=self.injection.describe(), log=self.log()):
                self.assertEqual(Case.shared_objects(), objects)
                self.assertEqual(self.run_daemon("--check"), SOUND, self.log())
            return goes_on
        self.each(attempt)
        self.find_it_again()

    def find_it_again(self):
        process = self.start("--retry")
        self.client.resume(self.plain, self.leased)
        self.assertEqual(bytes(self.plain.get(self.handles[6])[:8]), b"template")
        self.assertEqual(self.client.call("stats", name="plain")["current_usage"], 2)
        self.assertEqual(self.plain.free(self.handles[6]), 1)
        self.assertEqual(self.client.call("check")["findings"], [])
        self.plain.unmap()
        self.leased.unmap()
        self.client.close()
        with Client(self.socket) as client:
            for name in ("plain", "leased"):
                client.call("pool.destroy", name=name, force=True)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=DEADLINE), 0, self.log())
        self.assertEqual(Case.shared_objects(), self.objects)

    def test_purging(self):
        """What couldn't be purged is purged by the next."""
        def attempt(way, number):
            self.leave_a_dead_instance()
            self.client.close()
            goes_on = self.run_injected(way, number, "--purge")
            with self.subTest(what=self.injection.describe(), log=self.log()):
                self.assertEqual(self.run_daemon("--purge"), 0, self.log())
                self.assertEqual(Case.shared_objects(), self.objects)
            return goes_on
        self.each(attempt, FIRST_ERRORS)


if __name__ == "__main__":
    main()
