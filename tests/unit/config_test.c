/* SPDX-License-Identifier: MIT */
/* The ANYDMA_* environment: what each option takes, what it leaves alone, and what is said of the rest. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "base/settings.h"

static int stderr_reader;

static void capture_stderr(void)
{
    int ends[2];
    cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
    cr_assert_eq(dup2(ends[1], 2), 2);
    stderr_reader = ends[0];
}
TestSuite(config, .init = capture_stderr);

/* Reads one variable and returns what was said of it. */
static const char *read_one(const char *variable)
{
    static char said[1024];
    char *environment[] = {(char *)variable, NULL};
    config_read(environment);
    ssize_t len = read(stderr_reader, said, sizeof(said) - 1);
    said[len < 0 ? 0 : len] = '\0';
    return said;
}

static void is_taken(const char *variable)
{
    const char *said = read_one(variable);
    cr_assert_str_eq(said, "", "%s: %s", variable, said);
}

static void is_refused(const char *variable)
{
    struct config before = config;
    int verbosity = log_verbosity;
    const char *said = read_one(variable);
    cr_assert_neq(strstr(said, variable), NULL, "%s: '%s' does not name it", variable, said);
    cr_assert_eq(memcmp(&before, &config, sizeof(config)), 0, "%s changed something", variable);
    cr_assert_eq(verbosity, log_verbosity);
}

Test(config, words_are_numbered_as_the_enums_are)
{
    is_taken("ANYDMA_MODE=eager");
    is_taken("ANYDMA_IOMMU=none");
    is_taken("ANYDMA_HEAP=system");
    is_taken("ANYDMA_FOREIGN=trust");
    is_taken("ANYDMA_THP=never");
    is_taken("ANYDMA_CHECK=2");
    cr_assert_eq(config.mode, MODE_EAGER);
    cr_assert_eq(config.iommu, IOMMU_NONE);
    cr_assert_eq(config.heap, HEAP_SYSTEM);
    cr_assert_eq(config.foreign, FOREIGN_TRUST);
    cr_assert_eq(config.thp, THP_NEVER);
    cr_assert_eq(config.check, 2);
}

Test(config, a_list_is_a_bit_for_each)
{
    cr_assert_eq(config.bridges, BRIDGE_SPDK | BRIDGE_LIBVFN | BRIDGE_DPDK);
    is_taken("ANYDMA_BRIDGES=0");
    cr_assert_eq(config.bridges, 0);
    is_taken("ANYDMA_BRIDGES=dpdk,spdk");
    cr_assert_eq(config.bridges, BRIDGE_SPDK | BRIDGE_DPDK);
    is_taken("ANYDMA_BRIDGES=libvfn");
    cr_assert_eq(config.bridges, BRIDGE_LIBVFN);
}

Test(config, sizes_have_units_and_auto)
{
    is_taken("ANYDMA_LIMIT=3g");
    is_taken("ANYDMA_GRANULE=64K");
    is_taken("ANYDMA_SAMPLE=auto");
    cr_assert_eq(config.limit_bytes, UINT64_C(3) << 30);
    cr_assert_eq(config.granule_bytes, 64 << 10);
    cr_assert_eq(config.sample_bytes, 2 << 20);
    is_taken("ANYDMA_SAMPLE=0");
    is_taken("ANYDMA_GRANULE=auto");
    cr_assert_eq(config.sample_bytes, 0);
    cr_assert_eq(config.granule_bytes, 0);
}

Test(config, flags_numbers_and_text)
{
    is_taken("ANYDMA_STATS=1");
    is_taken("ANYDMA_DISABLE=1");
    is_taken("ANYDMA_DEPTH=64");
    is_taken("ANYDMA_VERBOSE=3");
    is_taken("ANYDMA_OUTPUT=a file=with signs");
    cr_assert(config.stats && config.disabled);
    cr_assert_eq(config.depth, 64);
    cr_assert_eq(log_verbosity, 3);
    cr_assert_str_eq(config.output, "a file=with signs");
    is_taken("ANYDMA_STATS=0");
    cr_assert(!config.stats);
}

Test(config, what_is_no_value_is_named_and_ignored)
{
    static const char *const bad[] = {
        "ANYDMA_MODE=",        "ANYDMA_MODE=eage",       "ANYDMA_MODE=eager2",
        "ANYDMA_LIMIT=abc",    "ANYDMA_LIMIT=0",         "ANYDMA_LIMIT=1X",
        "ANYDMA_LIMIT=1KB",    "ANYDMA_GRANULE=3K",      "ANYDMA_GRANULE=2K",
        "ANYDMA_GRANULE=2G",   "ANYDMA_LIMIT=99999999T", "ANYDMA_LIMIT=99999999999999999999",
        "ANYDMA_DEPTH=0",      "ANYDMA_DEPTH=65",        "ANYDMA_DEPTH=auto",
        "ANYDMA_VERBOSE=4",    "ANYDMA_VERBOSE=-1",      "ANYDMA_STATS=yes",
        "ANYDMA_STATS=",       "ANYDMA_LIMIT= 1",        "ANYDMA_NO_SUCH=1",
        "ANYDMA_BRIDGES=",     "ANYDMA_BRIDGES=spdk,",   "ANYDMA_BRIDGES=spdk,nvme",
        "ANYDMA_MODELS=eager", "ANYDMA_MOD=eager",       "ANYDMA_=1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        is_refused(bad[i]);
}

Test(config, other_variables_are_nobodys)
{
    is_taken("PATH=/bin");
    is_taken("XANYDMA_MODE=sometimes");
    is_taken("ANYDMA");
    is_taken("ANYDMA_NOTHING");
    config_read(NULL);
}

/* A line of the table without a place for its value would crash the program that sets it. */
Test(config, every_setting_has_a_place_and_words)
{
    for (unsigned i = 0; i < NR_SETTINGS; i++) {
        const struct setting *setting = &settings[i];
        char variable[64], lower[32];
        const char *value = setting->kind == SETTING_WORD || setting->kind == SETTING_LIST ? setting->values
                            : setting->kind == SETTING_NUMBER || setting->kind == SETTING_FLAG ? "1"
                                                                                               : "auto";
        snprintf(variable, sizeof(variable), "%s=%.*s", setting->variable, (int)strcspn(value, "|"), value);
        is_taken(variable);
        for (size_t c = 0; c <= strlen(setting->variable + 7); c++)
            lower[c] = (char)(setting->variable[7 + c] == '_' ? '-' : tolower(setting->variable[7 + c]));
        cr_assert_str_eq(lower, setting->name);
        cr_assert(strlen(setting->help) > 10, "%s says nothing", setting->name);
    }
}

/* Programs write their title over their environment. */
Test(config, text_outlives_the_environment)
{
    char variable[] = "ANYDMA_OUTPUT=kept";
    is_taken(variable);
    memset(variable, 0, sizeof(variable));
    cr_assert_str_eq(config.output, "kept");
}

Test(config, text_that_is_too_long_is_named)
{
    static char variable[8192] = "ANYDMA_OUTPUT=";
    memset(variable + strlen(variable), 'x', sizeof(variable) - 20);
    const char *said = read_one(variable);
    cr_assert_neq(strstr(said, "ANYDMA_OUTPUT is ignored: 8172 bytes are too long"), NULL, "%s", said);
    cr_assert_null(config.output);
}
