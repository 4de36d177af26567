/* SPDX-License-Identifier: MIT */
/* Parses the ANYDMA_* environment. Called once, from the shim's start, before any other thread exists. */
#include "base/config.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/log.h"

struct config config = {.depth = 24};

int config_parse_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    uint64_t value = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (value > (UINT64_MAX - 9) / 10)
            return -EINVAL;
        value = value * 10 + (uint64_t)(*p - '0');
    }
    if (p == text)
        return -EINVAL;
    if (*p) {
        const char *unit = strchr(units, *p & ~0x20);
        if (!unit || p[1])
            return -EINVAL;
        unsigned shift = 10 * (unsigned)(unit - units + 1);
        if (value > UINT64_MAX >> shift)
            return -EINVAL;
        value <<= shift;
    }
    *bytes = value;
    return 0;
}

/* The index of `value` in the list `words` ("auto|lazy|eager"), or -1. */
static int parse_word(const char *words, const char *value)
{
    size_t len = strlen(value);
    for (int index = 0;; index++) {
        size_t word_len = strcspn(words, "|");
        if (word_len == len && memcmp(words, value, len) == 0)
            return index;
        if (!words[word_len])
            return -1;
        words += word_len + 1;
    }
}

/* One sample in each 2 MiB that are pinned, at less than a tenth of what malloc and free take (tests/bench/profile.sh). */
enum { SAMPLE_AUTO_BYTES = 2 << 20 };

enum option_kind { OPTION_WORD, OPTION_SIZE, OPTION_NUMBER, OPTION_FLAG, OPTION_TEXT };

static const struct option {
    const char *name;
    enum option_kind kind;
    void *target;
    const char *words;
} options[] = {
    {"MODE", OPTION_WORD, &config.mode, "auto|lazy|eager"},
    {"IOMMU", OPTION_WORD, &config.iommu, "auto|type1|sim|none"},
    {"HEAP", OPTION_WORD, &config.heap, "own|system"},
    {"FOREIGN", OPTION_WORD, &config.foreign, "watch|refuse|trust"},
    {"THP", OPTION_WORD, &config.thp, "auto|always|never"},
    {"GRANULE", OPTION_SIZE, &config.granule_bytes, "auto, or a size such as 4K or 2M"},
    {"LIMIT", OPTION_SIZE, &config.limit_bytes, "a size such as 512M"},
    {"SAMPLE", OPTION_SIZE, &config.sample_bytes, "auto, or a size such as 512K"},
    {"DEPTH", OPTION_NUMBER, &config.depth, "1 to 64"},
    {"OUTPUT", OPTION_TEXT, &config.output, "a file"},
    {"CHECK", OPTION_WORD, &config.check, "0|1|2"},
    {"VERBOSE", OPTION_NUMBER, &log_verbosity, "0 to 3"},
    {"STATS", OPTION_FLAG, &config.stats, "0|1"},
    {"DISABLE", OPTION_FLAG, &config.disabled, "0|1"},
};

static bool set_option(const struct option *option, const char *value)
{
    uint64_t number;
    int word;
    switch (option->kind) {
    case OPTION_TEXT:
        *(const char **)option->target = value;
        return true;
    case OPTION_WORD:
        word = parse_word(option->words, value);
        if (word < 0)
            return false;
        *(unsigned *)option->target = (unsigned)word;
        return true;
    case OPTION_FLAG:
        word = parse_word("0|1", value);
        if (word < 0)
            return false;
        *(bool *)option->target = word;
        return true;
    case OPTION_NUMBER:
        if (config_parse_size(value, &number) || number > 64)
            return false;
        *(unsigned *)option->target = (unsigned)number;
        return true;
    case OPTION_SIZE:
        if (strcmp(value, "auto") == 0) {
            if (option->target == &config.sample_bytes) /* elsewhere the default */
                config.sample_bytes = SAMPLE_AUTO_BYTES;
            return true;
        }
        return config_parse_size(value, option->target) == 0;
    }
    return false;
}

static void read_variable(const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        size_t len = strlen(options[i].name);
        if (strncmp(name, options[i].name, len) != 0 || name[len] != '=')
            continue;
        if (!set_option(&options[i], value))
            log_write(LOG_WARNING, "ANYDMA_%s=%s is not understood and ignored; it takes %s", options[i].name,
                      value, options[i].words);
        return;
    }
    log_write(LOG_WARNING, "ANYDMA_%s is not an option of anydma and ignored", name);
}

void config_read(char *const *environment)
{
    static const char prefix[] = "ANYDMA_";
    for (; environment && *environment; environment++) {
        const char *name = *environment + sizeof(prefix) - 1;
        const char *value;
        if (strncmp(*environment, prefix, sizeof(prefix) - 1) == 0 && (value = strchr(name, '=')))
            read_variable(name, value + 1);
    }
    if (config.granule_bytes &&
        (config.granule_bytes & (config.granule_bytes - 1) || config.granule_bytes < 4096)) {
        log_write(LOG_WARNING, "ANYDMA_GRANULE=%lu is not a power of two of at least 4096 and ignored",
                  config.granule_bytes);
        config.granule_bytes = 0;
    }
}
