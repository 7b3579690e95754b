# SPDX-License-Identifier: Apache-2.0
# Toolchain for presets that require clang: 14 on Debian 12; 18 on Ubuntu 24.04, whose C++ library clang 14 cannot compile.
find_program(CGWARDEN_CLANG NAMES clang++-14 clang++-18 REQUIRED)
set(CMAKE_CXX_COMPILER ${CGWARDEN_CLANG})
