"""What a pool can be asked to be, by the bare protocol: what is possible, what is compared."""

import struct

from protocol_case import ProtocolCase, main

EVERYTHING = {
    "object_size": 1000, "alignment": 64, "capacity": 8, "capacity_max": 16, "growth": "linear:2",
    "grow_ahead": 3, "type": "frame", "mode": 0o640, "owner_frees": True, "reserve_critical": 1,
    "reserve_normal": 2, "session_slots": 9, "user_slots": 12, "template": b"frame",
    "watermark": "75%", "hold_limit": 10 ** 12, "trim_after": 10 ** 13, "prefault": True,
    "lock": True, "huge": True}


class TestImpossible(ProtocolCase):
    """At the limit it is possible, one above it isn't; the refusal names field, value and limit."""

    def create(self, **options):
        self.one.call("pool.create", name="new", **{"object_size": 100, "capacity": 10, **options})
        self.one.call("pool.destroy", name="new")

    def assert_limit(self, field, limit, allowed, **options):
        self.create(**options, **{field: limit})
        self.assert_invalid(field, limit + 1, allowed, **options)

    def assert_invalid(self, field, value, allowed, **options):
        with self.subTest(field=field, value=value):
            detail = self.assert_refused("INVALID_ARGUMENT", self.create, **options,
                                         **{field: value})
            self.assertEqual(detail, {"field": field})
            self.assertIn(field, self.message)
            self.assertIn(str(value), self.message)
            self.assertIn(allowed, self.message)

    def test_numbers_of_slots(self):
        self.assert_limit("reserve_critical", 10, "0 to 10")
        self.assert_limit("reserve_critical", 20, "0 to 20", capacity_max=20)
        self.assert_limit("reserve_normal", 10, "0 to 10")
        self.assert_limit("reserve_normal", 7, "0 to 7", reserve_critical=3)
        self.assert_limit("grow_ahead", 10, "0 to 10")
        self.assert_limit("grow_ahead", 11, "0 to 11", capacity_max=11)
        self.assert_limit("session_slots", 2 ** 32 - 1, "0 to 4294967295")
        self.assert_limit("user_slots", 2 ** 32 - 1, "0 to 4294967295")

    def test_template(self):
        for size, most in ((100, 100), (40000, 32768)):
            self.create(object_size=size, template=b"t" * most)
            detail = self.assert_refused("INVALID_ARGUMENT", self.create, object_size=size,
                                         template=b"t" * (most + 1))
            self.assertEqual(detail, {"field": "template"})
            self.assertIn(str(most), self.message)

    def test_numbers_that_the_field_cannot_have(self):
        for field, limit in (("hold_limit", 2 ** 63 - 1), ("trim_after", 2 ** 63 - 1),
                             ("zero", 2), ("mode", 0o777)):
            self.assert_limit(field, limit, f"from 0 to {limit}")
            self.assert_invalid(field, -1, f"from 0 to {limit}")

    def test_texts_that_are_too_long(self):
        self.create(type="t" * 63)
        for field, limit in (("type", 63), ("growth", 191), ("watermark", 15)):
            self.assertEqual(self.assert_refused("INVALID_ARGUMENT", self.create,
                                                 **{field: "t" * (limit + 1)}), {"field": field})
            self.assertIn(f"'{field}' must be UTF-8 text without control characters, of bytes at "
                          f"most {limit}, not {limit + 1}", self.message)

    def test_growth(self):
        sixteen = ",".join(str(10 + i) for i in range(16))
        for text in ("none", "linear:1", "linear:4294967295", "exponential:1.001", "exponential:16",
                     "exponential:16.000", "exponential:2", "custom:1", f"custom:{sixteen}"):
            self.create(growth=text, capacity_max=20)
        for text, allowed in (
                ("linear", "linear:SLOTS"), ("Linear:1", "linear:SLOTS"), ("x", "none"),
                (" none", "none"), ("linear:", "linear:100"), ("linear:0", "1 to 4294967295"),
                ("linear:4294967296", "1 to 4294967295"), ("linear:-1", "linear:100"),
                ("linear:01", "linear:100"), ("linear:1 ", "linear:100"),
                ("exponential:1", "above 1"), ("exponential:1.0", "above 1"),
                ("exponential:16.001", "at most 16"), ("exponential:1.0001", "three decimals"),
                ("exponential:1,5", "exponential:1.5"), ("exponential:.5", "above 1"),
                ("custom:", "1 to 16"), ("custom:0", "1 to 4294967295"), ("custom:2,2", "above"),
                ("custom:2,1", "above"), ("custom:1,", "custom:100"),
                (f"custom:{sixteen},100", "1 to 16")):
            self.assert_invalid("growth", text, allowed, capacity_max=20)
        self.assert_invalid("growth", "linear:1", "capacity_max")

    def test_watermark(self):
        for text in ("1%", "100%", "1", "10", "off"):
            self.create(watermark=text)
        for text in ("11", "4294967295"):
            self.assert_invalid("watermark", text, "more slots than the pool ever has")
        for text in ("0%", "101%", "0", "4294967296", "on", "01", "%", "5 %", "-1", "90%%"):
            self.assert_invalid("watermark", text, "1% to 100%")

    def test_capacities(self):
        self.create(capacity_max=10)
        self.assertEqual(self.assert_refused("INVALID_CAPACITY", self.create, capacity_max=9),
                         {"capacity": 9, "max": 2 ** 30})
        self.assertIn("10 to 1073741824", self.message)
        self.create(capacity_max=2 ** 30)
        self.assertEqual(self.assert_refused("INVALID_CAPACITY", self.create,
                                             capacity_max=2 ** 30 + 1),
                         {"capacity": 2 ** 30 + 1, "max": 2 ** 30})
        self.create(object_size=2 ** 20, capacity=1, capacity_max=2 ** 20)
        self.assertEqual(self.assert_refused("INVALID_CAPACITY", self.create, object_size=2 ** 20,
                                             capacity=1, capacity_max=2 ** 20 + 1),
                         {"capacity": 2 ** 20 + 1, "max": 2 ** 20})

    def test_open_makes_nothing_impossible(self):
        self.assertEqual(self.assert_refused("INVALID_ARGUMENT", self.one.open, "new", create=True,
                                             object_size=1, capacity=1, watermark="x"),
                         {"field": "watermark"})
        self.assert_refused("NO_SUCH_POOL", self.one.open, "new")


