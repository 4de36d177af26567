/* SPDX-License-Identifier: MIT */
/* After cfrac, which factors by continued fractions: numbers of a few words, each result a block of its own
 * that lives for moments. Here: powers modulo a number, by long multiplication and division. */
#include "workload.h"

struct number {
    unsigned nr_words;
    uint32_t words[];
};

static struct number *make(unsigned nr_words)
{
    struct number *number = take(sizeof(*number) + nr_words * sizeof(uint32_t));
    memset(number->words, 0, nr_words * sizeof(uint32_t));
    number->nr_words = nr_words;
    return number;
}

static struct number *multiply(const struct number *a, const struct number *b)
{
    struct number *product = make(a->nr_words + b->nr_words);
    for (unsigned i = 0; i < a->nr_words; i++) {
        uint64_t carry = 0;
        for (unsigned n = 0; n < b->nr_words; n++) {
            carry += (uint64_t)a->words[i] * b->words[n] + product->words[i + n];
            product->words[i + n] = (uint32_t)carry;
            carry >>= 32;
        }
        product->words[i + b->nr_words] = (uint32_t)carry;
    }
    return product;
}

static struct number *remainder_of(const struct number *a, uint32_t divisor)
{
    struct number *rest = make(1);
    uint64_t value = 0;
    for (unsigned i = a->nr_words; i-- > 0;)
        value = (value << 32 | a->words[i]) % divisor;
    rest->words[0] = (uint32_t)value;
    return rest;
}

int main(void)
{
    enum { KEPT = 256, STEPS = 7000000 };
    struct number *kept[KEPT] = {0};
    workload_start();
    struct number *power = make(1), *base = make(2);
    power->words[0] = 3;
    base->words[0] = 65537;
    for (unsigned i = 0; i < STEPS; i++) {
        struct number *product = multiply(power, base);
        struct number *rest = remainder_of(product, 4294967291u);
        free(power);
        power = rest;
        free(kept[i % KEPT]);
        kept[i % KEPT] = product;
    }
    printf("%u\n", power->words[0]);
    return 0;
}
