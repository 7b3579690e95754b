# SPDX-License-Identifier: Apache-2.0
# All libraries come from packages of the distribution; scripts/install-deps lists them.
find_package(Threads REQUIRED)
find_package(Boost 1.81 CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(tl-expected CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
pkg_check_modules(SDBUS REQUIRED IMPORTED_TARGET sdbus-c++)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2)

# gzip: ISA-L if installed (x86-64, arm64), otherwise libdeflate. Both behind exporter/gzip.h.
add_library(cgwarden_gzip INTERFACE)
pkg_check_modules(ISAL IMPORTED_TARGET libisal)
if(ISAL_FOUND)
  target_link_libraries(cgwarden_gzip INTERFACE PkgConfig::ISAL)
  target_compile_definitions(cgwarden_gzip INTERFACE CGWARDEN_GZIP_ISAL=1)
else()
  pkg_check_modules(DEFLATE REQUIRED IMPORTED_TARGET libdeflate)
  target_link_libraries(cgwarden_gzip INTERFACE PkgConfig::DEFLATE)
endif()

# yaml-cpp 0.7 (Debian 12) exports a target without namespace, 0.8 exports both.
find_package(yaml-cpp CONFIG REQUIRED)
add_library(cgwarden_yaml INTERFACE)
if(TARGET yaml-cpp::yaml-cpp)
  target_link_libraries(cgwarden_yaml INTERFACE yaml-cpp::yaml-cpp)
else()
  target_link_libraries(cgwarden_yaml INTERFACE yaml-cpp)
endif()

# ncurses with wide characters.
set(CURSES_NEED_NCURSES TRUE)
set(CURSES_NEED_WIDE TRUE)
find_package(Curses REQUIRED)
add_library(cgwarden_curses INTERFACE)
target_include_directories(cgwarden_curses SYSTEM INTERFACE ${CURSES_INCLUDE_DIRS})
target_link_libraries(cgwarden_curses INTERFACE ${CURSES_LIBRARIES})
