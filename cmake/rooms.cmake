# SPDX-License-Identifier: Apache-2.0
# The room graph. CMake builds a library from each call; tests/layers/layers_test.py reads the same calls: a room may
# include its own headers and those of the rooms that it links, directly or through another room. The table in
# docs/architecture.md is generated from this file. Lowest room first; this file holds calls of cgwarden_room() only.
cgwarden_room(base src/base
              PURPOSE "results and errors, file descriptors, text, clocks"
              LINKS tl::expected)
cgwarden_room(cli src/cli
              PURPOSE "command lines: layout of --help, validators, wording of errors"
              LINKS cgwarden::base CLI11::CLI11)
cgwarden_room(model src/model
              PURPOSE "fields, catalogue, values, snapshots, actions"
              LINKS cgwarden::base nlohmann_json::nlohmann_json)
cgwarden_room(cgroup src/cgroup
              PURPOSE "hierarchies, the tree of cgroups, parsers of interface files"
              LINKS cgwarden::model)
cgwarden_room(discovery src/discovery
              PURPOSE "names and facts of containers, from state on disk and from daemons"
              LINKS cgwarden::model nlohmann_json::nlohmann_json Boost::headers PkgConfig::NGHTTP2)
cgwarden_room(exporter exporter
              PURPOSE "HTTP server, exposition formats, JSON API"
              LINKS cgwarden::model prometheus-cpp::core Boost::headers Threads::Threads cgwarden_gzip)
cgwarden_room(policy src/policy
              PURPOSE "policies: loading, and decisions as pure functions"
              LINKS cgwarden::model cgwarden_yaml)
cgwarden_room(record src/record
              PURPOSE "recordings of snapshots: writing and reading"
              LINKS cgwarden::model Boost::headers PkgConfig::ZSTD)
cgwarden_room(collectors collectors
              PURPOSE "rows of fields, one file per controller; the sampler"
              LINKS cgwarden::cgroup Boost::headers Threads::Threads)
cgwarden_room(control src/control
              PURPOSE "the only code that writes to cgroups"
              LINKS cgwarden::cgroup cgwarden::discovery nlohmann_json::nlohmann_json PkgConfig::SYSTEMD PkgConfig::SDBUS
                    Boost::headers)
cgwarden_room(agent src/agent EXCEPT main.cpp
              PURPOSE "cgwarden: options, log, signals, systemd, the loop"
              LINKS cgwarden::collectors cgwarden::control cgwarden::discovery cgwarden::exporter cgwarden::policy
                    cgwarden::record cgwarden::cli spdlog::spdlog PkgConfig::SYSTEMD)
cgwarden_room(cgtop src/cgtop EXCEPT main.cpp
              PURPOSE "cgtop: options, columns, screens"
              LINKS cgwarden::collectors cgwarden::control cgwarden::discovery cgwarden::exporter cgwarden::record
                    cgwarden::cli nlohmann_json::nlohmann_json cgwarden_curses OpenSSL::SSL ZLIB::ZLIB)
