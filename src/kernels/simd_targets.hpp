// Included before Highway by every file that it compiles once for each instruction set.
// Left out: what no level of use_instruction_set() needs (SSSE3), and vectors whose length is unknown to the
// compiler.
#pragma once

#if defined(__x86_64__)
#define HWY_DISABLED_TARGETS HWY_SSSE3
#elif defined(__aarch64__)
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif
