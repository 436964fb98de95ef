"""What the tests of fastallocctl share: running it, a daemon for it, and what is left after."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

CTL = os.environ.get("FASTALLOCCTL", "")
DAEMON = os.environ.get("FASTALLOCD", "")
DEADLINE = 300 if os.environ.get("FASTALLOC_SANITIZE") else 60

OK, FAILED, USAGE, UNREACHABLE, NO_SUCH_POOL, NOT_PERMITTED, PROTOCOL = range(7)


def can_be_another():
    """Whether this process may become another user: root may, but not if that one isn't mapped."""
    return os.geteuid() == 0 and subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", "true"], check=False,
        stderr=subprocess.DEVNULL).returncode == 0


def main():
    """Runs the tests of the calling module, in a /dev/shm of their own where that can be had."""
    if not os.path.exists(CTL) or not os.path.exists(DAEMON):
        print("fastallocctl or fastallocd isn't built: skipped")
        sys.exit(77)
    if "OWN_SHM" not in os.environ:
        unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        script = 'mount -t tmpfs -o size=256M tmpfs /dev/shm && exec "$@"'
        if subprocess.run([*unshare, "sh", "-c", script, "sh", "true"], check=False,
                          stderr=subprocess.DEVNULL).returncode == 0:
            os.environ["OWN_SHM"] = "1"
            os.execvp(unshare[0], [*unshare, "sh", "-c", script, "sh", sys.executable, *sys.argv])
    unittest.main(verbosity=1)


class Result:
    """What a run of the tool gave."""

    def __init__(self, process, out, err):
        self.status = process.returncode
        self.out = out.decode(errors="surrogateescape")
        self.err = err.decode(errors="surrogateescape")

    def json(self):
        """Standard output as one JSON document, which json.tool accepts too."""
        subprocess.run([sys.executable, "-m", "json.tool"], input=self.out.encode(), check=True,
                       stdout=subprocess.DEVNULL)
        return json.loads(self.out)


class Case(unittest.TestCase):
    """A directory of the test's own; each process started in it must be gone at the end."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ctl-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.tmp = self.directory / "tmp"
        self.tmp.mkdir()
        self.env = {**os.environ, "TMPDIR": str(self.tmp), "XDG_RUNTIME_DIR": str(self.directory)}
        self.env.pop("FASTALLOC_SOCKET", None)
        self.shm = set(os.listdir("/dev/shm"))

    def popen(self, *arguments, **options):
        options = {"env": self.env, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                   "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen([CTL, *map(str, arguments)], **options)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def run_ctl(self, *arguments, **options):
        process = self.popen(*arguments, **options)
        out, err = process.communicate(timeout=DEADLINE)
        return Result(process, out or b"", err or b"")

    def start_daemon(self, *arguments):
        """A daemon, which is ended with the test; the tool waits for it by itself."""
        socket = self.directory / "test.sock"
        log = open(self.directory / "daemon.log", "ab")
        process = subprocess.Popen([DAEMON, "--socket", socket, *arguments], env=self.env,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.addCleanup(self.stop_daemon, process)
        self.env["FASTALLOC_SOCKET"] = str(socket)
        self.until(socket.exists)
        return process

    @staticmethod
    def stop_daemon(process):
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=DEADLINE)

    def until(self, condition):
        """Asks again and again; the deadline is for failures only."""
        deadline = time.monotonic() + DEADLINE
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                self.fail(f"never came true: {condition}")
            time.sleep(0.0005)

    def processes(self):
        """Those that run with this test's environment."""
        mark = f"TMPDIR={self.tmp}".encode()
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                pass
        return found

    def assert_nothing_left(self):
        self.assertEqual(list(self.tmp.iterdir()), [])
        self.assertEqual(self.processes(), [])
        self.assert_no_memory_left()

    def assert_no_memory_left(self):
        """Only where nobody else makes segments meanwhile."""
        if "OWN_SHM" in os.environ:
            self.assertEqual(set(os.listdir("/dev/shm")) - self.shm, set())

    def assert_status(self, result, status):
        self.assertEqual(result.status, status, f"{result.out}\n{result.err}")
        if status != OK:
            self.assert_one_line(result)

    def assert_one_line(self, result):
        """A failure is told in one line, which begins with the tool's name."""
        self.assertRegex(result.err, r"\Afastallocctl: [^\n]+\n\Z")


class WithDaemon(Case):
    """A test with a daemon of its own, and clients in this process that hold what they are told to."""

    def setUp(self):
        super().setUp()
        self.daemon = self.start_daemon()

    def ok(self, *arguments):
        """The JSON of a run that must succeed."""
        result = self.run_ctl(*arguments, "--json")
        self.assert_status(result, OK)
        return result.json()

    def text(self, *arguments):
        """The text of a run that must succeed."""
        result = self.run_ctl(*arguments)
        self.assert_status(result, OK)
        return result.out

    def refused(self, name, *arguments, status=FAILED):
        """The error of a run that must fail with that name."""
        result = self.run_ctl(*arguments, "--json")
        self.assertEqual(result.status, status, f"{result.out}\n{result.err}")
        error = result.json()["error"]
        self.assertEqual((error["name"], error["status"]), ("FASTALLOC_ERR_" + name, status))
        return error

    def as_another(self, *arguments):
        """A run as another user, where can_be_another()."""
        process = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", CTL,
                                  *map(str, arguments)], env=self.env, check=False,
                                 capture_output=True, timeout=DEADLINE)
        return Result(process, process.stdout, process.stderr)

    def create(self, name="things", *more):
        result = self.run_ctl("pool", "create", name, "--size", "4K", "--capacity", "1000", *more)
        self.assert_status(result, OK)
        return result

    def client(self, name="holder"):
        """A session that ends with the test."""
        try:
            from protocol_client import Client
        except ImportError:
            self.skipTest("python3-msgpack isn't installed")
        client = Client(self.env["FASTALLOC_SOCKET"], name=name)
        self.addCleanup(client.close)
        return client

    def open(self, pool, name="holder"):
        return self.client(name).open(pool, write=True)
