/* SPDX-License-Identifier: MIT */
/* Parses the ANYDMA_* environment. Called once, from the shim's start, before any other thread exists. */
#include "base/config.h"

#include <stddef.h>
#include <string.h>

#include "base/log.h"
#include "base/settings.h"

struct config config = {.depth = 24, .bridges = BRIDGE_SPDK | BRIDGE_LIBVFN | BRIDGE_DPDK};

/* Where each value goes: an unsigned (an enum) for words, lists and numbers, a bool for flags, a uint64_t for sizes, a
 * const char * for text. */
static void *const targets[NR_SETTINGS] = {
    [SETTING_MODE] = &config.mode,           [SETTING_IOMMU] = &config.iommu,
    [SETTING_HEAP] = &config.heap,           [SETTING_GRANULE] = &config.granule_bytes,
    [SETTING_FOREIGN] = &config.foreign,     [SETTING_THP] = &config.thp,
    [SETTING_LIMIT] = &config.limit_bytes,   [SETTING_ON_LIMIT] = &config.on_limit,
    [SETTING_CHECK] = &config.check,         [SETTING_OUTPUT] = &config.output,
    [SETTING_SAMPLE] = &config.sample_bytes, [SETTING_DEPTH] = &config.depth,
    [SETTING_VERBOSE] = &log_verbosity,      [SETTING_STATS] = &config.stats,
    [SETTING_DISABLE] = &config.disabled,    [SETTING_BRIDGES] = &config.bridges,
    [SETTING_STRICT] = &config.strict,       [SETTING_THREADS] = &config.threads,
};

/* A copy: programs write their title over their environment. The only text is a path. */
static void store_text(const struct setting *setting, const char *value)
{
    static char copy[4096];
    size_t len = strlen(value);
    if (len >= sizeof(copy)) {
        log_write(LOG_WARNING, "%s is ignored: %lu bytes are too long for a path", setting->variable,
                  (unsigned long)len);
        return;
    }
    memcpy(copy, value, len + 1);
    *(const char **)targets[setting - settings] = copy;
}

static void store(const struct setting *setting, const char *value, uint64_t number)
{
    void *target = targets[setting - settings];
    switch (setting->kind) {
    case SETTING_WORD:
    case SETTING_LIST:
    case SETTING_NUMBER:
        *(unsigned *)target = (unsigned)number;
        break;
    case SETTING_FLAG:
        *(bool *)target = number;
        break;
    case SETTING_SIZE:
    case SETTING_POWER:
        *(uint64_t *)target = number;
        break;
    case SETTING_TEXT:
        store_text(setting, value);
    }
}

/* `variable` is "ANYDMA_NAME=value", `value` what follows the sign. */
static void read_variable(const char *variable, const char *value)
{
    unsigned long len = (unsigned long)(value - variable) - 1;
    const struct setting *setting = setting_of_variable(variable, len);
    uint64_t number = 0;
    if (!setting)
        log_write(LOG_WARNING, "%s: there is no such option, and it is ignored", variable);
    else if (setting_parse(setting, value, &number))
        log_write(LOG_WARNING, "%s is not understood and ignored; it takes %s", variable,
                  setting->kind == SETTING_FLAG ? "0|1" : setting->values);
    else
        store(setting, value, number);
}

void config_read(char *const *environment)
{
    static const char prefix[] = "ANYDMA_";
    for (; environment && *environment; environment++) {
        const char *value = strchr(*environment, '=');
        if (value && strncmp(*environment, prefix, sizeof(prefix) - 1) == 0)
            read_variable(*environment, value + 1);
    }
}