class TestComparison(ProtocolCase):
    """Opening compares what is given with what the pool is."""

    def setUp(self):
        super().setUp()
        self.one.call("pool.create", name="full", **EVERYTHING, zero=1)

    def test_a_pool_is_what_was_asked_for(self):
        info = self.info("full")
        for field, value in {**EVERYTHING, "zero": 1}.items():
            if field != "template":
                self.assertEqual(info[field], value, field)
        self.assertEqual((info["template_size"], info["reserve"]), (5, 64))

    def test_the_same_again_is_that_pool(self):
        for options in ({}, {**EVERYTHING, "zero": 1}, *({field: value} for field, value
                                                         in EVERYTHING.items())):
            self.assertFalse(self.one.open("full", create=True, **options).reply["created"])

    def test_each_difference_is_refused_by_name(self):
        for field, value in (("capacity", 9), ("capacity", 7), ("capacity_max", 17),
                             ("growth", "linear:1"), ("growth", "linear:20"), ("grow_ahead", 2),
                             ("mode", 0o600), ("reserve_critical", 2), ("reserve_normal", 1),
                             ("session_slots", 10), ("user_slots", 11), ("watermark", "74%"),
                             ("hold_limit", 1), ("trim_after", 2 ** 63 - 1), ("template", b"fram"),
                             ("template", b"frame_"), ("template", b"xrame")):
            with self.subTest(field=field, value=value):
                self.assertEqual(self.assert_refused("CONFIG_MISMATCH", self.one.open, "full",
                                                     create=True, **{field: value}),
                                 {"pool": "full", "field": field})

    def test_what_the_pool_lacks_is_refused_by_name(self):
        for field in ("owner_frees", "prefault", "lock", "huge"):
            self.assertEqual(self.assert_refused("CONFIG_MISMATCH", self.one.open, "frames",
                                                 **{field: True}),
                             {"pool": "frames", "field": field})
        for name, zero in (("full", 2), ("frames", 1), ("frames", 2)):
            self.assertEqual(self.assert_refused("CONFIG_MISMATCH", self.one.open, name, zero=zero),
                             {"pool": name, "field": "zero"})

    def test_size_alignment_and_type_have_their_own_refusals(self):
        for field, value, error in (("object_size", 1001, "OBJECT_SIZE_MISMATCH"),
                                    ("alignment", 128, "ALIGNMENT_MISMATCH"),
                                    ("type", "Frame", "TYPE_MISMATCH")):
            self.assert_refused(error, self.one.open, "full", **{field: value})

    def test_texts_are_compared_by_what_they_mean(self):
        self.one.open("frames", growth="none", watermark="90%")
        self.one.call("pool.create", name="e", object_size=1, capacity=1, capacity_max=2,
                      growth="exponential:1.50", watermark="90%")
        self.one.open("e", growth="exponential:1.5")
        for name, options in (("frames", {"growth": "linear:1"}), ("frames", {"watermark": "off"}),
                              ("frames", {"watermark": "90"}), ("e", {"growth": "none"})):
            self.assertEqual(self.assert_refused("CONFIG_MISMATCH", self.one.open, name, **options),
                             {"pool": name, "field": next(iter(options))})

    def test_capacity_is_that_which_it_began_with(self):
        self.one.call("pool.grow", name="full", capacity=12)
        self.assertEqual(self.one.open("full", capacity=8).reply["capacity"], 12)
        self.assertEqual(self.assert_refused("CONFIG_MISMATCH", self.one.open, "full", capacity=12),
                         {"pool": "full", "field": "capacity"})

    def test_maximum_may_be_asked_for_as_far_as_it_goes(self):
        self.one.call("pool.grow", name="full", capacity_max=20)
        for value in (8, 16, 20):
            self.one.open("full", capacity_max=value)
        self.assertEqual(self.assert_refused("CONFIG_MISMATCH", self.one.open, "full",
                                             capacity_max=21),
                         {"pool": "full", "field": "capacity_max"})

    def test_members_find_it_in_shared_memory(self):
        ctl = self.client(witness=True).open("full", map=True).ctl
        capacity_max, reserve = struct.unpack_from("<II", ctl, 44)
        mode, flags = struct.unpack_from("<II", ctl, 64)
        self.assertEqual((capacity_max, reserve, mode, flags), (16, 64, 0o640, 1 + 2 + 8 + 16 + 32))
        growth, watermark, *numbers = struct.unpack_from("<192s16s7I4xQQ", ctl, 384)
        self.assertEqual((growth.rstrip(b"\0"), watermark.rstrip(b"\0")), (b"linear:2", b"75%"))
        self.assertEqual(numbers, [8, 1, 2, 3, 9, 12, 5, 10 ** 12, 10 ** 13])


