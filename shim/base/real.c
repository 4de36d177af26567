/* SPDX-License-Identifier: MIT */
/* Logarithm and exponential by their series, near 0 where those are short. */
#include "base/real.h"

#include <stdint.h>
#include <string.h>

/* x is m * 2^e with m in [sqrt(1/2), sqrt(2)); log(m) = 2 artanh((m - 1) / (m + 1)). */
double real_log(double x)
{
    const uint64_t exponent_bits = UINT64_C(0x7ff) << 52;
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & ~exponent_bits) | UINT64_C(1023) << 52;
    double m, sum = 0;
    memcpy(&m, &bits, sizeof(m));
    if (m > 1.4142135623730951) {
        m /= 2;
        exponent++;
    }
    double z = (m - 1) / (m + 1), power = z;
    for (int i = 1; i < 20; i += 2, power *= z * z)
        sum += power / i;
    return 2 * sum + exponent * 0.6931471805599453;
}

/* e^-x = (e^-(x / 2^n))^(2^n). */
double real_exp_minus(double x)
{
    if (x > 700)
        return 0;
    int halvings = 0;
    for (; x > 0.5; x /= 2)
        halvings++;
    double sum = 1, term = 1;
    for (int i = 1; i < 14; i++) {
        term *= -x / i;
        sum += term;
    }
    while (halvings--)
        sum *= sum;
    return sum;
}
