# SPDX-License-Identifier: Apache-2.0
# cgwarden_describe(TARGET [MAN]): generates shell completions and, with MAN, a manual page from the program's --help.
find_package(Python3 COMPONENTS Interpreter)
function(cgwarden_describe target)
  cmake_parse_arguments(ARG "MAN" "" "" ${ARGN})
  if(NOT Python3_FOUND OR CMAKE_CROSSCOMPILING)
    message(STATUS "${target}: no shell completions: Python 3 and a program that runs on the build host are required")
    return()
  endif()
  set(folder ${PROJECT_BINARY_DIR}/described)
  set(made)
  foreach(pair "bash|${target}|${CMAKE_INSTALL_DATADIR}/bash-completion/completions"
               "zsh|_${target}|${CMAKE_INSTALL_DATADIR}/zsh/site-functions"
               "fish|${target}.fish|${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d"
               "man|${target}.8|${CMAKE_INSTALL_MANDIR}/man8")
    string(REPLACE "|" ";" pair "${pair}")
    list(GET pair 0 what)
    list(GET pair 1 file)
    list(GET pair 2 place)
    if(what STREQUAL man AND NOT ARG_MAN)
      continue()
    endif()
    add_custom_command(OUTPUT ${folder}/${what}/${file}
                       COMMAND ${CMAKE_COMMAND} -E make_directory ${folder}/${what}
                       COMMAND ${PROJECT_SOURCE_DIR}/scripts/describe-options $<TARGET_FILE:${target}> ${what} > ${folder}/${what}/${file}
                       DEPENDS ${target} ${PROJECT_SOURCE_DIR}/scripts/describe-options VERBATIM)
    list(APPEND made ${folder}/${what}/${file})
    install(FILES ${folder}/${what}/${file} DESTINATION ${place})
  endforeach()
  add_custom_target(describe_${target} ALL DEPENDS ${made})
endfunction()
