/* SPDX-License-Identifier: MIT */
/*
 * The audit, of a dead instance and of a live one: nothing where all is well; and each kind of fault,
 * seeded one at a time into the bytes, is found and nothing else.
 */
#include "daemon/audit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "tests/unit/leasing_case.h"

/* ---- What is found --------------------------------------------------------------------------- */

#define FOUND_MAX 16u

static struct {
    enum audit_kind kind;
    char text[AUDIT_TEXT_SIZE];
} found[FOUND_MAX];
static uint32_t found_count;

static void keep_finding(void *context, enum audit_kind kind, const char *text)
{
    (void)context;
    if (found_count < FOUND_MAX) {
        found[found_count].kind = kind;
        snprintf(found[found_count].text, AUDIT_TEXT_SIZE, "%s", text);
    }
    found_count++;
}

/* As if the daemon were gone. */
static struct audit audit_dead(void)
{
    struct audit audit = {.report = keep_finding};
    found_count = 0;
    ck_assert_int_eq(audit_instance(&audit, path), 0);
    ck_assert_uint_eq(found_count, audit.violations + audit.notes);
    return audit;
}

static struct audit audit_alive(void)
{
    struct audit audit = {.live = true, .report = keep_finding};
    found_count = 0;
    audit_broker(&audit, &broker);
    ck_assert_uint_eq(found_count, audit.violations + audit.notes);
    return audit;
}

static void finds_nothing(void)
{
    audit_dead();
    ck_assert_msg(found_count == 0, "%s", found[0].text);
    audit_alive();
    ck_assert_msg(found_count == 0, "%s", found[0].text);
}

static bool has_found(enum audit_kind kind, const char *text)
{
    for (uint32_t i = 0; i < found_count && i < FOUND_MAX; i++)
        if (found[i].kind == kind && strstr(found[i].text, text))
            return true;
    return false;
}

/* This alone. */
static void finds_dead(enum audit_kind kind, const char *text)
{
    audit_dead();
    ck_assert_msg(found_count == 1, "%u for '%s': %s, %s", found_count, text, found[0].text,
                  found[1].text);
    ck_assert_msg(has_found(kind, text), "'%s' isn't '%s'", found[0].text, text);
}

/* Besides what the daemon's own memory doesn't agree with. */
static void finds_alive(const char *text)
{
    audit_alive();
    ck_assert_msg(has_found(AUDIT_VIOLATION, text), "'%s' isn't '%s'", found[0].text, text);
}

/* With the value in that place the text is found; with the old one nothing. */
#define SEEDED(place, value, kind, said)                                                           \
    do {                                                                                           \
        __typeof__(place) before = (place);                                                        \
        (place) = (value);                                                                         \
        finds_dead(kind, said);                                                                    \
        finds_alive(said);                                                                         \
        (place) = before;                                                                          \
        finds_nothing();                                                                           \
    } while (0)
#define VIOLATES(place, value, said) SEEDED(place, value, AUDIT_VIOLATION, said)
/* And with it some that follow from it. */
#define VIOLATES_AMONG(place, value, said)                                                         \
    do {                                                                                           \
        __typeof__(place) before = (place);                                                        \
        (place) = (value);                                                                         \
        audit_dead();                                                                              \
        ck_assert_msg(has_found(AUDIT_VIOLATION, said), "'%s' isn't '%s'", found[0].text, said);   \
        finds_alive(said);                                                                         \
        (place) = before;                                                                          \
        finds_nothing();                                                                           \
    } while (0)
/* What a killed daemon may leave; what nothing but a fault leaves in a live one. */
#define IS_NOTED(place, value, said) SEEDED(place, value, AUDIT_NOTE, said)

/* ---- The scene ------------------------------------------------------------------------------- */

static uint64_t *words, *entries, *members; /* of "frames" */
static uint32_t alices, bobs;               /* their numbers there */

/* Of "frames": 0 is alice's, 1 hers and bob's, 2 was somebody's, 3 nobody's ever. */
static void set_up(void)
{
    leasing_set_up();
    words = pool->words;
    entries = pool->store.ledger;
    members = pool->store.members;
    alices = member_of(alice, pool);
    bobs = member_of(bob, pool);
    take(alice, pool, 1);
    take(bob, pool, 2);
    ck_assert(operate(pool, POOL_RETAIN, 0, 1));
    ck_assert(give_back(pool, 1, 1));
    finds_nothing();
}

/* ---- Where all is well ----------------------------------------------------------------------- */

START_TEST(test_audit_counts_what_it_judged)
{
    struct audit audit = audit_dead();
    ck_assert_uint_eq(audit.pools, 2);
    ck_assert_uint_eq(audit.sessions, 2);
    ck_assert_uint_eq(audit.slots, CAPACITY + SLOTS);
    audit = audit_alive();
    ck_assert_uint_eq(audit.pools, 2);
    ck_assert_uint_eq(audit.sessions, 2);
    ck_assert_uint_eq(audit.slots, CAPACITY + SLOTS);
}
END_TEST

START_TEST(test_audit_finds_nothing_in_all_that_a_pool_can_be)
{
    struct pool *rich =
        MAKE(.name = "rich", .capacity = 4, .capacity_max = 64, .growth = "linear:8",
             .watermark = "90%", .type = "thing", .flags = LAYOUT_OWNER_FREES, .session_slots = 200,
             .user_slots = 200, .hold_limit = 1000, .content = {(const uint8_t *)"12345678", 8});
    join(alice, rich);
    take(alice, rich, 3);
    finds_nothing();
    GETS(alice, rich, 0, .count = 2, .timeout = FOREVER);
    finds_nothing();
    GETS(alice, rich, 0, .count = 1, .evictable = true);
    finds_nothing();
    WAITS(alice, rich, 7, .count = 60, .timeout = FOREVER);
    finds_nothing();
    ck_assert(operate(rich, POOL_RETAIN, 0, 2));
    finds_nothing();
    pass_to(5000);
    finds_nothing();
    broker_trim(&broker, rich);
    finds_nothing();
}
END_TEST

