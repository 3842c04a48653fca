# Compiler flags and the packages that every module may use.

find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Threads REQUIRED)
find_library(QTUNE_SENTENCEPIECE sentencepiece REQUIRED)  # it has no CMake package

find_program(QTUNE_CCACHE ccache)
if(QTUNE_CCACHE)
  # pch_defines and time_macros let ccache work together with precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${QTUNE_CCACHE})
endif()
find_program(QTUNE_MOLD mold)
if(QTUNE_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
if(QTUNE_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "QTUNE_FUZZ=ON needs clang for libFuzzer, found ${CMAKE_CXX_COMPILER_ID} (${CMAKE_CXX_COMPILER})\n"
                        "  ---> run tools/fuzz.sh, or give -DCMAKE_CXX_COMPILER=clang++ in a new build folder")
  endif()
  set(QTUNE_SANITIZE ON)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(QTUNE_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()

function(qtune_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wno-missing-field-initializers
    # GCC 12 sees overlaps and overflows inside std::string and std::vector that are not there (GCC bug 105651 and kin).
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds>)
  if(QTUNE_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
