/* SPDX-License-Identifier: MIT */
#include "client/ctl/demo_lines.c"  // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/demo_source.c" // NOLINT(bugprone-suspicious-include): part of a program

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/unit/suite.h"

#define TEXT(literal) (const unsigned char *)(literal), sizeof(literal) - 1

static struct counts count(const unsigned char *text, size_t length, bool inside_word,
                           enum word_rule rule)
{
    struct counts counts = {0, 0, 0};

    counts_add_text(&counts, text, length, inside_word, rule);
    return counts;
}

static void check_counts(struct counts counts, uint64_t lines, uint64_t words, uint64_t bytes)
{
    ck_assert_uint_eq(counts.lines, lines);
    ck_assert_uint_eq(counts.words, words);
    ck_assert_uint_eq(counts.bytes, bytes);
}

/* A file in memory, as long as the test lives. */
static int file_of(const void *bytes, size_t size)
{
    int fd = memfd_create("text", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* Counts a file piece by piece, each on its own. */
static struct counts count_pieces(int fd, enum word_rule rule, size_t *pieces)
{
    struct source *source = calloc(1, sizeof(*source));
    struct piece batch[SOURCE_BATCH];
    struct counts total = {0, 0, 0};
    ssize_t got = 0;

    source_init(source, fd, rule);
    *pieces = 0;
    while ((got = source_take(source, batch)) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            ck_assert_uint_ge(batch[i].length, 1);
            ck_assert_uint_le(batch[i].length, LINE_TEXT_SIZE);
            struct counts counts =
                count(batch[i].text, batch[i].length, batch[i].inside_word, rule);
            counts_add(&total, &counts);
        }
        *pieces += (size_t)got;
    }
    ck_assert_int_eq(got, 0);
    free(source);
    return total;
}

/* What wc itself says of the file; the rule that it follows. */
static struct counts count_by_wc(int fd)
{
    char command[64];
    char answer[128];
    struct counts counts;

    snprintf(command, sizeof(command), "LC_ALL=C wc -lwc </proc/%d/fd/%d", (int)getpid(), fd);
    FILE *wc = popen(command, "re");
    ck_assert_ptr_nonnull(wc);
    ck_assert_ptr_nonnull(fgets(answer, sizeof(answer), wc));
    ck_assert_int_eq(pclose(wc), 0);
    char *at = answer;
    counts.lines = strtoull(at, &at, 10);
    counts.words = strtoull(at, &at, 10);
    counts.bytes = strtoull(at, &at, 10);
    ck_assert_str_eq(at, "\n");
    return counts;
}

static enum word_rule rule_of_wc(void)
{
    int fd = file_of("\001", 1);
    struct counts counts = count_by_wc(fd);

    close(fd);
    return counts.words ? WORD_ANY : WORD_PRINTABLE;
}

static void check_against_wc(const void *bytes, size_t size)
{
    int fd = file_of(bytes, size);
    struct counts wc = count_by_wc(fd);
    size_t pieces = 0;

    check_counts(count_pieces(fd, rule_of_wc(), &pieces), wc.lines, wc.words, wc.bytes);
    close(fd);
}

START_TEST(test_counts_lines_words_and_bytes)
{
    check_counts(count(TEXT("one two\nthree\n"), false, WORD_PRINTABLE), 2, 3, 14);
    check_counts(count(TEXT(""), false, WORD_PRINTABLE), 0, 0, 0);
    check_counts(count(TEXT("\n\n\n"), false, WORD_PRINTABLE), 3, 0, 3);
    check_counts(count(TEXT("no newline"), false, WORD_PRINTABLE), 0, 2, 10);
    check_counts(count(TEXT(" \t\v\f\r\n"), false, WORD_PRINTABLE), 1, 0, 6);
}
END_TEST

START_TEST(test_counts_a_word_that_goes_on_where_it_began)
{
    check_counts(count(TEXT("tail head"), true, WORD_PRINTABLE), 0, 1, 9);
    check_counts(count(TEXT(" word"), true, WORD_PRINTABLE), 0, 1, 5);
}
END_TEST

START_TEST(test_counts_unprintable_bytes_by_the_rule)
{
    check_counts(count(TEXT("\001 \200 \0"), false, WORD_PRINTABLE), 0, 0, 5);
    check_counts(count(TEXT("\001 \200 \0"), false, WORD_ANY), 0, 3, 5);
    check_counts(count(TEXT("a\001b"), false, WORD_PRINTABLE), 0, 1, 3);
    check_counts(count(TEXT("\001a"), false, WORD_PRINTABLE), 0, 1, 2);
}
END_TEST

START_TEST(test_word_goes_on_as_its_last_deciding_byte_says)
{
    ck_assert(word_goes_on(TEXT("word"), false, WORD_PRINTABLE));
    ck_assert(!word_goes_on(TEXT("word "), true, WORD_PRINTABLE));
    ck_assert(word_goes_on(TEXT("word\001\002"), false, WORD_PRINTABLE));
    ck_assert(!word_goes_on(TEXT(" \001"), true, WORD_PRINTABLE));
    ck_assert(word_goes_on(TEXT(" \001"), false, WORD_ANY));
}
END_TEST

START_TEST(test_word_goes_on_as_before_where_nothing_decides)
{
    ck_assert(word_goes_on(TEXT("\001\200"), true, WORD_PRINTABLE));
    ck_assert(!word_goes_on(TEXT("\001\200"), false, WORD_PRINTABLE));
    ck_assert(word_goes_on(TEXT(""), true, WORD_ANY));
}
END_TEST

START_TEST(test_piece_ends_behind_the_newline_or_at_the_limit)
{
    ck_assert_uint_eq(piece_length(TEXT("ab\ncd\n"), 10), 3);
    ck_assert_uint_eq(piece_length(TEXT("abcdef"), 4), 4);
    ck_assert_uint_eq(piece_length(TEXT("abc\n"), 3), 3);
    ck_assert_uint_eq(piece_length(TEXT("abc\n"), 4), 4);
    ck_assert_uint_eq(piece_length(TEXT("abc"), 10), 3);
}
END_TEST

START_TEST(test_piece_count_stops_at_the_most)
{
    ck_assert_uint_eq(piece_count(TEXT(""), 10, 5), 0);
    ck_assert_uint_eq(piece_count(TEXT("a\nb\nc"), 10, 5), 3);
    ck_assert_uint_eq(piece_count(TEXT("a\nb\nc"), 10, 2), 2);
    ck_assert_uint_eq(piece_count(TEXT("aaaaaaaaaa"), 4, 9), 3);
}
END_TEST

START_TEST(test_source_gives_each_line_as_one_piece)
{
    int fd = file_of(TEXT("one\n\nthree"));
    struct source *source = calloc(1, sizeof(*source));
    struct piece pieces[SOURCE_BATCH];

    source_init(source, fd, WORD_PRINTABLE);
    ck_assert_int_eq(source_take(source, pieces), 3);
    ck_assert_uint_eq(pieces[0].length, 4);
    ck_assert_uint_eq(pieces[1].length, 1);
    ck_assert_mem_eq(pieces[2].text, "three", 5);
    ck_assert(!pieces[2].inside_word);
    ck_assert_int_eq(source_take(source, pieces), 0);
    free(source);
    close(fd);
}
END_TEST

START_TEST(test_source_cuts_a_line_of_any_length_at_each_slot)
{
    for (size_t size = LINE_TEXT_SIZE - 2; size < 3 * LINE_TEXT_SIZE + 3; size++) {
        char *text = malloc(size);
        size_t pieces = 0;
        memset(text, 'x', size);
        int fd = file_of(text, size);
        check_counts(count_pieces(fd, WORD_PRINTABLE, &pieces), 0, 1, size);
        ck_assert_uint_eq(pieces, (size + LINE_TEXT_SIZE - 1) / LINE_TEXT_SIZE);
        close(fd);
        free(text);
    }
}
END_TEST

START_TEST(test_source_reports_what_cant_be_read)
{
    struct source *source = calloc(1, sizeof(*source));
    struct piece pieces[SOURCE_BATCH];
    int fd = open("/", O_RDONLY | O_CLOEXEC);

    source_init(source, fd, WORD_PRINTABLE);
    ck_assert_int_eq(source_take(source, pieces), -EISDIR);
    free(source);
    close(fd);
}
END_TEST

START_TEST(test_pieces_count_as_wc_does_whatever_the_bytes)
{
    static const char *const alphabets[] = {"a \n", "a\001 ", "\001\200 \n",
                                            "aaaaaaaaaaaaaaaaaaaa \001"};
    size_t size = 3 * SOURCE_BUFFER_SIZE + 17;
    char *text = malloc(size);

    srand(4711);
    for (size_t round = 0; round < 5; round++) {
        for (size_t i = 0; i < size; i++) {
            const char *alphabet = alphabets[round % 4];
            text[i] = round < 4 ? alphabet[(size_t)rand() % strlen(alphabet)] : (char)rand();
        }
        check_against_wc(text, size);
    }
    free(text);
}
END_TEST

START_TEST(test_pieces_count_as_wc_does_at_every_length)
{
    char text[600];

    srand(4712);
    for (size_t size = 0; size < sizeof(text); size += 7) {
        for (size_t i = 0; i < size; i++)
            text[i] = "xxxxxxxxxx\001\001 \n"[rand() % 14];
        check_against_wc(text, size);
    }
}
END_TEST

SUITE_MAIN("demo_lines", test_counts_lines_words_and_bytes,
           test_counts_a_word_that_goes_on_where_it_began,
           test_counts_unprintable_bytes_by_the_rule,
           test_word_goes_on_as_its_last_deciding_byte_says,
           test_word_goes_on_as_before_where_nothing_decides,
           test_piece_ends_behind_the_newline_or_at_the_limit, test_piece_count_stops_at_the_most,
           test_source_gives_each_line_as_one_piece,
           test_source_cuts_a_line_of_any_length_at_each_slot,
           test_source_reports_what_cant_be_read, test_pieces_count_as_wc_does_whatever_the_bytes,
           test_pieces_count_as_wc_does_at_every_length)
