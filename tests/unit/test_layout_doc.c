/* SPDX-License-Identifier: MIT */
/*
 * docs/shm-layout.md says what shm/layout.h, shm/slot.h, shm/bias.h and shm/geometry.h say.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shm/bias.h"
#include "shm/geometry.h"
#include "shm/layout.h"
#include "shm/slot.h"
#include "tests/unit/document.h"
#include "tests/unit/suite.h"

#define LINE_SIZE 2048

/* What a row of a table must begin with. */
struct row {
    char cell[3][128];
};

struct table {
    const char *head[3];
    struct row row[32];
    unsigned count;
    unsigned seen;
};

#define FIELD(type, name) add_place(table, offsetof(type, name), sizeof(((type *)0)->name), #name)
#define HEAD(name) FIELD(struct layout_ctl, name)
#define COUNTER(name) FIELD(struct layout_counters, name)
#define POLICY(name) FIELD(struct layout_policy, name)
#define INTENT(name) FIELD(struct layout_intent, name)
#define THREAD(name) FIELD(struct layout_thread, name)
#define PAD(type, name) sizeof(((struct type *)0)->name)

static struct row *add_row(struct table *table)
{
    ck_assert_uint_lt(table->count, 32);
    return &table->row[table->count++];
}

static void add_place(struct table *table, size_t offset, size_t size, const char *name)
{
    struct row *row = add_row(table);
    snprintf(row->cell[0], sizeof(row->cell[0]), "%zu", offset);
    snprintf(row->cell[1], sizeof(row->cell[1]), "%zu", size);
    snprintf(row->cell[2], sizeof(row->cell[2]), "`%s`", name);
}

static void fill_head(struct table *table)
{
    *table = (struct table){.head = {"offset", "bytes", "field"}};
    HEAD(magic);
    HEAD(version);
    HEAD(pool);
    HEAD(nonce);
    HEAD(kind);
    HEAD(object_size);
    HEAD(stride);
    HEAD(alignment);
    HEAD(capacity_max);
    HEAD(reserve);
    HEAD(damage);
    HEAD(uid);
    HEAD(gid);
    HEAD(mode);
    HEAD(flags);
    HEAD(name);
    HEAD(type);
    HEAD(capacity);
    HEAD(waiters);
    HEAD(epochs);
    HEAD(policy);
    HEAD(intent);
    HEAD(counters);
}

static void fill_counters(struct table *table)
{
    *table = (struct table){.head = {"offset", "bytes", "`counters`"}};
    COUNTER(sequence);
    COUNTER(total_allocations);
    COUNTER(total_deallocations);
    COUNTER(allocation_failures);
    COUNTER(timeouts);
    COUNTER(reclaimed);
    COUNTER(current_usage);
    COUNTER(peak_usage);
    COUNTER(growth_count);
    COUNTER(evictions);
    COUNTER(waiters);
    COUNTER(total_waits);
    COUNTER(held_long);
    COUNTER(total_held_long);
    COUNTER(watermarks);
    COUNTER(reset_usage);
    COUNTER(reset_at);
    COUNTER(changed_at);
    COUNTER(area_low);
    COUNTER(area_high);
    COUNTER(freed);
    COUNTER(waits);
    COUNTER(holds);
}

static void fill_histogram(struct table *table)
{
    *table = (struct table){.head = {"offset", "bytes", "`histogram`"}};
    FIELD(struct histogram, count);
    FIELD(struct histogram, max);
    FIELD(struct histogram, buckets);
}

static void fill_policy(struct table *table)
{
    *table = (struct table){.head = {"offset", "bytes", "`policy`"}};
    POLICY(growth);
    POLICY(watermark);
    POLICY(capacity_first);
    POLICY(reserve_critical);
    POLICY(reserve_normal);
    POLICY(grow_ahead);
    POLICY(session_slots);
    POLICY(user_slots);
    POLICY(template_size);
    POLICY(hold_limit);
    POLICY(trim_after);
}

