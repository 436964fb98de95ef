"""Each system call and each allocation of fastallocctl fails in its turn, alone or with all that follow:
it does what it should or says in one line why not, with a status that is documented.
"""

import subprocess

import ctl_case
from ctl_case import CTL, FAILED, OK, PROTOCOL, UNREACHABLE, USAGE, Case, Result, WithDaemon
from inject_case import FIRST_ERRORS, ONCE, SANITIZED, Injection
from protocol_client import DEADLINE

NEW = ("pool", "create", "new", "--size", "5K", "--capacity", "8", "--max", "64")


def run_injected(case, way, number, *arguments):
    case.injection.prepare(way, number, at_begin=True)
    try:
        process = subprocess.run(case.injection.command(CTL, *arguments), check=False,
                                 env={**case.env, **case.injection.environment()},
                                 stdin=subprocess.DEVNULL, capture_output=True,
                                 timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        case.fail(f"it never ends after {case.injection.describe()}: {arguments}")
    case.injection.disarm()
    return Result(process, process.stdout, process.stderr)


class TestCommands(WithDaemon):
    """Each with a daemon that is well."""

    def setUp(self):
        super().setUp()
        self.injection = Injection()
        self.addCleanup(self.injection.remove)
        self.create("things")
        self.open("things").allocate(count=3)

    def each(self, *arguments, prepare=lambda: None, tidy=lambda: None):
        for way in FIRST_ERRORS:
            number = 1
            while True:
                prepare()
                result = run_injected(self, way, number, *arguments)
                with self.subTest(what=self.injection.describe(), arguments=arguments,
                                  out=result.out, err=result.err):
                    self.assertIn(result.status, set(range(OK, PROTOCOL + 1)) - {USAGE})
                    if result.status != OK and not self.is_mute():
                        self.assert_one_line(result)
                    if not self.injection["failed"]:
                        self.assertEqual(result.status, OK)
                tidy()
                if self.injection.is_over():
                    break
                number += 7 if SANITIZED else 1

    def is_mute(self):
        """What failed was the writing of what it had to say."""
        return self.injection["number"] == 1

    def test_looking(self):
        for command in (("ping",), ("pool", "list"), ("pool", "show", "things", "--json"),
                        ("sessions", "--json"), ("stats", "things"), ("stats", "--json"),
                        ("advise", "things"), ("holders", "things", "--json"), ("check",),
                        ("help",)):
            self.each(*command)

    def test_making(self):
        def tidy():
            self.run_ctl("pool", "destroy", "new")
        self.each(*NEW, tidy=tidy)

    def test_changing(self):
        def prepare():
            self.run_ctl("pool", "destroy", "new")
            self.assert_status(self.run_ctl(*NEW), OK)
        for command in ("grow", "new", "16"), ("trim", "new"), ("destroy", "new"):
            self.each("pool", *command, prepare=prepare)


class TestDemo(Case):
    """With all of its processes, the daemon among them. Which call is the n-th isn't sure, so not each
    is tried.
    """

    def setUp(self):
        super().setUp()
        self.injection = Injection()
        self.addCleanup(self.injection.remove)

    def test_demo(self):
        for way in ONCE:
            number = 1
            while True:
                result = run_injected(self, way, number, "demo")
                with self.subTest(what=self.injection.describe(), out=result.out, err=result.err):
                    self.assertIn(result.status, (OK, FAILED, UNREACHABLE))
                    if result.status != OK:
                        self.assertRegex(result.err, "fastallocctl: [^\n]+\n")
                    self.until(lambda: not self.processes())
                    self.assert_no_memory_left()
                if self.injection.is_over():
                    break
                number += 100 if SANITIZED else 20


if __name__ == "__main__":
    ctl_case.main()
