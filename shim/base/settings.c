/* SPDX-License-Identifier: MIT */
/* The table of options and what their values may be. In the shim and in the command. */
#include "base/settings.h"

#include <errno.h>
#include <string.h>

const struct setting settings[NR_SETTINGS] = {
#define SETTING_ENTRY(NAME, name, kind, values, least, most, automatic, help)                                \
    {"ANYDMA_" #NAME, #name, SETTING_##kind, values, least, most, automatic, help},
    SETTINGS(SETTING_ENTRY)
#undef SETTING_ENTRY
};

int setting_parse_size(const char *text, uint64_t *bytes)
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

/* The place of the `len` bytes at `value` among the words. */
static int parse_word(const char *words, const char *value, size_t len, uint64_t *number)
{
    for (uint64_t index = 0;; index++) {
        size_t word_len = strcspn(words, "|");
        if (word_len == len && memcmp(words, value, len) == 0) {
            *number = index;
            return 0;
        }
        if (!words[word_len])
            return -EINVAL;
        words += word_len + 1;
    }
}

static int parse_list(const char *words, const char *value, uint64_t *bits)
{
    uint64_t place;
    for (*bits = 0;; value++) {
        size_t len = strcspn(value, ",");
        if (parse_word(words, value, len, &place) != 0)
            return -EINVAL;
        *bits |= UINT64_C(1) << place >> 1;
        value += len;
        if (!*value)
            return 0;
    }
}

int setting_parse(const struct setting *setting, const char *value, uint64_t *number)
{
    switch (setting->kind) {
    case SETTING_TEXT:
        return 0;
    case SETTING_WORD:
        return parse_word(setting->values, value, strlen(value), number);
    case SETTING_LIST:
        return parse_list(setting->values, value, number);
    case SETTING_FLAG:
        return parse_word("0|1", value, strlen(value), number);
    case SETTING_SIZE:
    case SETTING_POWER:
    case SETTING_NUMBER:
        if (strcmp(value, "auto") == 0 && strncmp(setting->values, "auto|", 5) == 0) {
            *number = setting->automatic;
            return 0;
        }
    }
    int error = setting_parse_size(value, number);
    if (error || *number < setting->least || *number > setting->most)
        return -EINVAL;
    return setting->kind == SETTING_POWER && *number & (*number - 1) ? -EINVAL : 0;
}

const struct setting *setting_of_variable(const char *variable, unsigned long len)
{
    for (unsigned i = 0; i < NR_SETTINGS; i++)
        if (strlen(settings[i].variable) == len && memcmp(settings[i].variable, variable, len) == 0)
            return &settings[i];
    return NULL;
}
