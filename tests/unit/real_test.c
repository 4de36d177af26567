/* SPDX-License-Identifier: MIT */
#include "base/real.h"

#include <criterion/criterion.h>
#include <math.h>

static void expect_near(double is, double should_be)
{
    cr_expect(fabs(is - should_be) <= 1e-12 * fmax(1, fabs(should_be)), "%.17g is not %.17g", is, should_be);
}

Test(real, log_is_libms)
{
    for (double x = 0x1p-53; x < 1e6; x *= 1.0137)
        expect_near(real_log(x), log(x));
    for (int e = -1000; e <= 1000; e += 50)
        for (double m = 1; m < 2; m += 0.01)
            expect_near(real_log(ldexp(m, e)), log(ldexp(m, e)));
    cr_expect(real_log(1) == 0);
}

Test(real, exp_minus_is_libms)
{
    cr_expect(real_exp_minus(0) == 1);
    for (double x = 1e-9; x < 2000; x *= 1.0137)
        expect_near(real_exp_minus(x), exp(-x));
    for (double x = 1.0 / 64; x < 64; x *= 1.0137) /* where it is most of a difference */
        cr_expect(fabs(1 - real_exp_minus(x) + expm1(-x)) < 1e-12);
}
