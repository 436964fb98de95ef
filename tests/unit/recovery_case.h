/* SPDX-License-Identifier: MIT */
/*
 * What tests of recovery begin with, beside broker_case.h: a broker that forgets all it knows, as if it
 * were killed, and another one that takes over what it left.
 */
#ifndef TESTS_UNIT_RECOVERY_CASE_H
#define TESTS_UNIT_RECOVERY_CASE_H

#include "daemon/recovery.h"
#include "tests/unit/broker_case.h"

static struct recovery found;
static int witness = -1; /* alice lives as long as it is open */
static uint64_t alice_id, bob_id;

static inline void set_up(void)
{
    broker_set_up();
    witness = session_witness(alice);
    ck_assert_int_ge(witness, 0);
    alice_id = alice->id;
    bob_id = bob->id;
}

/* With what is there, of which nothing was looked at. */
static inline void begin_anew(void)
{
    ck_assert_int_eq(broker_init(&broker, path, &rim, 0), 0);
    broker.uid = DAEMON_UID;
}

static inline void recover(void)
{
    begin_anew();
    ck_assert_msg(recovery_run(&broker, false, &found, &error), "%s", error.message);
    broker_check(&broker);
    alice = broker_find_session(&broker, alice_id);
    bob = broker_find_session(&broker, bob_id);
    pool = broker_find_pool(&broker, "frames");
}

static inline void crash(void)
{
    broker_forget(&broker);
    recover();
}

/* Whoever was only connected is gone with the daemon; she is there again. */
static inline void tear_down(void)
{
    if (witness >= 0)
        close(witness);
    if (alice)
        alice->connection = alice_name;
    broker_tear_down();
}

#endif
