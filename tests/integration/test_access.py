"""Who may do what, by processes that are somebody else: users, their groups, a pool's mode, --create."""

import contextlib
import os
import unittest

from ctl_case import can_be_another
from protocol_case import Case, main
from protocol_client import Client, Refusal

OWNER, MEMBER, STRANGER = 60001, 60002, 60003
TEAM, OTHER = 61001, 61002
FRAMES = {"name": "frames", "object_size": 100, "capacity": 4}


@contextlib.contextmanager
def acting(uid, gid, groups):
    """The process is somebody else meanwhile, as those see it to whom it connects."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


class AccessCase(Case):
    """A daemon of root that lets everybody in."""

    def setUp(self):
        super().setUp()
        self.addCleanup(self.destroy)
        self.client().close()  # it is there
        os.chmod(self.daemon.directory, 0o755)
        os.chmod(self.daemon.socket, 0o666)

    def destroy(self):
        """Whatever a test left."""
        with Client(self.daemon.socket) as client:
            for pool in client.call("pool.list")["pools"]:
                client.call("pool.destroy", name=pool["name"], force=True)

    def someone(self, uid, gid, *groups, **options):
        with acting(uid, gid, list(groups)):
            return self.client(**options)

    def assert_not_permitted(self, client, method, **params):
        with self.assertRaises(Refusal) as context:
            client.call(method, **params)
        self.assertEqual(context.exception.name, "NOT_PERMITTED")
        return context.exception.message


@unittest.skipUnless(can_be_another(), "needs other users")
class TestModes(AccessCase):
    def setUp(self):
        super().setUp()
        self.owner = self.someone(OWNER, TEAM)

    def create(self, mode):
        self.owner.call("pool.create", mode=mode, **FRAMES)

    def test_who_is_in_the_pools_group_may_open_by_any_of_his_groups(self):
        self.create(0o660)
        for client in (self.someone(MEMBER, TEAM), self.someone(MEMBER, OTHER, TEAM),
                       self.someone(MEMBER, OTHER, *range(62000, 62100), TEAM)):
            client.call("pool.open", name="frames", write=True)
        for client in (self.someone(STRANGER, OTHER), self.someone(STRANGER, OTHER, 62000)):
            self.assert_not_permitted(client, "pool.open", name="frames")

    def test_a_group_that_may_read_may_not_write(self):
        self.create(0o640)
        member = self.someone(MEMBER, OTHER, TEAM)
        self.assert_not_permitted(member, "pool.open", name="frames", write=True)
        self.assertEqual(member.call("pool.open", name="frames")["descriptors"], 0)

    def test_a_reader_gets_no_descriptor_to_write_with(self):
        self.create(0o640)
        member = self.someone(MEMBER, OTHER, TEAM, witness=True)
        pool = member.open("frames", map=True)
        self.assertFalse(pool.writable)
        pool.close()

    def test_the_owner_has_the_owners_bits_whatever_his_group_has(self):
        self.create(0o060)
        self.assert_not_permitted(self.owner, "pool.open", name="frames")
        self.someone(MEMBER, TEAM).call("pool.open", name="frames", write=True)

    def test_the_group_may_destroy_by_the_x_bit_alone(self):
        self.create(0o660)
        self.assert_not_permitted(self.someone(MEMBER, OTHER, TEAM), "pool.destroy", name="frames")
        self.destroy()
        self.create(0o610)
        self.assert_not_permitted(self.someone(STRANGER, OTHER), "pool.destroy", name="frames")
        member = self.someone(MEMBER, OTHER, TEAM)
        self.assert_not_permitted(member, "pool.open", name="frames")
        member.call("pool.destroy", name="frames")

    def test_the_owner_may_destroy_whatever_the_mode(self):
        self.create(0o006)
        self.owner.call("pool.destroy", name="frames")

    def test_groups_are_those_at_the_time_of_connecting(self):
        self.create(0o660)
        with acting(MEMBER, OTHER, [TEAM]):
            client = self.client()
        with acting(MEMBER, OTHER, []):
            client.call("pool.open", name="frames", write=True)
            self.assert_not_permitted(self.client(), "pool.open", name="frames")


@unittest.skipUnless(can_be_another(), "needs other users")
class TestCreatorsByDefault(AccessCase):
    def test_anyone_may_make_pools(self):
        stranger = self.someone(STRANGER, OTHER)
        stranger.call("pool.create", **FRAMES)
        stranger.call("pool.destroy", name="frames")


@unittest.skipUnless(can_be_another(), "needs other users")
class TestOwnerCreates(AccessCase):
    arguments = ("--create", "owner")

    def test_nobody_else_may_make_pools(self):
        stranger = self.someone(STRANGER, OTHER, TEAM)
        message = self.assert_not_permitted(stranger, "pool.create", **FRAMES)
        self.assertIn("--create owner", message)
        self.assert_not_permitted(stranger, "pool.open", create=True, **FRAMES)
        self.assertEqual(stranger.call("pool.list")["pools"], [])
        self.client().call("pool.create", **FRAMES)


@unittest.skipUnless(can_be_another(), "needs other users")
class TestGroupCreates(AccessCase):
    arguments = ("--create", f"group:{TEAM}")

    def test_nobody_else_but_root_may_make_pools(self):
        message = self.assert_not_permitted(self.someone(STRANGER, OTHER), "pool.create", **FRAMES)
        self.assertIn(f"--create group:{TEAM}", message)
        for client in (self.someone(MEMBER, TEAM), self.someone(MEMBER, OTHER, TEAM),
                       self.client()):
            client.call("pool.create", **FRAMES)
            client.call("pool.destroy", name="frames")


if __name__ == "__main__":
    main()