static void fill_intent(struct table *table)
{
    *table = (struct table){.head = {"offset", "bytes", "`intent`"}};
    INTENT(kind);
    INTENT(index);
    INTENT(from);
    INTENT(to);
    INTENT(generation);
    INTENT(entry);
}

static void fill_thread(struct table *table)
{
    *table = (struct table){.head = {"offset", "bytes", "`thread`"}};
    THREAD(announced);
    THREAD(revoked);
}

static void add_number(struct table *table, const char *name, int number)
{
    struct row *row = add_row(table);
    snprintf(row->cell[0], sizeof(row->cell[0]), "%s", name);
    snprintf(row->cell[1], sizeof(row->cell[1]), "%d", number);
}

static void fill_flags(struct table *table)
{
    *table = (struct table){.head = {"flag", "value", ""}};
    add_number(table, "OWNER_FREES", LAYOUT_OWNER_FREES);
    add_number(table, "ZERO_ALLOCATE", LAYOUT_ZERO_ALLOCATE);
    add_number(table, "ZERO_FREE", LAYOUT_ZERO_FREE);
    add_number(table, "PREFAULT", LAYOUT_PREFAULT);
    add_number(table, "LOCK", LAYOUT_LOCK);
    add_number(table, "HUGE", LAYOUT_HUGE);
}

static void fill_revoked(struct table *table)
{
    *table = (struct table){.head = {"revoked", "value", ""}};
    add_number(table, "BY_DAEMON", BIAS_BY_DAEMON);
    add_number(table, "BY_MEMBER", BIAS_BY_MEMBER);
    add_number(table, "SETTLED", BIAS_SETTLED);
}

static void fill_intents(struct table *table)
{
    *table = (struct table){.head = {"intent", "number", ""}};
    add_number(table, "NONE", LAYOUT_INTENT_NONE);
    add_number(table, "MOVE", LAYOUT_INTENT_MOVE);
    add_number(table, "SHARE", LAYOUT_INTENT_SHARE);
}

static void fill_states(struct table *table)
{
    *table = (struct table){.head = {"state", "number", ""}};
    add_number(table, "IDLE", SLOT_IDLE);
    add_number(table, "CACHED", SLOT_CACHED);
    add_number(table, "LIVE", SLOT_LIVE);
    add_number(table, "SHARED", SLOT_SHARED);
    add_number(table, "RETURNED", SLOT_RETURNED);
    add_number(table, "RETIRED", SLOT_RETIRED);
}

static void add_bits(struct table *table, unsigned first, unsigned last, const char *name)
{
    struct row *row = add_row(table);
    if (first == last)
        snprintf(row->cell[0], sizeof(row->cell[0]), "%u", first);
    else
        snprintf(row->cell[0], sizeof(row->cell[0]), "%u to %u", first, last);
    snprintf(row->cell[1], sizeof(row->cell[1]), "%s", name);
}

static void fill_bits(struct table *table)
{
    *table = (struct table){.head = {"bits", "of a word", ""}};
    add_bits(table, 0, FASTALLOC_WORD_MEMBER_SHIFT - 1, "state");
    add_bits(table, FASTALLOC_WORD_MEMBER_SHIFT, FASTALLOC_WORD_GENERATION_SHIFT - 1, "member");
    add_bits(table, FASTALLOC_WORD_GENERATION_SHIFT, 63, "generation");
}

/* The bits that are set in an entry of which one part alone has all of its own. */
static void add_part(struct table *table, uint64_t entry, const char *name)
{
    unsigned first = (unsigned)__builtin_ctzll(entry), last = 63 - (unsigned)__builtin_clzll(entry);
    ck_assert_uint_eq(entry, UINT64_MAX << first & UINT64_MAX >> (63 - last));
    add_bits(table, first, last, name);
}