START_TEST(test_audit_finds_nothing_in_what_members_of_a_leased_pool_may_do)
{
    ck_assert_uint_ge(lease(alice, 4), 4);
    finds_nothing();
    allocate(a, 0, 3);
    finds_nothing();
    ck_assert(member_free(leased, a, slots[0]));
    finds_nothing();
    ck_assert(member_free(leased, b, slots[1])); /* hers, by him */
    finds_nothing();
    uint32_t number = pool_add_thread(leased, a);
    if (number != SLOT_MEMBER_NONE) {
        ck_assert_uint_gt(lease_as(alice, number, 2), 0);
        finds_nothing();
        ck_assert(member_allocate(leased, number, slots[0]));
        finds_nothing();
    }
    WAITS(bob, leased, 7, .count = SLOTS, .timeout = FOREVER);
    finds_nothing();
    end(&alice);
    finds_nothing();
}
END_TEST

/* ---- The registry ---------------------------------------------------------------------------- */

START_TEST(test_audit_looks_at_the_registry)
{
    struct registry_file *file = broker.registry.file;

    VIOLATES(file->magic, 1, "it is none of version 2");
    VIOLATES(file->version, 77, "it is none of version 2");
    IS_NOTED(file->version, 0, "it was being made");
    VIOLATES_AMONG(file->nonce, 0, "its nonce 0 can't be one");
    VIOLATES_AMONG(file->nonce, 65536, "its nonce 65536 can't be one");
    VIOLATES_AMONG(file->prefix, file->prefix + 1, "doesn't begin as all of them do");
    VIOLATES(file->last_session, 1, "session 2 was never given out, the last one is 1");
    IS_NOTED(file->change.kind, 1, "was under way");
    file->change.kind = 1;
    file->change.count = PROTOCOL_BATCH_MAX + 1;
    audit_dead();
    ck_assert_uint_eq(found_count, 2);
    ck_assert(has_found(AUDIT_VIOLATION, "is of 2049 handles, and 2048 are the most"));
}
END_TEST

START_TEST(test_audit_looks_at_the_registrys_entries)
{
    struct registry_file *file = broker.registry.file;
    struct registry_session *session = alice->entry;
    struct registry_pool *of_pool = pool->entry;

    VIOLATES_AMONG(of_pool->id, 7, "pool 7 was never given out, the last one is 2");
    VIOLATES_AMONG(of_pool->id, 2, "pool 2 stands there twice");
    VIOLATES_AMONG(of_pool->key[0], of_pool->key[0] ^ 1u, "the key of pool 1 doesn't begin");
    VIOLATES_AMONG(of_pool->state, 4, "pool 1 is in state 4, which there isn't");
    IS_NOTED(of_pool->state, REGISTRY_MAKING, "pool 1: it was being made");
    IS_NOTED(of_pool->state, REGISTRY_ENDING, "pool 1: it was being destroyed");
    VIOLATES_AMONG(session->id, 2, "session 2 stands there twice");
    VIOLATES_AMONG(session->id, 0, "session 0 was never given out");
    VIOLATES_AMONG(session->witness[7], session->witness[7] ^ 1u, "the key of session 1 doesn't");
    VIOLATES_AMONG(session->state, REGISTRY_ENDING, "session 1 is in state 3, which there isn't");
    VIOLATES(session->name[0], '\n', "the name of session 1 is no text");
    struct registry_session kept = *session;
    memset(session->name, 'x', sizeof(session->name));
    finds_dead(AUDIT_VIOLATION, "the name of session 1 is no text");
    *session = kept;
    ck_assert_uint_eq(file->last_pool, 2);
    finds_nothing();
}
END_TEST

static void resize_registry(off_t size)
{
    ck_assert_int_eq(truncate(path, size), 0);
}

START_TEST(test_audit_says_of_a_file_that_it_is_no_registry)
{
    static struct registry_file kept;
    kept = *broker.registry.file;
    resize_registry(sizeof(kept) + 1);
    finds_dead(AUDIT_VIOLATION, "it is none of version 2");
    resize_registry(4096);
    finds_dead(AUDIT_VIOLATION, "it is none of version 2");
    resize_registry(0);
    finds_dead(AUDIT_NOTE, "it was being made");
    resize_registry(sizeof(kept));
    finds_dead(AUDIT_NOTE, "it was being made");
    *broker.registry.file = kept;
    broker.registry.file->boot[0] ^= 1;
    finds_nothing(); /* all of it is there */
    *broker.registry.file = kept;
    finds_nothing();

    struct audit audit = {.report = keep_finding};
    ck_assert_int_eq(audit_instance(&audit, "/nowhere/registry"), -ENOENT);
}
END_TEST

/* ---- Objects --------------------------------------------------------------------------------- */

static const char *shm_path(const char *name)
{
    static char text[SEGMENT_NAME_SIZE + 16];
    snprintf(text, sizeof(text), "/dev/shm%s", name);
    return text;
}

static const char *path_of(enum store_object part)
{
    char name[SEGMENT_NAME_SIZE];
    store_name(&pool->store, part, name);
    return shm_path(name);
}

