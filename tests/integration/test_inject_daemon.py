"""Each system call and each allocation of a daemon that serves fails in its turn, alone or with all that
follow: who asked gets what it asked for or an error with a name, or the connection ends; nothing is
changed by what was refused, and all goes on.
"""

import contextlib

from inject_case import SANITIZED, WAYS, Injection
from protocol_case import DAEMON, FRAMES, Case, Daemon, NS_MAX, main
from protocol_client import Client, Closed, Refusal, pack_handles, unpack_handles

LEASED = 2
MS = 10 ** 6
CAPACITY = FRAMES["capacity"]
POOL = {"object_size": 5000, "capacity": 4, "capacity_max": 64, "growth": "linear:4",
        "template": b"template", "zero": 1}

# By what a daemon may refuse that is short of something.
SHORTAGES = {"OUT_OF_MEMORY", "SYSTEM", "SHARED_MEMORY_FULL", "LIMIT_EXCEEDED"}


class Scene:
    """A client that has come for one attempt, with the pools that there are."""

    def __init__(self, path, admin):
        self.path, self.admin = path, admin
        self.me = Client(path, name="me", witness=True)
        self.plain = self.open("plain")
        self.leased = self.open("leased")

    def open(self, name, **options):
        return self.me.open(name, **{"write": True, "map": True, **options})

    def leave(self):
        """Its session ends with the connection: nothing of it is mapped any more."""
        for pool in (self.plain, self.leased):
            pool.unmap()
        self.me.witness.close()
        self.me.close()