static void fill_ledger_bits(struct table *table)
{
    *table = (struct table){.head = {"bits", "of a ledger entry", ""}};
    add_part(table, layout_ledger_entry(0, SLOT_MEMBER_POOL), "member");
    add_part(table, LAYOUT_EVICTABLE, "evictable");
    add_part(table, layout_ledger_entry(LAYOUT_REQUEST_MAX, 0), "request");
}

static void fill_holder_bits(struct table *table)
{
    *table = (struct table){.head = {"bits", "of a holder entry", ""}};
    add_part(table, layout_holder_entry(0, 0, SLOT_MEMBER_POOL), "member");
    add_part(table, layout_holder_entry(0, UINT32_MAX, 0), "index");
    add_part(table, layout_holder_entry(UINT64_MAX, 0, 0), "generation");
}

static void fill_announcement(struct table *table)
{
    *table = (struct table){.head = {"bits", "of an announcement", ""}};
    add_part(table, BIAS_ALLOCATES | BIAS_FREES, "what");
    add_part(table, bias_announcement(0, GEOMETRY_CAPACITY_MAX - 1, 0), "index");
    add_part(table, bias_announcement(UINT64_MAX, 0, 0), "generation");
}

static void add_array(struct table *table, const char *name, const char *object, const char *format,
                      size_t offset)
{
    struct row *row = add_row(table);
    snprintf(row->cell[0], sizeof(row->cell[0]), "%s", name);
    snprintf(row->cell[1], sizeof(row->cell[1]), "%s", object);
    snprintf(row->cell[2], sizeof(row->cell[2]), "%zu%s", offset, format);
}

static void fill_arrays(struct table *table)
{
    struct geometry geometry;

    *table = (struct table){.head = {"array", "in", "at"}};
    ck_assert_int_eq(geometry_init(&geometry, LAYOUT_LEASED, 64, 0, 1000), GEOMETRY_OK);
    add_array(table, "members", "ctl", "", geometry.members_offset);
    add_array(table, "ledger", "ctl", "", geometry.ledger_offset);
    add_array(table, "threads", "slots",
              " * ((`reserve` + 4095) / 4096), rounded up to a multiple of 64", sizeof(uint64_t));
    add_array(table, "words", "slots", " bytes behind threads; of a brokered pool in their place",
              geometry.words_offset - geometry.threads_offset);
    add_array(table, "holders", "holders", "", 0);
}

/* Compares the rows that come next with the table's. Returns how many problems there are. */
static unsigned check_table(struct table *table, const char **text, FILE *report)
{
    struct document_row row;
    unsigned count = 0, problems = 0;

    for (; document_row(text, &row); count++)
        for (int i = 0; i < 3; i++) {
            const char *meant = count < table->count ? table->row[count].cell[i] : "nothing";
            if (meant[0] == '\0' || strcmp(row.cell[i], meant) == 0)
                continue;
            fprintf(report, "the document says '%s', the code '%s'\n", row.cell[i], meant);
            problems++;
        }
    if (count != table->count)
        fprintf(report, "%s %s: %u rows of %u\n", table->head[0], table->head[2], count,
                table->count);
    table->seen++;
    return problems + (count != table->count);
}

static bool is_head(const struct table *table, const struct document_row *row)
{
    for (int i = 0; i < 3; i++)
        if (strcmp(table->head[i], row->cell[i]) != 0)
            return false;
    return true;
}

static void (*const fills[])(struct table *table) = {
    fill_head,        fill_flags,     fill_policy, fill_intent,       fill_intents,
    fill_counters,    fill_states,    fill_arrays, fill_bits,         fill_ledger_bits,
    fill_holder_bits, fill_histogram, fill_thread, fill_announcement, fill_revoked,
};
#define TABLES (sizeof(fills) / sizeof(fills[0]))

