/* SPDX-License-Identifier: MIT */
/* The two functions of libm that sampling needs, to 12 digits: a library that is preloaded brings no other into the process. */
#ifndef BASE_REAL_H
#define BASE_REAL_H

/* The natural logarithm of a positive, normal number. */
double real_log(double x);
/* e to the power of -x, x not negative. */
double real_exp_minus(double x);

#endif
