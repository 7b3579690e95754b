# SPDX-License-Identifier: Apache-2.0
# With CGWARDEN_FAST_LINKER (preset dev) programs are linked by mold or lld if one is installed. Releases always use the
# compiler's default linker, so that they do not depend on what else is installed.
option(CGWARDEN_FAST_LINKER "Link with mold or lld if installed" OFF)
if(CGWARDEN_FAST_LINKER)
  foreach(linker mold lld)
    find_program(CGWARDEN_LINKER_${linker} ld.${linker})
    mark_as_advanced(CGWARDEN_LINKER_${linker})
    if(CGWARDEN_LINKER_${linker})
      message(STATUS "Linker: ${CGWARDEN_LINKER_${linker}}")
      add_link_options(-fuse-ld=${linker})
      break()
    endif()
  endforeach()
endif()