static unsigned check_document(const char *text, FILE *report)
{
    static struct table tables[TABLES];
    unsigned problems = 0;
    char line[LINE_SIZE];
    struct document_row row;

    for (size_t i = 0; i < TABLES; i++)
        fills[i](&tables[i]);
    while (document_line(&text, line, sizeof(line)))
        for (size_t i = 0; i < TABLES; i++)
            if (document_split(line, &row) && is_head(&tables[i], &row))
                problems += check_table(&tables[i], &text, report);
    for (size_t i = 0; i < TABLES; i++)
        problems += tables[i].seen != 1;
    return problems;
}

START_TEST(test_layout_doc_says_what_the_code_says)
{
    char *text = document_read("shm-layout.md"), *report;
    size_t size;

    FILE *out = open_memstream(&report, &size);
    unsigned problems = check_document(text, out);
    fclose(out);
    ck_assert_msg(problems == 0, "%u problems:\n%s", problems, report);
    free(report);
    free(text);
}
END_TEST

START_TEST(test_layout_doc_says_the_constants)
{
    char *text = document_read("shm-layout.md"), meant[LINE_SIZE];

    snprintf(meant, sizeof(meant), "This is layout version %u;", LAYOUT_VERSION);
    ck_assert_ptr_nonnull(strstr(text, meant));
    snprintf(meant, sizeof(meant), "| `version` | %u; stored last", LAYOUT_VERSION);
    ck_assert_ptr_nonnull(strstr(text, meant));
    snprintf(meant, sizeof(meant), "| 0x%" PRIx64 ": the text `%.8s` |", LAYOUT_MAGIC,
             (const char *)&(uint64_t){LAYOUT_MAGIC});
    ck_assert_ptr_nonnull(strstr(text, meant));
    snprintf(meant, sizeof(meant), "The head ends at %zu.", sizeof(struct layout_ctl));
    ck_assert_ptr_nonnull(strstr(text, meant));
    snprintf(meant, sizeof(meant), "| %u, by member number", LAYOUT_MEMBERS);
    ck_assert_ptr_nonnull(strstr(text, meant));
    snprintf(meant, sizeof(meant), "%u = the pool itself", SLOT_MEMBER_POOL);
    ck_assert_ptr_nonnull(strstr(text, meant));
    snprintf(meant, sizeof(meant), "%u to %u = a thread", LAYOUT_THREAD_FIRST,
             LAYOUT_THREAD_FIRST + LAYOUT_THREADS - 1);
    ck_assert_ptr_nonnull(strstr(text, meant));
    snprintf(meant, sizeof(meant), "| %u lines of %zu bytes, by member number from %u on",
             LAYOUT_THREADS, sizeof(struct layout_thread), LAYOUT_THREAD_FIRST);
    ck_assert_ptr_nonnull(strstr(text, meant));
    snprintf(meant, sizeof(meant), "| `buckets` | %u numbers |", HISTOGRAM_BUCKETS);
    ck_assert_ptr_nonnull(strstr(text, meant));
    snprintf(meant, sizeof(meant), "pages of %u bytes", GEOMETRY_ALIGNMENT_MAX);
    ck_assert_ptr_nonnull(strstr(text, meant));
    free(text);
}
END_TEST

static size_t sum_of_sizes(void (*fill)(struct table *table))
{
    struct table table;
    size_t size = 0;
    fill(&table);
    for (unsigned i = 0; i < table.count; i++)
        size += strtoul(table.row[i].cell[1], NULL, 10);
    return size;
}

