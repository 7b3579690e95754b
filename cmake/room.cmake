# SPDX-License-Identifier: Apache-2.0
# Compiler and linker options of all targets of the project.
add_library(cgwarden_options INTERFACE)
target_include_directories(cgwarden_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(cgwarden_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast
                                                  -Wcast-qual -Wconversion -Wno-sign-conversion -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(cgwarden_options INTERFACE -Wno-restrict) # GCC PR 105651: "x" + std::string at -O3
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # A unity build includes .cpp files, which GCC takes for headers: anonymous namespaces in them would be warned about.
  target_compile_options(cgwarden_options INTERFACE -Wno-subobject-linkage)
endif()
target_compile_definitions(cgwarden_options INTERFACE CGWARDEN_VERSION="${PROJECT_VERSION}")
if(CGWARDEN_SANITIZE)
  target_compile_options(cgwarden_options INTERFACE -fsanitize=${CGWARDEN_SANITIZE} -fno-omit-frame-pointer
                                                    -fno-sanitize-recover=all)
  target_link_options(cgwarden_options INTERFACE -fsanitize=${CGWARDEN_SANITIZE})
  if(CGWARDEN_SANITIZE MATCHES thread AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    target_compile_options(cgwarden_options INTERFACE -Wno-tsan) # Boost.Asio's fences, which it does not use under TSan
  endif()
endif()

# cgwarden_room(NAME FOLDER [EXCEPT FILE...] PURPOSE TEXT LINKS TARGET...): the library cgwarden::NAME, built from the
# sources of FOLDER. PURPOSE is for docs/architecture.md only.
function(cgwarden_room name folder)
  cmake_parse_arguments(ARG "" "PURPOSE" "EXCEPT;LINKS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.cpp)
  foreach(file IN LISTS ARG_EXCEPT)
    list(REMOVE_ITEM sources ${PROJECT_SOURCE_DIR}/${folder}/${file})
  endforeach()
  add_library(cgwarden_${name} STATIC ${sources})
  add_library(cgwarden::${name} ALIAS cgwarden_${name})
  target_link_libraries(cgwarden_${name} PUBLIC cgwarden_options ${ARG_LINKS})
endfunction()