class TestServing(Case):
    """By the bare protocol."""

    is_one_request = True  # that an attempt makes: if it is refused nothing is changed

    def setUp(self):
        self.injection = Injection()
        self.addCleanup(self.injection.remove)
        self.objects = self.shared_objects()
        self.daemon = Daemon("--log-level", "warning",
                             command=self.injection.command(DAEMON),
                             environment=self.injection.environment())
        self.addCleanup(self.daemon.remove)
        self.addCleanup(self.assert_good_end)
        self.admin = self.client(name="admin")
        self.daemon.pid = self.admin.call("ping")["pid"]
        self.make_pools()
        self.warm_up()
        self.until(self.is_alone)
        self.baseline = self.count()

    def make_pools(self):
        self.admin.call("pool.create", name="plain", object_size=5000, capacity=CAPACITY,
                        capacity_max=64, template=b"template", zero=1)
        self.admin.call("pool.create", name="leased", object_size=64, capacity=CAPACITY,
                        capacity_max=64, kind=LEASED)

    def remove_pools(self):
        for pool in self.admin.call("pool.list")["pools"]:
            self.admin.call("pool.destroy", name=pool["name"], force=True)

    def warm_up(self):
        """Has the daemon open what it opens when it first needs it, and keeps."""
        scene = Scene(self.daemon.socket, self.admin)
        scene.plain.free(*scene.plain.allocate(count=CAPACITY))
        self.admin.call("pool.trim", name="plain")
        scene.leave()

    def state(self):
        """What can be known of pools and sessions."""
        pools = self.admin.call("pool.list")["pools"]
        for pool in pools:
            del pool["memory"] # which an attempt may have begun to reserve
        return pools, [{**session, "connected": True}
                       for session in self.admin.call("sessions")["sessions"]]

    def is_alone(self):
        return len(self.admin.call("sessions")["sessions"]) == 1

    def count(self):
        """Of objects, without those that a pool gets when an object of it is first shared."""
        return (sum(not name.endswith(".holders") for name in self.shared_objects()),
                self.daemon.descriptors())

    def is_as_before(self):
        return self.count() == self.baseline

    def tidy(self):
        """Makes the pools what they were, where an attempt left others, or objects of its own."""
        for pool in self.admin.call("pool.list")["pools"]:
            if pool["name"] not in ("plain", "leased"):
                self.admin.call("pool.destroy", name=pool["name"], force=True)
            elif pool["allocated"] > 0:
                self.remove_pools()
                self.make_pools()
                self.warm_up()
                self.until(self.is_alone)
                break

    def attempt(self, way, number, prepare, operate, expect, refusals):
        """Whether there was a call of that number. It failed then, and nothing else did."""
        scene = Scene(self.daemon.socket, self.admin)
        prepared = prepare(scene)
        before = self.state()
        refused = result = None
        self.injection.wait_for_rest()
        self.injection.arm(way, number)
        try:
            result = operate(scene, prepared)
        except Refusal as refusal:
            refused = refusal.name
        except (Closed, ConnectionError):
            refused = "CLOSED"
        self.injection.wait_for_rest()
        self.injection.disarm()
        over = self.injection.is_over()
        with self.subTest(what=self.injection.describe(), refused=refused, result=result):
            if refused is None:
                self.assertTrue(expect(scene, result))
            elif refused in SHORTAGES and self.is_one_request:
                self.assertEqual(self.state(), before)
            else:
                self.assertIn(refused, {"CLOSED", *refusals, *SHORTAGES})
            if over or not self.injection["failed"]:
                self.assertIn(refused, {None, *refusals})
            scene.leave()
            self.until(self.is_alone)
            self.tidy()
            self.assertEqual(self.admin.call("check")["findings"], [])
            self.until(self.is_as_before)
        return not over

    def each(self, operate, expect=lambda scene, result: True, prepare=lambda scene: None,
             refusals=()):
        """Each call that the daemon makes for it."""
        for way in WAYS:
            number = 1
            while self.attempt(way, number, prepare, operate, expect, refusals):
                number += 7 if SANITIZED else 1

    def allocate(self, scene):
        return scene.plain.allocate(count=2)

    # ---- Connections

    def test_connecting(self):
        def connect(scene, _):
            with contextlib.closing(Client(scene.path, name="more", witness=True)) as client:
                return client.call("ping")["pid"]
        self.each(connect, lambda scene, pid: pid == self.daemon.pid)

    def test_ending_with_objects(self):
        def end(scene, _):
            scene.leave()
        self.each(end, prepare=self.allocate)

    def test_resuming(self):
        def lose(scene):
            handles = scene.plain.allocate(count=2)
            scene.me.socket.close()
            return handles

        def resume(scene, handles):
            scene.me.resume(scene.plain, scene.leased)
            return scene.plain.free(*handles)
        self.each(resume, lambda scene, count: count == 2, lose, ("NO_SUCH_SESSION",))

    # ---- Looking

    def test_asking(self):
        for method, params in (("ping", {}), ("pool.list", {}), ("sessions", {}), ("check", {}),
                               ("stats", {"name": "plain"}), ("stats", {"name": "leased"}),
                               ("holders", {"name": "leased"}), ("stats.reset", {"name": "plain"}),
                               ("events", {}), ("events", {"after": 1000, "timeout": MS})):
            with self.subTest(method=method):
                self.each(lambda scene, _: scene.me.call(method, **params), refusals=("TIMEOUT",))

    # ---- Pools

    def test_making(self):
        def make(scene, _):
            return scene.me.call("pool.create", name="new", **POOL)["pool"]
        self.each(make, lambda scene, number: number > 0)

    def test_making_by_opening(self):
        for kind in (1, LEASED):
            def make(scene, _):
                pool = scene.open("new", create=True, **{**POOL, "kind": kind})
                pool.close()
                return pool.reply["created"]
            self.each(make, lambda scene, created: created)

    def test_closing(self):
        def close(scene, _):
            return scene.me.call("pool.close", pool=scene.plain.number)["freed"]
        self.each(close, lambda scene, freed: freed == 2, self.allocate)

    def test_destroying(self):
        def make(scene):
            return scene.open("new", create=True, **POOL).allocate(count=2)

        def destroy(scene, _):
            return scene.me.call("pool.destroy", name="new", force=True)["freed"]
        self.each(destroy, lambda scene, freed: freed == 2, make)

    def test_growing(self):
        def make(scene):
            scene.open("new", create=True, **POOL).unmap()

        def grow(scene, _):
            return scene.me.call("pool.grow", name="new", capacity=32)["capacity"]
        self.each(grow, lambda scene, capacity: capacity == 32, make)

    def test_growing_beside_the_loop(self):
        """As what takes long does: by a thread, if there is one to be had."""
        def make(scene):
            scene.open("new", create=True, object_size=1 << 20, capacity=1, capacity_max=8).unmap()

        def grow(scene, _):
            return scene.me.call("pool.grow", name="new", capacity=8)["capacity"]
        self.is_one_request = False # it may grow for one who can't wait for it
        self.each(grow, lambda scene, capacity: capacity == 8, make)

    def test_growing_by_need(self):
        def make(scene):
            pool = scene.open("new", create=True, **POOL)
            pool.unmap()
            return pool

        def allocate(scene, pool):
            return pool.allocate(count=6, timeout=10 * MS)
        self.is_one_request = False # the pool may grow, and what then isn't granted be refused
        self.each(allocate, lambda scene, handles: len(handles) == 6, make, ("TIMEOUT",))

    def test_trimming(self):
        def make(scene):
            pool = scene.open("new", create=True, **POOL)
            pool.free(*pool.allocate(count=4))
            pool.unmap()

        def trim(scene, _):
            return scene.me.call("pool.trim", name="new")["bytes"]
        self.each(trim, prepare=make)

    # ---- Objects

    def test_allocating(self):
        self.each(lambda scene, _: scene.plain.allocate(count=3),
                  lambda scene, handles: len(handles) == 3 and all(
                      bytes(scene.plain.get(handle)[:10]) == b"template\0\0" for handle in handles))

    def test_allocating_what_was_trimmed(self):
        def trim(scene):
            scene.plain.free(*scene.plain.allocate(count=CAPACITY))
            self.admin.call("pool.trim", name="plain")
        self.each(lambda scene, _: scene.plain.allocate(count=CAPACITY),
                  lambda scene, handles: len(handles) == CAPACITY, trim)

    def test_allocating_in_vain(self):
        def fill(scene):
            scene.plain.allocate(count=CAPACITY)
        for timeout in (0, MS):
            self.each(lambda scene, _: scene.plain.allocate(timeout=timeout),
                      lambda scene, handles: False, fill, ("POOL_EXHAUSTED", "TIMEOUT"))

    def test_waiting(self):
        def fill(scene):
            return scene.plain.allocate(count=CAPACITY)

        def wait(scene, handles):
            msgid = scene.plain.send_allocate(timeout=NS_MAX)
            scene.plain.free(handles[0])
            return unpack_handles(scene.me.wait(msgid)["handles"])
        self.is_one_request = False
        self.each(wait, lambda scene, handles: len(handles) == 1, fill)

    def test_cancelling(self):
        def wait(scene):
            scene.plain.allocate(count=CAPACITY)
            scene.plain.send_allocate(timeout=NS_MAX)
        self.each(lambda scene, _: scene.plain.cancel(), lambda scene, count: count == 1, wait)

    def test_settling(self):
        self.each(lambda scene, _: scene.me.settle(scene.me.requests),
                  lambda scene, counts: counts == (2, 0), self.allocate)

    def test_leasing(self):
        for thread in (0, 0x1fff):
            self.each(lambda scene, _: scene.me.call("lease", pool=scene.leased.number, count=4,
                                                     thread=thread)["slots"],
                      lambda scene, slots: len(slots) % 4 == 0)

    def test_handing_on(self):
        self.each(lambda scene, handles: scene.plain.detach(*handles),
                  lambda scene, count: count == 2, self.allocate)
        self.each(lambda scene, handles: scene.plain.retain(*handles),
                  lambda scene, count: count == 2, self.allocate)

    def test_taking_over(self):
        def hand_on(scene):
            handles = scene.plain.allocate(count=2)
            scene.plain.detach(*handles)
            return handles
        self.each(lambda scene, handles: scene.plain.adopt(*handles),
                  lambda scene, count: count == 2, hand_on)

    def test_freeing(self):
        for pool in ("plain", "leased"):
            for method, answer in (("free", "freed"), ("release", "released")):
                self.each(lambda scene, handles: getattr(scene, pool).operate(method, answer,
                                                                              handles),
                          lambda scene, count: count == 2,
                          lambda scene: getattr(scene, pool).allocate(count=2))

    def test_repeating(self):
        """A change whose answer is lost is carried out once."""
        def free(scene, handles):
            change = {"pool": scene.plain.number, "handles": pack_handles(handles), "change": 1}
            try:
                return scene.me.call("free", **change)["freed"]
            except (Closed, ConnectionError):
                self.injection.disarm()
                scene.me.resume(scene.plain, scene.leased)
                return scene.me.call("free", **change)["freed"]
        self.each(free, lambda scene, count: count == 2 and scene.plain.allocate(count=CAPACITY),
                  self.allocate)


if __name__ == "__main__":
    main()