class TestContent(ProtocolCase):
    """What objects begin with."""

    def mapped(self, name, **options):
        return self.client(witness=True).open(name, write=True, map=True, create=True,
                                              object_size=100, capacity=1, **options)

    def used(self, pool):
        """The slot's place in data, once somebody has had it and freed it."""
        handle, = pool.allocate()
        pool.get(handle)[:] = b"x" * 100
        pool.free(handle)
        return memoryview(pool.data)[:100]

    def test_is_what_the_last_user_left(self):
        pool = self.mapped("plain")
        self.assertEqual(bytes(self.used(pool)), b"x" * 100)
        self.assertEqual(bytes(pool.get(*pool.allocate())), b"x" * 100)

    def test_is_zero_with_the_allocation(self):
        pool = self.mapped("zero", zero=1)
        data = self.used(pool)
        self.assertEqual(bytes(data), b"x" * 100)
        self.assertEqual(bytes(pool.get(*pool.allocate())), bytes(100))

    def test_is_zero_with_the_free(self):
        pool = self.mapped("zero", zero=2)
        self.assertEqual(bytes(self.used(pool)), bytes(100))
        self.assertEqual(bytes(pool.get(*pool.allocate())), bytes(100))

    def test_is_zero_with_the_end_of_a_session(self):
        pool = self.mapped("frames2", zero=2)
        two = self.mapped("frames2")
        two.get(*two.allocate())[:] = b"x" * 100
        two.close()
        self.assertEqual(bytes(pool.data[:100]), bytes(100))

    def test_begins_with_the_template(self):
        pool = self.mapped("template", template=b"begin")
        self.used(pool)
        self.assertEqual(bytes(pool.get(*pool.allocate())), b"begin" + b"x" * 95)

    def test_is_zero_behind_the_template(self):
        for zero in (1, 2):
            pool = self.mapped(f"both{zero}", template=b"begin", zero=zero)
            self.used(pool)
            self.assertEqual(bytes(pool.get(*pool.allocate())), b"begin" + bytes(95))

    def test_is_all_template(self):
        pool = self.mapped("whole", template=bytes(range(100)), zero=1)
        self.used(pool)
        self.assertEqual(bytes(pool.get(*pool.allocate())), bytes(range(100)))


if __name__ == "__main__":
    main()