/* Every field has its row: with the gaps they are all of it. */
START_TEST(test_layout_doc_leaves_out_no_field)
{
    ck_assert_uint_eq(sum_of_sizes(fill_head) + PAD(layout_ctl, pad1) + PAD(layout_ctl, pad2) +
                          PAD(layout_ctl, pad3) + PAD(layout_ctl, pad4) + PAD(layout_ctl, pad5),
                      sizeof(struct layout_ctl));
    ck_assert_uint_eq(sum_of_sizes(fill_counters) + PAD(layout_counters, pad),
                      sizeof(struct layout_counters));
    ck_assert_uint_eq(sum_of_sizes(fill_policy) + PAD(layout_policy, pad),
                      sizeof(struct layout_policy));
    ck_assert_uint_eq(sum_of_sizes(fill_intent), sizeof(struct layout_intent));
    ck_assert_uint_eq(sum_of_sizes(fill_thread) + PAD(layout_thread, pad),
                      sizeof(struct layout_thread));
    ck_assert_uint_eq(sum_of_sizes(fill_histogram), sizeof(struct histogram));
}
END_TEST

/* The rule that the document gives for the buckets of a histogram. */
START_TEST(test_layout_doc_says_the_bucket)
{
    for (uint64_t duration = 0; duration < 4; duration++)
        ck_assert_uint_eq(histogram_bucket(duration), duration);
    for (uint32_t n = 2; n < 47; n++)
        for (uint32_t q = 0; q < 4; q++)
            ck_assert_uint_eq(histogram_bucket((UINT64_C(4) + q) << (n - 2)), 4 * (n - 1) + q);
    ck_assert_uint_eq(histogram_bucket(UINT64_C(7) << 44), HISTOGRAM_BUCKETS - 1);
    ck_assert_uint_eq(histogram_bucket((UINT64_C(7) << 44) - 1), HISTOGRAM_BUCKETS - 2);
    ck_assert_uint_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}
END_TEST

static void check_noticed(const char *part, const char *other)
{
    char *text = document_read("shm-layout.md"), *report;
    char *wrong = document_replace(text, part, other);
    size_t size;

    FILE *out = open_memstream(&report, &size);
    unsigned problems = check_document(wrong, out);
    fclose(out);
    ck_assert_msg(problems > 0, "'%s' instead of '%s' goes unnoticed", other, part);
    free(report);
    free(wrong);
    free(text);
}

START_TEST(test_layout_doc_notices_faults)
{
    check_noticed("| 256 | 4 | `capacity` |", "| 260 | 4 | `capacity` |");
    check_noticed("| 68 | 4 | `flags` | below |\n", "");
    check_noticed("| 68 | 4 | `flags` | below |\n", "| 68 | 4 | `flags` | |\n| 72 | 4 | `x` | |\n");
    check_noticed("| offset | bytes | field |", "| at | bytes | field |");
    check_noticed("| SHARED | 3 |", "| SHARED | 2 |");
    check_noticed("| 3 to 15 | member |", "| 3 to 16 | member |");
    check_noticed("| ledger | ctl | 69632 |", "| ledger | ctl | 66048 |");
    check_noticed("| HUGE | 32 |", "| HUGE | 64 |");
    check_noticed("| SHARE | 2 |", "| SHARE | 3 |");
    check_noticed("| 240 | 8 | `hold_limit` |", "| 236 | 8 | `hold_limit` |");
    check_noticed("| 16 | 8 | `generation` |", "| 16 | 4 | `generation` |");
    check_noticed("| 16 | 1472 | `buckets` |", "| 16 | 1464 | `buckets` |");
    check_noticed("| 13 | evictable |", "| 14 | evictable |");
    check_noticed("| 13 to 44 | index |", "| 13 to 45 | index |");
    check_noticed("| 8 | 4 | `revoked` |", "| 8 | 8 | `revoked` |");
    check_noticed("| 2 to 31 | index |", "| 2 to 33 | index |");
    check_noticed("| BY_MEMBER | 2 |", "| BY_MEMBER | 3 |");
    check_noticed("| words | slots | 16384 bytes", "| words | slots | 16320 bytes");
}
END_TEST

SUITE_MAIN("layout_doc", test_layout_doc_says_what_the_code_says,
           test_layout_doc_says_the_constants, test_layout_doc_leaves_out_no_field,
           test_layout_doc_says_the_bucket, test_layout_doc_notices_faults)
