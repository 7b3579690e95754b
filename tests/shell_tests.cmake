# SPDX-License-Identifier: Apache-2.0
# Tests that are scripts. Included by tests/CMakeLists.txt.
# Labels: lint (reads sources only), golden, integration (this machine),
# threads (repeated under ThreadSanitizer), guest (a virtual machine), tidy and release (minutes of compiling).
# MACHINE: it works on this machine's groups, or needs most of it: one such test at a time.
# Exit status 77: cannot run here; the reason is on the line that starts with "SKIP:".
function(cgwarden_script_test name)
  cmake_parse_arguments(ARG "MACHINE" "LABEL;TIMEOUT" "COMMAND" ${ARGN})
  add_test(NAME ${name} COMMAND ${ARG_COMMAND} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT} SKIP_RETURN_CODE 77)
  if(ARG_MACHINE)
    set_tests_properties(${name} PROPERTIES RESOURCE_LOCK machine)
  endif()
endfunction()

set(layers ${PROJECT_SOURCE_DIR}/tests/layers/layers_test.py)
set(lint ${PROJECT_SOURCE_DIR}/tests/lint)
set(integration ${PROJECT_SOURCE_DIR}/tests/integration)

cgwarden_script_test(rooms.include_only_rooms_below_them LABEL lint TIMEOUT 60 COMMAND ${layers} includes)
cgwarden_script_test(files.say_their_licence LABEL lint TIMEOUT 60 COMMAND ${layers} licences)
cgwarden_script_test(files.name_no_developers_machine LABEL lint TIMEOUT 60 COMMAND ${layers} names)
cgwarden_script_test(docs.have_links_that_lead_somewhere LABEL lint TIMEOUT 60 COMMAND ${layers} links)
cgwarden_script_test(rules.notice_what_breaks_them LABEL lint TIMEOUT 60 COMMAND ${layers} --self-test)
cgwarden_script_test(shell_scripts.pass_shellcheck LABEL lint TIMEOUT 120 COMMAND ${lint}/shellcheck.sh)
cgwarden_script_test(sources.are_formatted LABEL lint TIMEOUT 120 COMMAND ${lint}/clang_format.sh)
# The two that compute for minutes begin first and run beside all others, behind them: most of those wait for something,
# and what they wait for shall not be late.
cgwarden_script_test(sources.pass_clang_tidy LABEL tidy TIMEOUT 3600 COMMAND nice -n 10 ${lint}/clang_tidy.sh --jobs 1)
set_tests_properties(sources.pass_clang_tidy PROPERTIES COST 1000)
cgwarden_script_test(release.builds_runs_and_serves LABEL release TIMEOUT 3600
                     COMMAND nice -n 10 ${PROJECT_SOURCE_DIR}/tests/integration/run_test.sh)
set_tests_properties(release.builds_runs_and_serves PROPERTIES COST 900)
cgwarden_script_test(unit_file.is_understood_by_systemd LABEL lint TIMEOUT 60
                     COMMAND ${lint}/systemd_unit.sh ${PROJECT_BINARY_DIR} $<TARGET_FILE:cgwarden>)

cgwarden_script_test(metrics_doc.is_what_the_agent_prints LABEL golden TIMEOUT 60
                     COMMAND ${layers} metrics-doc $<TARGET_FILE:cgwarden>)
cgwarden_script_test(dashboards_and_alerts.use_metrics_that_exist LABEL golden TIMEOUT 60
                     COMMAND ${layers} dashboards $<TARGET_FILE:cgwarden>)
cgwarden_script_test(alerts.fire_when_they_should LABEL golden TIMEOUT 60 COMMAND ${layers} alerts)
cgwarden_script_test(configuration_doc.names_all_collectors_and_flags LABEL golden TIMEOUT 60
                     COMMAND ${layers} configuration $<TARGET_FILE:cgwarden>)
cgwarden_script_test(metrics.have_names_that_promtool_likes LABEL golden TIMEOUT 60
                     COMMAND ${layers} metric-names $<TARGET_FILE:cgwarden>)
cgwarden_script_test(coverage_doc.fits_the_catalogue LABEL golden TIMEOUT 60
                     COMMAND ${integration}/interface_files_test.py $<TARGET_FILE:cgwarden> --document)
