# SPDX-License-Identifier: Apache-2.0
# Tests that are scripts. Included by tests/CMakeLists.txt.
# Labels: lint (reads sources only), golden, integration (this machine), threads (repeated under ThreadSanitizer), guest
# (a virtual machine), tidy and release (minutes of compiling).
# MACHINE: the test creates cgroups on this machine or needs most of its CPU time: one such test at a time.
# Exit status 77: skipped; the reason is on the output line that starts with "SKIP:".
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

cgwarden_script_test(Rooms.IncludeOnlyLinkedRooms LABEL lint TIMEOUT 60 COMMAND ${layers} includes)
cgwarden_script_test(Files.HaveALicenseLine LABEL lint TIMEOUT 60 COMMAND ${layers} licenses)
cgwarden_script_test(Files.ContainNoPathOfADevelopersMachine LABEL lint TIMEOUT 60 COMMAND ${layers} names)
cgwarden_script_test(ArchitectureDoc.MatchesTheRooms LABEL lint TIMEOUT 60 COMMAND ${layers} architecture)
cgwarden_script_test(Docs.NameExistingFiles LABEL lint TIMEOUT 60 COMMAND ${layers} doc-paths)
cgwarden_script_test(Docs.HaveLinksThatExist LABEL lint TIMEOUT 60 COMMAND ${layers} links)
cgwarden_script_test(Words.FollowTheGlossary LABEL lint TIMEOUT 60 COMMAND ${lint}/words.py)
cgwarden_script_test(WordsLint.FindsPlantedWords LABEL lint TIMEOUT 60 COMMAND ${lint}/words.py --self-test)
cgwarden_script_test(LayerRules.FindPlantedViolations LABEL lint TIMEOUT 60 COMMAND ${layers} --self-test)
cgwarden_script_test(ShellScripts.PassShellcheck LABEL lint TIMEOUT 120 COMMAND ${lint}/shellcheck.sh)
cgwarden_script_test(Sources.AreFormatted LABEL lint TIMEOUT 120 COMMAND ${lint}/clang_format.sh)
# The two tests that compute for minutes start first, at low priority: most other tests wait for something, and must
# not be delayed.
cgwarden_script_test(Sources.PassClangTidy LABEL tidy TIMEOUT 3600 COMMAND nice -n 10 ${lint}/clang_tidy.sh --jobs 1)
set_tests_properties(Sources.PassClangTidy PROPERTIES COST 1000)
cgwarden_script_test(Release.BuildsRunsAndServes LABEL release TIMEOUT 3600
                     COMMAND nice -n 10 ${PROJECT_SOURCE_DIR}/tests/integration/run_test.sh)
set_tests_properties(Release.BuildsRunsAndServes PROPERTIES COST 900)
cgwarden_script_test(UnitFiles.AreAcceptedBySystemd LABEL lint TIMEOUT 60
                     COMMAND ${lint}/systemd_unit.sh ${PROJECT_BINARY_DIR} $<TARGET_FILE:cgwarden>)

cgwarden_script_test(MetricsDoc.MatchesTheAgent LABEL golden TIMEOUT 60
                     COMMAND ${layers} metrics-doc $<TARGET_FILE:cgwarden>)
cgwarden_script_test(DashboardsAndAlerts.UseExistingMetrics LABEL golden TIMEOUT 60
                     COMMAND ${layers} dashboards $<TARGET_FILE:cgwarden>)
cgwarden_script_test(Alerts.FireInTheirTestCases LABEL golden TIMEOUT 60 COMMAND ${layers} alerts)
cgwarden_script_test(ConfigurationDoc.NamesAllCollectorsAndOptions LABEL golden TIMEOUT 60
                     COMMAND ${layers} configuration $<TARGET_FILE:cgwarden>)
cgwarden_script_test(Metrics.PassPromtoolLint LABEL golden TIMEOUT 60
                     COMMAND ${layers} metric-names $<TARGET_FILE:cgwarden>)
cgwarden_script_test(CoverageDoc.MatchesTheCatalogue LABEL golden TIMEOUT 60
                     COMMAND ${integration}/interface_files_test.py $<TARGET_FILE:cgwarden> --document)
cgwarden_script_test(Options.AreCompletedAndDocumented LABEL golden TIMEOUT 60
                     COMMAND ${PROJECT_SOURCE_DIR}/tests/integration/options_test.sh $<TARGET_FILE:cgwarden> $<TARGET_FILE:cgtop>)
