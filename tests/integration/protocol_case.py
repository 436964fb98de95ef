"""What the tests of the protocol share: a daemon, and what must be left of it: nothing."""

import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from protocol_client import DEADLINE, Client, Connection, Refusal, pack_handles, unpack_handles

PR_SET_PDEATHSIG = 1
DAEMON = os.environ.get("FASTALLOCD", "")


def main():
    """Runs the tests of the calling module, in a /dev/shm of their own where that can be had."""
    if not os.path.exists(DAEMON):
        print("fastallocd isn't built: skipped")
        sys.exit(77)
    if "OWN_SHM" not in os.environ:
        unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        script = 'mount -t tmpfs -o size=256M tmpfs /dev/shm && exec "$@"'
        command = [*unshare, "sh", "-c", script, "sh"]
        if subprocess.run([*command, "true"], check=False,
                          stderr=subprocess.DEVNULL).returncode == 0:
            os.environ["OWN_SHM"] = "1"
            os.execvp(unshare[0], [*command, sys.executable, *sys.argv])
    unittest.main(verbosity=1)


def die_with_us():
    """In a child: a test that is killed leaves no daemon behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Daemon:
    """fastallocd at a socket in a directory of its own; in place of the program, that command."""

    def __init__(self, *arguments, command=(DAEMON,), environment=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="protocol-"))
        self.socket = self.directory / "test.sock"
        self.arguments = [*command, "--socket", self.socket, *arguments]
        self.environment = {**os.environ, **(environment or {})}
        self.start()

    def start(self):
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(self.arguments,
                                            preexec_fn=die_with_us, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=self.environment)
        self.pid = self.process.pid

    def die_and_start(self):
        """By SIGKILL; the next one takes over what it left."""
        self.process.kill()
        self.process.wait()
        self.start()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self):
        """Bytes of the daemon's own memory; what it shares with clients isn't among them."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

    def log(self):
        return (self.directory / "log").read_text(encoding="utf-8")

    def stop(self):
        """Ends it in order, as a service manager would. Returns its status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=DEADLINE)

    def remove(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory)


class Case(unittest.TestCase):
    """A test with a daemon, which must end in order and leave nothing behind."""

    arguments = ()  # of the daemon

    def setUp(self):
        self.objects = self.shared_objects()
        self.daemon = Daemon(*self.arguments)
        self.addCleanup(self.daemon.remove)
        self.addCleanup(self.assert_good_end)

    def assert_good_end(self):
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log())
        self.assertEqual(self.shared_objects(), self.objects)

    @staticmethod
    def shared_objects():
        """Those in /dev/shm, if nobody else makes some meanwhile."""
        return set(os.listdir("/dev/shm")) if "OWN_SHM" in os.environ else set()

    def connect(self):
        connection = Connection(self.daemon.socket)
        self.addCleanup(connection.close)
        return connection

    def client(self, **options):
        client = Client(self.daemon.socket, **options)
        self.addCleanup(client.close)
        return client

    def until(self, condition):
        """Asks again and again; the deadline is for failures only."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"never came true: {condition}")
            time.sleep(0.001)


FRAMES = {"name": "frames", "object_size": 1000, "alignment": 64, "capacity": 8, "type": "frame"}
NS_MAX = DEADLINE * 10 ** 9  # a timeout that is over in failures only


class ProtocolCase(Case):
    """With a session `one` and a pool `frames`, made with FRAMES and what `frames` adds to it."""

    frames = {}

    def setUp(self):
        super().setUp()
        self.one = self.client(name="one")
        self.number = self.one.call("pool.create", **FRAMES, **self.frames)["pool"]
        self.addCleanup(self.destroy)

    def destroy(self):
        """Whatever a test left in use."""
        if self.daemon.process.poll() is not None:
            return
        with Client(self.daemon.socket) as client:
            while pools := client.call("pool.list")["pools"]:
                for pool in pools:
                    client.call("pool.destroy", name=pool["name"], force=True)

    def stats(self, name="frames"):
        return self.one.call("stats", name=name)

    def usage(self, name="frames"):
        return self.stats(name)["current_usage"]

    def info(self, name="frames"):
        return self.one.call("pool.list", name=name)["pools"][0]

    def make(self, name, **options):
        """A pool of its own, opened for writing."""
        return self.one.open(name, write=True, create=True,
                             **{"object_size": 64, "capacity": 4, **options})

    def assert_refused(self, error, call, /, *arguments, **options):
        """The call gives that error; returns its detail, without the words about holders."""
        with self.assertRaises(Refusal) as context:
            call(*arguments, **options)
        self.message = context.exception.message
        self.assertEqual(context.exception.name, error, self.message)
        self.assertNotIn("\n", self.message)
        self.holders = context.exception.detail.pop("holders", None)
        return context.exception.detail

    def wait_for_waiters(self, count, name="frames"):
        self.until(lambda: self.stats(name)["waiters"] == count)

    def process(self, script, *handles):
        """A process with `client` and `pool`, the handles in `handles`, which runs the script, says
        the handles that this leaves in `said`, and waits. Returns it and these.
        """
        prelude = ("import sys; sys.path.insert(0, sys.argv[1])\n"
                   "from protocol_client import *\n"
                   "client = Client(sys.argv[2], name='other', witness=True)\n"
                   "pool = client.open('frames', write=True, map=True)\n"
                   "handles, said = unpack_handles(bytes.fromhex(sys.argv[3])), []\n")
        end = "\nprint(pack_handles(said).hex(), flush=True); sys.stdin.read()"
        process = subprocess.Popen([sys.executable, "-c", prelude + script + end,
                                    os.path.dirname(os.path.abspath(__file__)), self.daemon.socket,
                                    pack_handles(handles).hex()], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, preexec_fn=die_with_us)
        self.addCleanup(self.end_process, process)
        line = process.stdout.readline().decode()
        self.assertTrue(line.endswith("\n"), "the process failed")
        return process, unpack_handles(bytes.fromhex(line))

    @staticmethod
    def end_process(process):
        process.kill()
        process.communicate()

    def kill(self, process):
        """Kills it, and waits until its session is over."""
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=DEADLINE)
        self.until(lambda: "other" not in {session["name"] for session in
                                           self.one.call("sessions")["sessions"]})
