"""What the tests of fastallocctl demo share: running it, and the laws of one that worked."""

import os
import pathlib

from ctl_case import OK, Case

LICENCE = b"".join(b"%d The quick brown fox jumps over the lazy dog. \t ends\n" % number
                   for number in range(2000))
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
        handed_on = sum(reader["handed_on"] for reader in readers)
        late = 1  # killed when its totals had been read already
        # A line that a lost reader had adopted is reclaimed, or freed by the writer before.
        self.assertGreaterEqual(stats["reclaimed"], lost)
        self.assertLessEqual(stats["reclaimed"], lost + handed_on + late)
        self.assertEqual(stats["allocation_failures"], 1)
        self.assertEqual(stats["peak_usage"], stats["capacity"])
        allocations = stats["capacity"] + demo["slots"] + handed_on + len(readers) + lost
        self.assertIn(stats["total_allocations"], (allocations, allocations + late))
        self.assertEqual(stats["total_deallocations"], stats["total_allocations"])
        self.assertEqual(demo["exhausted"]["name"], "FASTALLOC_ERR_POOL_EXHAUSTED")

    def check_content(self, content):
        demo = self.demo(self.file(content))
        self.assertEqual(demo["totals"]["lines"], content.count(b"\n"))
        self.assertEqual(demo["totals"]["bytes"], len(content))
        return demo
