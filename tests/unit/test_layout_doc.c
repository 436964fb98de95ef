/* SPDX-License-Identifier: MIT */
/*
 * docs/shm-layout.md says what shm/layout.h, shm/slot.h and shm/geometry.h say.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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
    HEAD(holders_max);
    HEAD(uid);
    HEAD(gid);
    HEAD(mode);
    HEAD(flags);
    HEAD(name);
    HEAD(type);
    HEAD(capacity);
    HEAD(waiters);
    HEAD(counters);
    HEAD(intent);
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
}

static void add_state(struct table *table, const char *name, enum slot_state state)
{
    struct row *row = add_row(table);
    snprintf(row->cell[0], sizeof(row->cell[0]), "%s", name);
    snprintf(row->cell[1], sizeof(row->cell[1]), "%d", (int)state);
}

static void fill_states(struct table *table)
{
    *table = (struct table){.head = {"state", "number", ""}};
    add_state(table, "IDLE", SLOT_IDLE);
    add_state(table, "CACHED", SLOT_CACHED);
    add_state(table, "LIVE", SLOT_LIVE);
    add_state(table, "SHARED", SLOT_SHARED);
    add_state(table, "RETURNED", SLOT_RETURNED);
    add_state(table, "RETIRED", SLOT_RETIRED);
}

static void add_bits(struct table *table, unsigned first, unsigned last, const char *name)
{
    struct row *row = add_row(table);
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
    ck_assert_int_eq(geometry_init(&geometry, 64, 0, 1000), GEOMETRY_OK);
    add_array(table, "members", "ctl", "", geometry.members_offset);
    add_array(table, "holders", "ctl", "", geometry.holders_offset);
    add_array(table, "ledger", "ctl", " + 8 * `holders_max`", geometry.holders_offset);
    add_array(table, "words", "slots",
              " * ((`reserve` + 4095) / 4096), rounded up to a multiple of 64", sizeof(uint64_t));
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

static unsigned check_document(const char *text, FILE *report)
{
    static struct table tables[5];
    unsigned problems = 0;
    char line[LINE_SIZE];
    struct document_row row;

    fill_head(&tables[0]);
    fill_counters(&tables[1]);
    fill_states(&tables[2]);
    fill_bits(&tables[3]);
    fill_arrays(&tables[4]);
    while (document_line(&text, line, sizeof(line)))
        for (int i = 0; i < 5; i++)
            if (document_split(line, &row) && is_head(&tables[i], &row))
                problems += check_table(&tables[i], &text, report);
    for (int i = 0; i < 5; i++)
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
    snprintf(meant, sizeof(meant), "| 0x%" PRIx64 ": the text `%.8s` |", LAYOUT_MAGIC,
             (const char *)&(uint64_t){LAYOUT_MAGIC});
    ck_assert_ptr_nonnull(strstr(text, meant));
    snprintf(meant, sizeof(meant), "The head ends at %zu.", sizeof(struct layout_ctl));
    ck_assert_ptr_nonnull(strstr(text, meant));
    snprintf(meant, sizeof(meant), "| %u, by member number", LAYOUT_MEMBERS);
    ck_assert_ptr_nonnull(strstr(text, meant));
    snprintf(meant, sizeof(meant), "%u = the pool itself", SLOT_MEMBER_POOL);
    ck_assert_ptr_nonnull(strstr(text, meant));
    free(text);
}
END_TEST

/* Every field of the head has its row: with the gaps before cache lines they are all of it. */
START_TEST(test_layout_doc_leaves_out_no_field)
{
    struct table head, counters;
    size_t size = 0,
           gaps = sizeof(((struct layout_ctl *)0)->pad0) + sizeof(((struct layout_ctl *)0)->pad1) +
                  sizeof(((struct layout_ctl *)0)->pad2) + sizeof(((struct layout_ctl *)0)->pad3);

    fill_head(&head);
    for (unsigned i = 0; i < head.count; i++)
        size += strtoul(head.row[i].cell[1], NULL, 10);
    ck_assert_uint_eq(size + gaps, sizeof(struct layout_ctl));
    fill_counters(&counters);
    ck_assert_uint_eq(counters.count * sizeof(uint64_t), sizeof(struct layout_counters));
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
    check_noticed("| 68 | 4 | `flags` | none yet |\n", "");
    check_noticed("| 68 | 4 | `flags` | none yet |\n",
                  "| 68 | 4 | `flags` | |\n| 72 | 4 | `x` | |\n");
    check_noticed("| offset | bytes | field |", "| at | bytes | field |");
    check_noticed("| SHARED | 3 |", "| SHARED | 2 |");
    check_noticed("| 3 to 15 | member |", "| 3 to 16 | member |");
    check_noticed("| holders | ctl | 66048 |", "| holders | ctl | 66040 |");
}
END_TEST

SUITE_MAIN("layout_doc", test_layout_doc_says_what_the_code_says,
           test_layout_doc_says_the_constants, test_layout_doc_leaves_out_no_field,
           test_layout_doc_notices_faults)
