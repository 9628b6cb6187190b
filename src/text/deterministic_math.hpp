// exp and log in double, made of IEEE basic operations alone. The C library's differ in the last bit between
// versions and processors; these give the same bits everywhere, which is what lets every rank choose the same
// token by itself.
#pragma once

namespace stagformer::internal {

/// e^x within 2 ulp; 0 below -708 (no subnormal results). x must be at most 709.
double deterministic_exp(double x);

/// Natural logarithm of a positive normal number, within 2 ulp.
double deterministic_log(double x);

}  // namespace stagformer::internal
