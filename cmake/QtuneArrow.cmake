# qtune::arrow: Arrow's C++ libraries, for reading .parquet. No target where they are not found or not wanted.
#
# Looked for in: QTUNE_ARROW (a folder holding include/arrow and libparquet.so*, itself or in lib/), .deps/pyarrow
# (where tools/setup.sh puts the wheel, which carries headers and libraries), then a system's Arrow (ArrowConfig.cmake,
# CMAKE_PREFIX_PATH).
set(QTUNE_PARQUET "AUTO" CACHE STRING "Read .parquet through Arrow: AUTO (where it is found), ON or OFF")
set_property(CACHE QTUNE_PARQUET PROPERTY STRINGS AUTO ON OFF)
set(QTUNE_ARROW "" CACHE PATH "Arrow folder, holding include/arrow and libparquet.so")

# The wheel's libraries have no unversioned names, so find_library does not see them.
function(qtune_find_arrow_in root)
  if(NOT EXISTS ${root}/include/arrow/api.h OR NOT EXISTS ${root}/include/parquet/arrow/reader.h)
    return()
  endif()
  foreach(name arrow parquet)
    file(GLOB found ${root}/lib${name}.so* ${root}/lib/lib${name}.so* ${root}/lib64/lib${name}.so* ${root}/lib/*/lib${name}.so*)
    if(NOT found)
      return()
    endif()
    list(GET found 0 library)
    add_library(qtune_arrow_${name} SHARED IMPORTED)
    set_target_properties(qtune_arrow_${name} PROPERTIES IMPORTED_LOCATION ${library} IMPORTED_NO_SONAME FALSE)
  endforeach()
  add_library(qtune::arrow INTERFACE IMPORTED)
  target_include_directories(qtune::arrow SYSTEM INTERFACE ${root}/include)
  target_link_libraries(qtune::arrow INTERFACE qtune_arrow_parquet qtune_arrow_arrow)
  message(STATUS "Arrow: ${root}")
endfunction()

if(NOT QTUNE_PARQUET STREQUAL "OFF")
  foreach(root ${QTUNE_ARROW} ${PROJECT_SOURCE_DIR}/.deps/pyarrow/pyarrow)
    if(NOT TARGET qtune::arrow)
      qtune_find_arrow_in(${root})
    endif()
  endforeach()
  if(NOT TARGET qtune::arrow AND NOT QTUNE_ARROW)
    find_package(Arrow CONFIG QUIET)
    find_package(Parquet CONFIG QUIET)
    if(TARGET Arrow::arrow_shared AND TARGET Parquet::parquet_shared)
      add_library(qtune::arrow INTERFACE IMPORTED)
      target_link_libraries(qtune::arrow INTERFACE Parquet::parquet_shared Arrow::arrow_shared)
      message(STATUS "Arrow: ${Arrow_DIR}")
    endif()
  endif()
  if(NOT TARGET qtune::arrow)
    if(QTUNE_ARROW OR QTUNE_PARQUET STREQUAL "ON")
      message(FATAL_ERROR "Arrow not found: no include/arrow, include/parquet and libparquet.so* in any of: ${QTUNE_ARROW} "
                          "${PROJECT_SOURCE_DIR}/.deps/pyarrow/pyarrow, and no ArrowConfig.cmake and ParquetConfig.cmake\n"
                          "  ---> run `bash tools/setup.sh`, or give -DQTUNE_ARROW=/path/to/arrow or -DQTUNE_PARQUET=OFF")
    endif()
    message(STATUS "Arrow: not found; .parquet files will be refused")
  endif()
endif()