cgwarden_script_test(options.are_known_to_shells_and_manuals LABEL golden TIMEOUT 60
                     COMMAND ${PROJECT_SOURCE_DIR}/tests/integration/options_test.sh $<TARGET_FILE:cgwarden> $<TARGET_FILE:cgtop>)
foreach(host hybrid hybrid-systemd v1 v2)
  cgwarden_script_test(golden.host_${host}_is_shown_as_before LABEL golden TIMEOUT 120
                       COMMAND ${PROJECT_SOURCE_DIR}/tests/golden/golden_test.py $<TARGET_FILE:cgwarden> ${host})
endforeach()

cgwarden_script_test(agent.stands_many_clients_and_reloads LABEL threads TIMEOUT 120 MACHINE
                     COMMAND ${integration}/load_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(prometheus.agrees_with_what_a_group_did LABEL integration TIMEOUT 300 MACHINE
                     COMMAND ${integration}/prometheus_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(interface_files.of_this_kernel_are_exported_or_excused LABEL integration TIMEOUT 120 MACHINE
                     COMMAND ${integration}/interface_files_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(enforcer.limits_hogs_and_leaves_nothing_behind LABEL integration TIMEOUT 300 MACHINE
                     COMMAND ${integration}/enforce_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(agent.stays_as_small_while_containers_come_and_go LABEL integration TIMEOUT 600 MACHINE
                     COMMAND ${integration}/churn_test.py $<TARGET_FILE:cgwarden> 1200)
cgwarden_script_test(runtimes.agree_with_what_the_agent_says LABEL integration TIMEOUT 600 MACHINE
                     COMMAND ${integration}/runtimes_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(agent.shows_from_a_container_what_it_shows_outside LABEL integration TIMEOUT 120 MACHINE
                     COMMAND ${integration}/in_container_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(containerd.is_asked_and_heard_and_costs_nothing LABEL integration TIMEOUT 300 MACHINE
                     COMMAND ${integration}/containerd_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(engines.know_what_was_done_to_their_containers LABEL integration TIMEOUT 300 MACHINE
                     COMMAND ${integration}/engines_test.py $<TARGET_FILE:cgtop>)
cgwarden_script_test(cgtop.works_in_a_real_terminal LABEL integration TIMEOUT 600 MACHINE
                     COMMAND ${integration}/cgtop_test.py $<TARGET_FILE:cgtop>)
cgwarden_script_test(cgtop.shows_other_hosts LABEL integration TIMEOUT 300
                     COMMAND ${integration}/cgtop_sources_test.py $<TARGET_FILE:cgtop> $<TARGET_FILE:cgwarden>)
cgwarden_script_test(cgtop.acts_as_it_says LABEL integration TIMEOUT 120 MACHINE
                     COMMAND ${integration}/control_test.py $<TARGET_FILE:cgtop>)
cgwarden_script_test(systemd.runs_the_service LABEL guest TIMEOUT 900 MACHINE
                     COMMAND ${integration}/systemd_service_test.sh ${PROJECT_BINARY_DIR})
cgwarden_script_test(systemd.has_its_units_limited_frozen_and_killed LABEL guest TIMEOUT 900 MACHINE
                     COMMAND ${integration}/systemd_control_test.sh ${PROJECT_BINARY_DIR})
cgwarden_script_test(systemd.runs_the_enforcer LABEL guest TIMEOUT 900 MACHINE
                     COMMAND ${integration}/systemd_enforce_test.sh ${PROJECT_BINARY_DIR})
foreach(layout v2 hybrid)
  cgwarden_script_test(systemd.names_containers_that_need_it_${layout} LABEL guest TIMEOUT 900 MACHINE
                       COMMAND ${integration}/systemd_containers_test.sh ${PROJECT_BINARY_DIR} ${layout})
endforeach()
cgwarden_script_test(prometheus.agrees_on_a_pure_v2_host LABEL guest TIMEOUT 900 MACHINE
                     COMMAND ${integration}/prometheus_v2_test.sh ${PROJECT_BINARY_DIR})
cgwarden_script_test(interface_files.of_a_pure_v2_host_are_exported_or_excused LABEL guest TIMEOUT 900 MACHINE
                     COMMAND ${integration}/interface_files_v2_test.sh ${PROJECT_BINARY_DIR})
cgwarden_script_test(kernel.shows_on_pure_v2_what_it_does_here LABEL guest TIMEOUT 900 MACHINE
                     COMMAND ${integration}/kernel_v2_test.sh ${PROJECT_BINARY_DIR})
