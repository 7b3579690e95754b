# SPDX-License-Identifier: Apache-2.0
# Toolchain of what takes clang: Debian 12's, or Ubuntu 24.04's, whose C++ library 14 cannot compile.
find_program(CGWARDEN_CLANG NAMES clang++-14 clang++-18 REQUIRED)
set(CMAKE_CXX_COMPILER ${CGWARDEN_CLANG})