foreach(host hybrid hybrid-systemd v1 v2)
  cgwarden_script_test(Golden.ExpositionOfHost_${host}_IsUnchanged LABEL golden TIMEOUT 120
                       COMMAND ${PROJECT_SOURCE_DIR}/tests/golden/golden_test.py $<TARGET_FILE:cgwarden> ${host})
endforeach()

cgwarden_script_test(Agent.ServesManyClientsDuringReloads LABEL threads TIMEOUT 120 MACHINE
                     COMMAND ${integration}/load_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(AddingDoc.FieldRecipeWorks LABEL integration TIMEOUT 600
                     COMMAND ${integration}/recipe_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(Prometheus.AgreesWithTheWorkOfACgroup LABEL integration TIMEOUT 300 MACHINE
                     COMMAND ${integration}/prometheus_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(InterfaceFiles.OfThisKernelAreExportedOrExcused LABEL integration TIMEOUT 120 MACHINE
                     COMMAND ${integration}/interface_files_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(Enforcer.LimitsAndUndoesEverything LABEL integration TIMEOUT 300 MACHINE
                     COMMAND ${integration}/enforce_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(Agent.DoesNotGrowWithContainerChurn LABEL integration TIMEOUT 600 MACHINE
                     COMMAND ${integration}/churn_test.py $<TARGET_FILE:cgwarden> 1200)
cgwarden_script_test(Runtimes.AgreeWithTheAgent LABEL integration TIMEOUT 600 MACHINE
                     COMMAND ${integration}/runtimes_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(Agent.ExportsTheSameFromAContainer LABEL integration TIMEOUT 120 MACHINE
                     COMMAND ${integration}/in_container_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(Containerd.IsQueriedAndSubscribedOffTheScrapePath LABEL integration TIMEOUT 300 MACHINE
                     COMMAND ${integration}/containerd_test.py $<TARGET_FILE:cgwarden>)
cgwarden_script_test(ContainerManagers.AreNotifiedOfActions LABEL integration TIMEOUT 300 MACHINE
                     COMMAND ${integration}/container_limits_test.py $<TARGET_FILE:cgtop>)
cgwarden_script_test(Cgtop.WorksInATerminal LABEL integration TIMEOUT 600 MACHINE
                     COMMAND ${integration}/cgtop_test.py $<TARGET_FILE:cgtop>)
cgwarden_script_test(Cgtop.ShowsOtherHosts LABEL integration TIMEOUT 300
                     COMMAND ${integration}/cgtop_sources_test.py $<TARGET_FILE:cgtop> $<TARGET_FILE:cgwarden>)
cgwarden_script_test(Cgtop.PerformsActions LABEL integration TIMEOUT 120 MACHINE
                     COMMAND ${integration}/control_test.py $<TARGET_FILE:cgtop>)
cgwarden_script_test(Systemd.RunsTheService LABEL guest TIMEOUT 900 MACHINE
                     COMMAND ${integration}/systemd_service_test.sh ${PROJECT_BINARY_DIR})
cgwarden_script_test(Systemd.SeesActionsOnItsUnits LABEL guest TIMEOUT 900 MACHINE
                     COMMAND ${integration}/systemd_control_test.sh ${PROJECT_BINARY_DIR})
cgwarden_script_test(Systemd.RunsTheEnforcer LABEL guest TIMEOUT 900 MACHINE
                     COMMAND ${integration}/systemd_enforce_test.sh ${PROJECT_BINARY_DIR})
foreach(layout v2 hybrid)
  cgwarden_script_test(Systemd.ContainersOfItAreNamed_${layout} LABEL guest TIMEOUT 900 MACHINE
                       COMMAND ${integration}/systemd_containers_test.sh ${PROJECT_BINARY_DIR} ${layout})
endforeach()
cgwarden_script_test(Prometheus.AgreesOnAPureV2Host LABEL guest TIMEOUT 900 MACHINE
                     COMMAND ${integration}/prometheus_v2_test.sh ${PROJECT_BINARY_DIR})
cgwarden_script_test(InterfaceFiles.OfAPureV2HostAreExportedOrExcused LABEL guest TIMEOUT 900 MACHINE
                     COMMAND ${integration}/interface_files_v2_test.sh ${PROJECT_BINARY_DIR})
cgwarden_script_test(KernelTests.PassOnAPureV2Host LABEL guest TIMEOUT 900 MACHINE
                     COMMAND ${integration}/kernel_v2_test.sh ${PROJECT_BINARY_DIR})