static void make_stray(const char *name)
{
    int fd = open(shm_path(name), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

START_TEST(test_audit_finds_stray_objects)
{
    char name[SEGMENT_NAME_SIZE];
    uint8_t key[SEGMENT_KEY_SIZE];
    memcpy(key, pool->entry->key, sizeof(key));
    key[15] ^= 1;
    segment_name(key, "ctl", name);
    make_stray(name);
    finds_dead(AUDIT_VIOLATION, "but of nothing that it has");
    ck_assert_ptr_nonnull(strstr(found[0].text, name));
    finds_alive("but of nothing that it has");
    ck_assert_int_eq(unlink(shm_path(name)), 0);

    /* Of a pool there is no witness, and of a session no ctl; and what is no part isn't shown. */
    const struct {
        const uint8_t *key;
        const char *part;
    } others[] = {{pool->entry->key, "witness"},
                  {alice->entry->witness, "ctl"},
                  {pool->entry->key, "\n"},
                  {pool->entry->key, ""}};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        segment_name(others[i].key, others[i].part, name);
        make_stray(name);
        finds_dead(AUDIT_VIOLATION, "but of nothing that it has");
        ck_assert_ptr_null(strchr(found[0].text, '\n'));
        ck_assert_int_eq(unlink(shm_path(name)), 0);
    }
    finds_nothing();
}
END_TEST

START_TEST(test_audit_leaves_the_objects_of_others)
{
    uint8_t key[SEGMENT_KEY_SIZE];
    char name[SEGMENT_NAME_SIZE];
    memcpy(key, pool->entry->key, sizeof(key));
    key[0] ^= 1;
    segment_name(key, "ctl", name);
    make_stray(name);
    make_stray("/fastalloc.");
    make_stray("/fastalloc.0");
    make_stray("/other");
    finds_nothing();
    ck_assert_int_eq(unlink(shm_path(name)), 0);
    ck_assert_int_eq(unlink(shm_path("/fastalloc.")), 0);
    ck_assert_int_eq(unlink(shm_path("/fastalloc.0")), 0);
    ck_assert_int_eq(unlink(shm_path("/other")), 0);
}
END_TEST

START_TEST(test_audit_misses_objects)
{
    static const char *const texts[] = {"it has no ctl", "it has no slots", "it has no data"};
    for (enum store_object part = 0; part < STORE_FOR_CLIENTS; part++) {
        ck_assert_int_eq(rename(path_of(part), "/dev/shm/aside"), 0);
        finds_dead(AUDIT_VIOLATION, texts[part]);
        finds_alive(texts[part]);
        ck_assert_int_eq(rename("/dev/shm/aside", path_of(part)), 0);
    }
    /* Without the holders' object the shared slot is one of which the last hold was given up. */
    ck_assert_int_eq(rename(path_of(STORE_HOLDERS), "/dev/shm/aside"), 0);
    finds_dead(AUDIT_NOTE, "slot 1 is shared by nobody");
    ck_assert_int_eq(rename("/dev/shm/aside", path_of(STORE_HOLDERS)), 0);

    char name[SEGMENT_NAME_SIZE];
    registry_witness_name(alice->entry, name);
    ck_assert_int_eq(rename(shm_path(name), "/dev/shm/aside"), 0);
    audit_dead();
    ck_assert_uint_eq(found_count, 0); /* not every session has one */
    finds_alive("session 1 has no witness any more");
    ck_assert_int_eq(rename("/dev/shm/aside", shm_path(name)), 0);
    finds_nothing();
}
END_TEST

/* Of an object of so many bytes; `size` of them stay. */
static void cut_short(enum store_object part, off_t size, const char *text)
{
    static uint8_t content[1 << 20];
    struct stat status;
    int fd = open(path_of(part), O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert_int_eq(pread(fd, content, sizeof(content), 0), status.st_size);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    finds_dead(AUDIT_VIOLATION, text);
    ck_assert_int_eq(pwrite(fd, content, (size_t)status.st_size, 0), status.st_size);
    close(fd);
    finds_nothing();
}

START_TEST(test_audit_looks_at_the_size_of_objects)
{
    cut_short(STORE_CTL, 0, "its ctl has 0 bytes and must have 4096");
    cut_short(STORE_CTL, 4095, "its ctl has 4095 bytes and must have 4096");
    cut_short(STORE_CTL, 4096, "its ctl has 4096 bytes and must have 73728");
    cut_short(STORE_SLOTS, 0, "its slots has 0 bytes and must have 4096");
    cut_short(STORE_DATA, 0, "its data has 0 bytes and must have 4096");
    for (enum store_object part = 0; part < STORE_FOR_CLIENTS; part++) {
        struct stat status;
        ck_assert_int_eq(stat(path_of(part), &status), 0);
        ck_assert_int_eq(truncate(path_of(part), status.st_size + 1), 0);
        finds_dead(AUDIT_VIOLATION, "at most");
        finds_alive("at most");
        ck_assert_int_eq(truncate(path_of(part), status.st_size), 0);
    }
    finds_nothing();
}
END_TEST

START_TEST(test_audit_looks_at_whose_objects_they_are)
{
    ck_assert_int_eq(chmod(path_of(STORE_CTL), 0666), 0);
    finds_dead(AUDIT_VIOLATION, "its ctl is no file of mode 0600 of the daemon's user");
    finds_alive("its ctl is no file of mode 0600 of the daemon's user");
    ck_assert_int_eq(chmod(path_of(STORE_CTL), 0600), 0);
    finds_nothing();
}
END_TEST

START_TEST(test_audit_looks_at_the_template)
{
    struct pool *with =
        MAKE(.name = "with", .capacity = 4, .content = {(const uint8_t *)"1234", 4});
    char name[SEGMENT_NAME_SIZE];
    store_name(&with->store, STORE_TEMPLATE, name);
    finds_nothing();
    VIOLATES(with->ctl->policy.template_size, 5, "its template has 4 bytes and must have 5");
    VIOLATES(with->ctl->policy.template_size, 0, "its template has 4 bytes and can have 0 at most");
    ck_assert_int_eq(rename(shm_path(name), "/dev/shm/aside"), 0);
    finds_dead(AUDIT_VIOLATION, "it has no template");
    ck_assert_int_eq(rename("/dev/shm/aside", shm_path(name)), 0);
    finds_nothing();
}
END_TEST

/* ---- The head -------------------------------------------------------------------------------- */

START_TEST(test_audit_looks_at_the_head)
{
    struct layout_ctl *ctl = pool->ctl;

    VIOLATES(ctl->magic, 1, "pool 1 'frames': its ctl is none of version 4");
    VIOLATES(ctl->version, 0, "pool 1 'frames': its ctl is none of version 4");
    VIOLATES(ctl->pool, 2, "its ctl is that of pool 2");
    VIOLATES(ctl->nonce, ctl->nonce ^ 1, "and the registry's nonce is");
    VIOLATES(ctl->kind, 3, "it is of kind 3, which there isn't");
    VIOLATES(ctl->object_size, 0, "there can't be 16 slots of 0 bytes");
    VIOLATES(ctl->object_size, 17, "there can't be 16 slots of 17 bytes");
    VIOLATES(ctl->stride, 15, "there can't be 16 slots of 8 bytes, 15 apart");
    VIOLATES(ctl->alignment, 0, "aligned to 0");
    VIOLATES(ctl->alignment, 3, "aligned to 3");
    VIOLATES(ctl->reserve, 0, "there can't be 0 slots");
    VIOLATES(ctl->reserve, UINT32_MAX, "there can't be 4294967295 slots");
    VIOLATES(ctl->reserve, 3, "its capacities don't rise: 4 at first, 4 now, 4 at most, 3");
    VIOLATES(ctl->capacity, 0, "its capacities don't rise: 4 at first, 0 now, 4 at most, 16");
    VIOLATES(ctl->capacity, UINT32_MAX, "4 at first, 4294967295 now");
    VIOLATES(ctl->capacity_max, 3, "4 at first, 4 now, 3 at most");
    VIOLATES(ctl->capacity_max, 17, "4 at first, 4 now, 17 at most");
    VIOLATES(ctl->policy.capacity_first, 5, "5 at first, 4 now");
}
END_TEST

START_TEST(test_audit_looks_at_the_texts)
{
    struct layout_ctl *ctl = pool->ctl;
    static struct layout_ctl kept;

    VIOLATES(ctl->name[0], '\0', "pool 1: its name can't be one");
    VIOLATES(ctl->name[0], '\n', "pool 1: its name can't be one");
    VIOLATES(ctl->type[0], '\x01', "pool 1 'frames': its type is no text");
    VIOLATES(ctl->policy.growth[0], 'x', "its growth is no policy");
    VIOLATES(ctl->policy.watermark[0], 'x', "its watermark is no level");
    kept = *ctl;
    memset(ctl->name, 'x', sizeof(ctl->name));
    finds_dead(AUDIT_VIOLATION, "pool 1: its name can't be one");
    *ctl = kept;
    memset(ctl->type, 'x', sizeof(ctl->type));
    finds_dead(AUDIT_VIOLATION, "its type is no text");
    *ctl = kept;
    memset(ctl->policy.growth, '1', sizeof(ctl->policy.growth));
    finds_dead(AUDIT_VIOLATION, "its growth is no policy");
    *ctl = kept;
    memset(ctl->policy.watermark, '1', sizeof(ctl->policy.watermark));
    finds_dead(AUDIT_VIOLATION, "its watermark is no level");
    *ctl = kept;
    finds_nothing();
}
END_TEST

START_TEST(test_audit_looks_at_the_policies)
{
    struct layout_ctl *ctl = pool->ctl;
    struct layout_policy *policy = &ctl->policy;

    VIOLATES(ctl->flags, 1 << 6, "it has flags that there aren't: 0x40");
    VIOLATES(ctl->mode, 01000, "its mode is 512 and can be 511 at most");
    VIOLATES(policy->reserve_critical, 5, "its reserve for critical requests is 5 and can be 4");
    VIOLATES(policy->reserve_normal, 5, "its reserve for normal requests is 5 and can be 4");
    VIOLATES(policy->grow_ahead, 5, "its growth ahead is 5 and can be 4");
    VIOLATES(policy->hold_limit, UINT64_MAX, "its limit to holds is");
    VIOLATES(policy->trim_after, UINT64_MAX, "its time to trim after is");
    VIOLATES(ctl->waiters, 2, "its epoch 1 was never given out, the last one is 0");
    VIOLATES(ctl->epochs, 1, "its epoch 0 was never given out, the last one is 1");
    VIOLATES(leased->ctl->waiters, 2, "its epoch 1 was never given out, the last one is 0");
}
END_TEST

/* ---- Members --------------------------------------------------------------------------------- */

START_TEST(test_audit_looks_at_the_members)
{
    const uint64_t writes = LAYOUT_MEMBER_WRITES;

    VIOLATES(members[0], alice->id, "number 0 is a member's, which it never is");
    VIOLATES(members[SLOT_MEMBER_POOL], alice->id, "number 8191 is a member's");
    VIOLATES(members[9], 77 | writes, "number 9 is of session 77, which there isn't");
    VIOLATES(members[9], writes, "number 9 is of session 0, which there isn't");
    VIOLATES(members[9], alice->id, "session 1 is member 1 and 9");
    VIOLATES(members[LAYOUT_THREAD_FIRST], alice->id, "it isn't leased, and number 7935 is a");
    VIOLATES_AMONG(members[alices], 0, "slot 0 is granted to member 1, whom there isn't");
    VIOLATES_AMONG(members[alices], 0, "a hold on slot 1 is of member 1, whom there isn't");
    VIOLATES(members[alices], alice->id, "slot 0 is granted to member 1, who may read only");
}
END_TEST

START_TEST(test_audit_looks_at_the_numbers_of_threads)
{
    uint64_t *numbers = leased->store.members;
    struct session *carol = begin(alice_name, false);
    VIOLATES(numbers[LAYOUT_THREAD_FIRST], carol->id, "is a thread's of session 3, which is no");
    VIOLATES(numbers[LAYOUT_THREAD_FIRST], 77, "number 7935 is of session 77, which there isn't");
    end(&carol);
}
END_TEST

/* ---- Slots ----------------------------------------------------------------------------------- */

START_TEST(test_audit_looks_at_free_slots)
{
    VIOLATES_AMONG(words[3], slot_word(1, alices, SLOT_LIVE),
                   "slot 3 is free, and its word says LIVE, member 1, generation 1");
    VIOLATES(words[3], slot_word(1, alices, SLOT_IDLE), "slot 3 is free, and its word says IDLE");
    VIOLATES(words[3], slot_word(1, alices, SLOT_CACHED), "slot 3 is free, and its word says");
    VIOLATES(words[3], slot_word(1, SLOT_MEMBER_NONE, SLOT_RETURNED), "slot 3 is free, and its");
    VIOLATES(words[3], slot_word(1, SLOT_MEMBER_NONE, 7), "says state 7, member 0, generation 1");
    VIOLATES(words[3], 0, "slot 3 can't be at this generation, and its word says IDLE");
    VIOLATES(words[3], slot_word(7, SLOT_MEMBER_NONE, SLOT_RETIRED), "slot 3 can't be at this");
    VIOLATES(entries[3], layout_ledger_entry(1, SLOT_MEMBER_NONE), "slot 3 is free, and has a");
    VIOLATES(pool->store.ledger[7], layout_ledger_entry(1, alices), "slot 7 is granted, and there");
}
END_TEST

START_TEST(test_audit_looks_at_granted_slots)
{
    const uint64_t word = words[0];
    VIOLATES(words[0], slot_word(1, bobs, SLOT_LIVE), "slot 0 is granted to member 1, and its");
    VIOLATES_AMONG(words[0], slot_word(1, alices, SLOT_CACHED), "its word says CACHED");
    VIOLATES_AMONG(words[0], slot_word(1, alices, SLOT_RETURNED), "its word says RETURNED");
    VIOLATES_AMONG(words[0], slot_word(1, alices, SLOT_IDLE), "its word says IDLE");
    VIOLATES_AMONG(words[0], slot_word(SLOT_GENERATION_LAST, alices, SLOT_RETIRED), "RETIRED");
    VIOLATES(words[0], slot_word(1, SLOT_MEMBER_POOL, SLOT_SHARED), "is granted to one member");
    VIOLATES_AMONG(words[0], word & 0xffff, "slot 0 can't be at this generation");
    VIOLATES(entries[0], layout_ledger_entry(1, bobs), "slot 0 is granted to member 2, and its");
    VIOLATES_AMONG(entries[0], layout_ledger_entry(1, 9), "slot 0 is granted to member 9, whom");
    VIOLATES_AMONG(entries[0], layout_ledger_entry(1, LAYOUT_THREAD_FIRST), "to member 7935, whom");
    VIOLATES(entries[0], 0, "slot 0 is free, and its word says LIVE");
}
END_TEST

START_TEST(test_audit_notes_what_a_killed_daemon_may_leave_of_a_slot)
{
    uint64_t usage = pool->ctl->counters.current_usage;
    IS_NOTED(entries[3], layout_ledger_entry(1, alices), "slot 3 was being granted or taken back");
    /* It is free in its word, and the counters were about to follow. */
    uint64_t word = words[0];
    words[0] = slot_idle_after(1);
    audit_dead();
    ck_assert_uint_eq(found_count, 2);
    ck_assert(has_found(AUDIT_NOTE, "slot 0 was being granted or taken back"));
    ck_assert(has_found(AUDIT_NOTE, "it was about to count 1 objects, and counts 2"));
    finds_alive("slot 0 was being granted or taken back, and nobody is about to finish it");
    words[0] = word;
    ck_assert_uint_eq(usage, 2);
    finds_nothing();
}
END_TEST

/* ---- Holders --------------------------------------------------------------------------------- */

START_TEST(test_audit_looks_at_holds)
{
    uint64_t *holds = pool->holders.entries;
    uint32_t free = 0;
    while (holds[free] != 0)
        free++;
    VIOLATES(holds[free], layout_holder_entry(1, 99, alices), "a hold is on slot 99, which there");
    VIOLATES(holds[free], layout_holder_entry(1, 1, 9), "a hold on slot 1 is of member 9, whom");
    VIOLATES(holds[free], layout_holder_entry(1, 1, 0), "a hold on slot 1 is of member 0, whom");
    VIOLATES(holds[free], layout_holder_entry(2, 1, alices), "slot 1 has a hold on another object");
    VIOLATES(holds[free], layout_holder_entry(1, 0, alices), "slot 0 has a hold on another object");
    VIOLATES(entries[1], layout_ledger_entry(1, alices),
             "slot 1 is granted to one member, and its");
    VIOLATES(entries[1], layout_ledger_entry(1, SLOT_MEMBER_POOL), "slot 1 is the pool's own, and");
    VIOLATES_AMONG(words[1], slot_word(1, SLOT_MEMBER_POOL, SLOT_LIVE), "slot 1 has a hold on");

    static uint64_t kept[HOLDERS_FIRST];
    memcpy(kept, holds, sizeof(kept));
    memset(holds, 0, sizeof(kept));
    finds_dead(AUDIT_NOTE, "slot 1 is shared by nobody; the next start finishes it");
    finds_alive("slot 1 is shared by nobody, and nobody is about to finish it");
    memcpy(holds, kept, sizeof(kept));
    finds_nothing();
}
END_TEST

/* ---- Intents --------------------------------------------------------------------------------- */

static void intend(enum layout_intent_kind kind, uint32_t index, uint32_t from, uint32_t to)
{
    bool share = kind == LAYOUT_INTENT_SHARE;
    pool->ctl->intent = (struct layout_intent){
        .kind = kind,
        .index = index,
        .from = from,
        .to = to,
        .generation = slot_generation(words[index]),
        .entry = layout_ledger_entry(0, share ? SLOT_MEMBER_POOL : to),
    };
}

/* However far it came. */
static void finds_changing(void)
{
    finds_dead(AUDIT_NOTE, "was changing hands; the next start finishes it");
    finds_alive("was changing hands, and nobody is about to finish it");
}

START_TEST(test_audit_notes_each_step_of_a_move)
{
    const uint64_t word = words[0], entry = entries[0];
    intend(LAYOUT_INTENT_MOVE, 0, alices, bobs);
    finds_changing();
    words[0] = slot_word(1, bobs, SLOT_LIVE);
    finds_changing();
    entries[0] = layout_ledger_entry(0, bobs);
    finds_changing();
    pool->ctl->intent.kind = LAYOUT_INTENT_NONE;
    audit_dead();
    ck_assert_uint_eq(found_count, 0);
    words[0] = word;
    entries[0] = entry;
    finds_nothing();
}
END_TEST

START_TEST(test_audit_notes_each_step_of_sharing)
{
    const uint64_t word = words[0], entry = entries[0];
    uint64_t *holds = pool->holders.entries;
    uint32_t last = pool->holders.room - 1;
    intend(LAYOUT_INTENT_SHARE, 0, alices, bobs);
    finds_changing();
    words[0] = slot_word(1, SLOT_MEMBER_POOL, SLOT_SHARED);
    finds_changing();
    holds[last] = layout_holder_entry(1, 0, alices);
    finds_changing();
    holds[last - 1] = layout_holder_entry(1, 0, bobs);
    finds_changing();
    entries[0] = layout_ledger_entry(0, SLOT_MEMBER_POOL);
    finds_changing();
    pool->ctl->intent.kind = LAYOUT_INTENT_NONE;
    audit_dead();
    ck_assert_uint_eq(found_count, 0);
    holds[last] = holds[last - 1] = 0;
    words[0] = word;
    entries[0] = entry;
    finds_nothing();
}
END_TEST

START_TEST(test_audit_looks_at_intents)
{
    struct layout_intent *intent = &pool->ctl->intent;
    static const char impossible[] = "its intent can't be one";
    intend(LAYOUT_INTENT_MOVE, 0, alices, bobs);
    const struct layout_intent kept = *intent;
    intent->kind = 3;
    finds_dead(AUDIT_VIOLATION, impossible);
    *intent = kept;
    intent->index = 4;
    finds_dead(AUDIT_VIOLATION, impossible);
    *intent = kept;
    intent->from = 9;
    finds_dead(AUDIT_VIOLATION, impossible);
    *intent = kept;
    intent->to = UINT32_MAX;
    finds_dead(AUDIT_VIOLATION, impossible);
    *intent = kept;
    intent->entry = 7;
    finds_dead(AUDIT_VIOLATION, impossible);
    *intent = kept;
    intent->generation = 2;
    audit_dead();
    ck_assert(has_found(AUDIT_VIOLATION, "slot 0 was changing hands, and its word says LIVE"));
    *intent = kept;
    entries[0] = layout_ledger_entry(1, SLOT_MEMBER_POOL);
    audit_dead();
    ck_assert(has_found(AUDIT_VIOLATION, "is granted to member 8191, who had nothing to do with"));
    entries[0] = layout_ledger_entry(requests - 1, alices);
    intent->kind = LAYOUT_INTENT_NONE;
}
END_TEST

/* ---- Counters -------------------------------------------------------------------------------- */

START_TEST(test_audit_looks_at_the_counters)
{
    struct layout_counters *counters = &pool->ctl->counters;
    IS_NOTED(counters->sequence, counters->sequence + 1, "its counters were being changed");
    VIOLATES(counters->peak_usage, 1, "its usage is 2 and can be 1 at most");
    VIOLATES(counters->total_allocations, 9, "and then 9 allocations");
    VIOLATES(counters->reset_usage, 1, "it counts 2 objects, but had 1");

    const struct layout_counters kept = *counters;
    counters->current_usage = 1;
    counters->total_deallocations++;
    finds_dead(AUDIT_NOTE, "it was about to count 2 objects, and counts 1");
    finds_alive("it counts 1 objects and has 2");
    *counters = kept;
    counters->current_usage = counters->peak_usage = 5;
    counters->total_allocations = 5 + counters->total_deallocations;
    audit_dead();
    ck_assert(has_found(AUDIT_VIOLATION, "its usage is 5 and can be 4 at most"));
    *counters = kept;
    finds_nothing();
}
END_TEST

/* ---- Leased pools ---------------------------------------------------------------------------- */

START_TEST(test_audit_looks_at_the_words_of_leased_pools)
{
    ck_assert_uint_ge(lease(alice, 4), 4);
    uint32_t index = slots[0], other = slots[1], spare = SLOTS - 1;
    uint64_t *of = leased->words;
    const uint64_t cached = of[index];

    VIOLATES(of[index], slot_word(1, b, SLOT_CACHED), "and its word says CACHED, member 2");
    VIOLATES(of[index], slot_word(1, 9, SLOT_LIVE), "and its word says LIVE, member 9");
    VIOLATES(of[index], slot_word(1, LAYOUT_THREAD_FIRST, SLOT_LIVE), "LIVE, member 7935");
    VIOLATES(of[index], slot_word(1, a, SLOT_IDLE), "and its word says IDLE, member 1");
    VIOLATES(of[index], slot_word(2, a, SLOT_RETIRED), "can't be at this generation");
    VIOLATES(of[index], slot_word(1, SLOT_MEMBER_POOL, SLOT_SHARED), "is granted to one member");
    VIOLATES(of[index], slot_word(1, a, 6), "and its word says state 6");
    VIOLATES(of[index], 0, "can't be at this generation");
    VIOLATES(of[spare], slot_word(1, a, SLOT_LIVE), "slot 15 is free, and its word says LIVE");
    VIOLATES(leased->store.ledger[other], leased->store.ledger[other] | LAYOUT_EVICTABLE,
             "is evictable, which those of leased pools aren't");
    IS_NOTED(of[index], slot_word(1, SLOT_MEMBER_NONE, SLOT_IDLE), "was being granted or taken");
    VIOLATES(of[index], slot_word(1, SLOT_MEMBER_NONE, SLOT_RETIRED),
             "can't be at this generation");
    VIOLATES(of[spare], slot_word(1, SLOT_MEMBER_NONE, SLOT_RETIRED),
             "can't be at this generation");
    leased->ctl->damage = LAYOUT_DAMAGE_SEEN; /* first, and then it is put out of use */
    IS_NOTED(of[index], slot_word(1, SLOT_MEMBER_NONE, SLOT_RETIRED), "was being granted or taken");
    leased->ctl->damage = LAYOUT_DAMAGE_NONE;

    of[index] = slot_word(SLOT_GENERATION_LAST, a, SLOT_RETIRED);
    finds_nothing();
    of[index] = cached;
}
END_TEST

START_TEST(test_audit_notes_what_was_put_right)
{
    ck_assert_uint_ge(lease(alice, 4), 4);
    leased->words[slots[0]] = slot_word(1, 9, SLOT_LIVE);
    leasing_look(&broker, leased);
    audit_dead();
    ck_assert_uint_eq(found_count, 0);
    struct audit audit = audit_alive();
    ck_assert(audit.notes == 1 && audit.violations == 0);
    ck_assert(has_found(AUDIT_NOTE, "damaged in 1 place"));
}
END_TEST

START_TEST(test_audit_lets_threads_of_a_member_have_what_is_its)
{
    uint32_t number = pool_add_thread(leased, a);
    if (number == SLOT_MEMBER_NONE)
        return; /* the system has no barrier */
    ck_assert_uint_gt(lease_as(alice, number, 4), 0);
    uint64_t *word = &leased->words[slots[0]];
    VIOLATES(*word, slot_word(1, number + 1, SLOT_CACHED), "CACHED, member 7936, generation 1");
    VIOLATES(leased->store.ledger[slots[0]], layout_ledger_entry(0, b), "is granted to member 2");
}
END_TEST

/* ---- The daemon's own memory ----------------------------------------------------------------- */

#define MISKEEPS(place, value, text)                                                               \
    do {                                                                                           \
        __typeof__(place) before = (place);                                                        \
        (place) = (value);                                                                         \
        finds_alive(text);                                                                         \
        (place) = before;                                                                          \
        finds_nothing();                                                                           \
    } while (0)

START_TEST(test_audit_compares_what_the_daemon_keeps_of_a_pool)
{
    struct pool_account *account = pool->accounts[alices];
    MISKEEPS(account->held.session.amount, 1, "the slots charged to the session of member 1 as 1");
    MISKEEPS(account->held.user.amount, 1, "the slots charged to the user of member 1 as 1");
    MISKEEPS(account->quota.used, 9, "the session's quota in use of member 1 as 9");
    MISKEEPS(account->user->quotas[USER_SLOTS].used, 9, "a user's quota in use as 9");
    MISKEEPS(account->session, bob, "the session of member 1 as 2");
    MISKEEPS(pool->accounts[alices], NULL, "the membership of member 1 as 0");
    MISKEEPS(pool->member_count, 7, "the members as 7");
    MISKEEPS(pool->ledger.held, 7, "the slots that somebody has as 7");
    MISKEEPS(pool->ledger.chains[0].count, 7, "the slots that nobody has as 8");
    MISKEEPS(pool->ledger.chains[alices].count, 2, "the slots of member 1 as 2");
    MISKEEPS(pool->ledger.chains[alices].first, 3, "a broken list of the slots of member 1");
    MISKEEPS(pool->ledger.chains[alices].last, 3, "a broken list of the slots of member 1");
    MISKEEPS(pool->ledger.links[0].next, 0, "a broken list of the slots of member 1");
    MISKEEPS(pool->ledger.capacity, 3, "the capacity as 3");
    MISKEEPS(pool->waiters.count, 3, "the requests that wait as 3");
    MISKEEPS(pool->ages.held.count, 3, "the objects held as 3");
    MISKEEPS(pool->ages.too_long, 3, "those held for too long as 3");
    MISKEEPS(pool->evictable.count, 3, "the evictable objects as 3");
    MISKEEPS(pool->holders.free.count, 3, "the holds as 509");
    MISKEEPS(pool->holders.shared, 3, "the shared objects as 3");
    MISKEEPS(pool->bytes.amount, 3, "the bytes charged as 3");
    MISKEEPS(pool->counted.amount, 3, "the pools charged as 3");
    MISKEEPS(leased->lease.number, 5, "the last epoch as 5");
    leased->lease.number = leased->ctl->epochs = 5;
    MISKEEPS(leased->lease.tight, true, "the epoch as 10");
    MISKEEPS(leased->lease.seen[0], slot_word(9, a, SLOT_LIVE), "the objects it saw as 0");
    MISKEEPS(leased->lease.seen[0], slot_word(9, a, SLOT_CACHED), "went back to a generation");
}
END_TEST

START_TEST(test_audit_compares_what_the_daemon_keeps_of_the_instance)
{
    struct membership *membership = session_membership(alice, pool->id);
    MISKEEPS(membership->write, false,
             "session 1 has it open, and its member 1 is of session 1, for");
    MISKEEPS(membership->member, 2, "its member 2 is of session 2, for writing");
    MISKEEPS(alice->membership_count, 9, "sessions have 11 pools open, which have 4 members");
    MISKEEPS(broker.session_count, 9, "the daemon has 9 sessions, the registry 2");
    MISKEEPS(alice->id, 9, "and 1 of them are the same");
    MISKEEPS(broker.waiter_count, 9, "and have 2 and 9");
    MISKEEPS(alice->user->quotas[USER_SESSIONS].used, 9, "users are charged 9 sessions");
    struct registry_file *file = broker.registry.file;
    file->pools[9].state = REGISTRY_READY;
    finds_alive("the daemon has 2 pools, the registry 3");
    file->pools[9].state = REGISTRY_FREE;
    finds_nothing();
}
END_TEST

/* ---- Anything -------------------------------------------------------------------------------- */

static uint64_t state = 88172645463325252u;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Those that break things sooner than any. */
static uint64_t odd_number(void)
{
    static const uint64_t odd[] = {0, 1, 2, 3, UINT64_MAX, UINT32_MAX, INT64_MAX, 1 << 13, 8191};
    uint64_t number = next_random();
    return number % 2 ? number : odd[number / 2 % (sizeof(odd) / sizeof(odd[0]))];
}

/* Some words of it, and its end may be gone. */
static struct audit_object spoil(const struct audit_object *object, void *room)
{
    uint64_t size = object->size & ~UINT64_C(7);
    if (!object->start || size == 0)
        return *object;
    memcpy(room, object->start, object->size);
    for (uint64_t i = next_random() % 4; i > 0; i--) {
        uint64_t at =
            next_random() % 4 ? next_random() % (size < 1024 ? size : 1024) : next_random() % size;
        uint64_t number = odd_number();
        size_t length = next_random() % 2 ? 4 : 8;
        at &= ~UINT64_C(7);
        memcpy((char *)room + at, &number, length);
    }
    struct audit_object spoilt = {.start = room, .mapped = object->size, .size = object->size};
    if (next_random() % 16 == 0)
        spoilt.mapped = spoilt.size = next_random() % object->size & ~UINT64_C(7);
    return spoilt;
}

static void spoil_and_audit(const struct audit_subject *subject,
                            const struct audit_sessions *sessions)
{
    static void *room[STORE_OBJECTS];
    struct audit audit = {.report = keep_finding};
    struct audit_subject spoilt = *subject;
    spoilt.sessions = sessions;
    for (enum store_object part = 0; part < STORE_OBJECTS; part++) {
        /* Of exactly its size, so that a step beyond it is noticed where steps are watched. */
        room[part] = malloc(subject->objects[part].size + 1);
        spoilt.objects[part] = spoil(&subject->objects[part], room[part]);
    }
    audit_pool(&audit, &spoilt);
    for (enum store_object part = 0; part < STORE_OBJECTS; part++)
        free(room[part]);
}

static void survive_anything_in(const struct pool *of)
{
    struct audit_subject subject = {.id = of->id, .nonce = of->nonce, .state = REGISTRY_READY};
    struct audit_sessions sessions = {.count = 2, .ids = {1, 2}};
    for (enum store_object part = 0; part < STORE_OBJECTS; part++) {
        char name[SEGMENT_NAME_SIZE];
        store_name(&of->store, part, name);
        subject.objects[part] = audit_take_object(name, part != STORE_DATA);
    }
    for (int i = 0; i < 3000; i++)
        spoil_and_audit(&subject, &sessions);
    for (enum store_object part = 0; part < STORE_OBJECTS; part++)
        audit_forget_object(&subject.objects[part]);
}

START_TEST(test_audit_survives_anything_in_a_pool)
{
    lease(alice, 4);
    survive_anything_in(pool);
    survive_anything_in(leased);
}
END_TEST

START_TEST(test_audit_survives_anything_in_a_registry)
{
    const struct audit_object object = {.start = broker.registry.file,
                                        .mapped = sizeof(struct registry_file),
                                        .size = sizeof(struct registry_file)};
    struct audit_sessions sessions;
    void *room = malloc(object.size);
    for (int i = 0; i < 1000; i++) {
        struct audit audit = {.report = keep_finding};
        struct audit_object spoilt = spoil(&object, room);
        audit_registry(&audit, spoilt.start, spoilt.size, &sessions);
    }
    free(room);
}
END_TEST

SUITE_MAIN_WITH("audit", set_up, broker_tear_down, test_audit_counts_what_it_judged,
                test_audit_finds_nothing_in_all_that_a_pool_can_be,
                test_audit_finds_nothing_in_what_members_of_a_leased_pool_may_do,
                test_audit_looks_at_the_registry, test_audit_looks_at_the_registrys_entries,
                test_audit_says_of_a_file_that_it_is_no_registry, test_audit_finds_stray_objects,
                test_audit_leaves_the_objects_of_others, test_audit_misses_objects,
                test_audit_looks_at_the_size_of_objects, test_audit_looks_at_whose_objects_they_are,
                test_audit_looks_at_the_template, test_audit_looks_at_the_head,
                test_audit_looks_at_the_texts, test_audit_looks_at_the_policies,
                test_audit_looks_at_the_members, test_audit_looks_at_the_numbers_of_threads,
                test_audit_looks_at_free_slots, test_audit_looks_at_granted_slots,
                test_audit_notes_what_a_killed_daemon_may_leave_of_a_slot,
                test_audit_looks_at_holds, test_audit_notes_each_step_of_a_move,
                test_audit_notes_each_step_of_sharing, test_audit_looks_at_intents,
                test_audit_looks_at_the_counters, test_audit_looks_at_the_words_of_leased_pools,
                test_audit_notes_what_was_put_right,
                test_audit_lets_threads_of_a_member_have_what_is_its,
                test_audit_compares_what_the_daemon_keeps_of_a_pool,
                test_audit_compares_what_the_daemon_keeps_of_the_instance,
                test_audit_survives_anything_in_a_pool, test_audit_survives_anything_in_a_registry)
